/* The table of the tunnels: how one gets into it and out again, and that it is freed when the last one is. What a
 * tunnel does is in tunnel.c.
 */
#include "tunnels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "carry/net/address.h"
#include "carry/net/lookups.h"
#include "farewells.h"
#include "tally.h"
#include "tombs.h"
#include "tunnels_internal.h"

int tunnels_open(struct tunnels **out, struct lookups *lookups, const struct carry_host *host, struct pump_set *pumps,
                 const struct tunnels_options *options, const struct tunnels_events *events, void *arg)
{
  struct tunnels *ts = calloc(1, sizeof *ts);
  int error = -ENOMEM;
  if (ts == NULL)
    return error;
  ts->tombs = tombs_open();
  if (ts->tombs != NULL)
    error = farewells_open(&ts->farewells, lookups->loop);
  if (error != 0) {
    tombs_close(ts->tombs);
    free(ts);
    return error;
  }
  ts->lookups = lookups;
  ts->loop = lookups->loop;
  ts->host = host;
  ts->pumps = pumps;
  ts->times =
      (struct connection_times){.dial = options->dial_ms, .hold = options->hold_ms, .refused = TUNNELS_REFUSED_MS};
  ts->events = events;
  ts->arg = arg;
  trails_open(&ts->trails, ts);
  *out = ts;
  return 0;
}

/* The other side must find it when it comes back. */
static bool remember(struct tunnel *t, const uint8_t *connection)
{
  memcpy(t->connection, connection, sizeof t->connection);
  HASH_ADD(hh, t->table->by_connection, connection, HEADER_CONNECTION_SIZE, t);
  t->known = t->hh.tbl != NULL;
  return t->known;
}

/* `connection` NULL: nobody comes back to it. NULL when memory is short. */
static struct tunnel *create(struct tunnels *ts, enum tunnel_role role, const char *service, const char *peer,
                             const uint8_t *connection)
{
  struct tally *tally = ts->closing ? NULL : tally_get(&ts->tallies, role, service);
  struct tunnel *t = tally != NULL ? tunnel_create(ts, peer) : NULL;
  if (t == NULL)
    return NULL;
  ts->count++;
  if (connection != NULL && !remember(t, connection)) {
    tunnel_discard(t);
    return NULL;
  }
  t->tally = tally;
  t->id = ++ts->last_id;
  tally_add(tally, t);
  DL_APPEND(ts->live, t);
  ts->served += role == TUNNEL_SERVICE;
  return t;
}

void tunnels_forward(struct tunnels *ts, const char *service, int fd, const char *peer,
                     const struct end_addresses *ends)
{
  struct tunnel *t = create(ts, TUNNEL_FORWARD, service, peer, NULL);
  if (t != NULL)
    tunnel_start_forward(t, fd, ends);
  else
    pump_discard_socket(fd);
}

/* ---- Those who come ---- */

static struct tunnel *find(const struct tunnels *ts, const struct header *h)
{
  struct tunnel *t;
  HASH_FIND(hh, ts->by_connection, h->connection, HEADER_CONNECTION_SIZE, t);
  return t;
}

void tunnels_refuse(struct tunnels *ts, struct pump_stream *s)
{
  pump_stream_send_refused(s, "this stream has no part in the connection as it is now");
  farewells_add(ts->farewells, s);
}

static void say_reset(struct tunnels *ts, struct pump_stream *s, const char *code, const char *reason)
{
  pump_stream_send_reset(s, code, reason);
  farewells_add(ts->farewells, s);
}

/* One that is over is not begun again: the other side is told how it ended. */
static void answer_from_tomb(struct tunnels *ts, struct pump_stream *s, const struct header *h, const struct tomb *tomb)
{
  struct header answer = {.has_member = true, .has_connection = true, .epoch = h->epoch, .received = tomb->received};
  if (memcmp(h->member, tomb->member, sizeof tomb->member) != 0) {
    tunnels_refuse(ts, s);
    return;
  }
  memcpy(answer.member, ts->host->member, sizeof answer.member);
  memcpy(answer.connection, tomb->connection, sizeof answer.connection);
  pump_stream_send_header(s, &answer);
  if (tomb->reset) {
    say_reset(ts, s, tomb->code, tomb->reason);
    return;
  }
  pump_stream_half_close(s);
  farewells_add(ts->farewells, s);
}

static void begin_service(struct tunnels *ts, struct pump_stream *s, const struct header *h, const char *service,
                          const struct tunnels_target *target)
{
  char peer[ADDRESS_TEXT_MAX];
  const char *to = target->address != NULL ? address_format(target->address, peer) : "none";
  struct tunnel *t = create(ts, TUNNEL_SERVICE, service, to, h != NULL ? h->connection : NULL);
  if (t != NULL)
    tunnel_start_service(t, s, h, target);
  else
    pump_stream_close(s); /* the other side may dial again */
}

void tunnels_accept(struct tunnels *ts, struct pump_stream *s, const struct header *h,
                    const struct tunnels_target *target)
{
  if (ts->closing || !h->has_connection || !h->has_member) {
    say_reset(ts, s, "EPROTO", "the header does not name its connection");
    return;
  }
  struct tunnel *t = find(ts, h);
  const struct tomb *tomb = t == NULL ? tombs_find(ts->tombs, h->connection, uv_now(ts->loop)) : NULL;
  if (t != NULL)
    tunnel_attach(t, s, h);
  else if (tomb != NULL)
    answer_from_tomb(ts, s, h, tomb);
  else if (h->established)
    say_reset(ts, s, "ECONNRESET", "this side does not know the connection any more");
  else if (h->received > 0)
    say_reset(ts, s, "EPROTO", "the header acknowledges more than was sent");
  else
    begin_service(ts, s, h, h->service, target);
}

void tunnels_accept_original(struct tunnels *ts, struct pump_stream *s, const char *service,
                             const struct tunnels_target *target)
{
  begin_service(ts, s, NULL, service, target);
}

/* ---- What concerns many ---- */

/* A step ends no tunnel but its own, and that one stays in memory for a while. */
static void step_all(struct tunnels *ts, enum connection_event event, bool forwards_only)
{
  struct tunnel *t, *next;
  DL_FOREACH_SAFE(ts->live, t, next)
  {
    if (t->machine.role == CONNECTION_FORWARD || !forwards_only)
      tunnel_step(t, event);
  }
}

void tunnels_way_changed(struct tunnels *ts)
{
  struct carry_way way = ts->host->way(ts->host);
  enum connection_event event = way.refused ? CONNECTION_ROUTER_REFUSED : CONNECTION_ROUTER_DOWN;
  if (way.up)
    event = way.original ? CONNECTION_ROUTER_ORIGINAL : CONNECTION_ROUTER_UP;
  step_all(ts, event, false);
}

void tunnels_renew(struct tunnels *ts)
{
  step_all(ts, CONNECTION_RENEW, true);
}

void tunnels_superseded(struct tunnels *ts)
{
  struct tunnel *t, *next;
  DL_FOREACH_SAFE(ts->live, t, next)
  {
    if (t->machine.role != CONNECTION_SERVICE)
      continue;
    tunnel_set_reset(t, "ECONNABORTED", "a newer mmfs has replaced the one at the other side");
    tunnel_step(t, CONNECTION_CUT);
  }
}

void tunnels_peer_lost(struct tunnels *ts, const uint8_t *member)
{
  struct tunnel *t, *next;
  DL_FOREACH_SAFE(ts->live, t, next)
  {
    if (!t->machine.established || memcmp(t->member, member, sizeof t->member) != 0)
      continue;
    tunnel_fail(t, "the mmfs at the other side was started again");
    tunnel_step(t, CONNECTION_PEER_LOST);
  }
}

/* ---- The end of one, and of all ---- */

void tunnels_remove(struct tunnel *t)
{
  struct tunnels *ts = t->table;
  detached_remove(&ts->detached, t);
  hops_forget(&ts->dialled, &t->hops);
  ts->detached_count -= t->told_detached;
  ts->served -= t->machine.role == CONNECTION_SERVICE;
  if (t->known)
    HASH_DEL(ts->by_connection, t);
  ts->events->closed(t, ts->arg);
  tally_remove(t->tally, t);
  DL_DELETE(ts->live, t);
}

size_t tunnels_served(const struct tunnels *ts)
{
  return ts->served;
}

size_t tunnels_detached(const struct tunnels *ts)
{
  return ts->detached_count;
}

struct tunnels_stats tunnels_stats(const struct tunnels *ts, enum tunnel_role role, const char *service)
{
  return tally_stats(ts->tallies, role, service);
}

struct tunnel *tunnels_next(const struct tunnels *ts, enum tunnel_role role, const char *service,
                            const struct tunnel *t)
{
  return tally_next(ts->tallies, role, service, t);
}

static void farewells_over(void *arg)
{
  struct tunnels *ts = arg;
  void (*closed)(void *) = ts->closed;
  void *closed_arg = ts->closed_arg;
  tally_free_all(&ts->tallies);
  tombs_close(ts->tombs);
  free(ts);
  closed(closed_arg);
}

void tunnels_release(struct tunnels *ts)
{
  if (--ts->count == 0 && ts->closing)
    farewells_close(ts->farewells, farewells_over, ts);
}

void tunnels_close(struct tunnels *ts, void (*closed)(void *arg), void *arg)
{
  struct tunnel *t, *next;
  ts->closing = true;
  ts->closed = closed;
  ts->closed_arg = arg;
  ts->count++; /* so that the last tunnel does not end the table under the iteration */
  DL_FOREACH_SAFE(ts->live, t, next)
  {
    tunnel_end(t, "the other side's mmfs ended");
  }
  trails_close(&ts->trails, tunnels_release);
}
