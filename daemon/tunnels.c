/* The table of the tunnels: how one gets into it and out again, and that it is freed when the last one is. What a
 * tunnel does is in tunnel.c.
 */
#include "tunnels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "address.h"
#include "tally.h"
#include "tunnels_internal.h"

int tunnels_open(struct tunnels **out, struct uv_loop_s *loop, struct link *link, struct pump_set *pumps,
                 uint64_t limit, const struct tunnels_events *events, void *arg)
{
  struct tunnels *ts = calloc(1, sizeof *ts);
  if (ts == NULL)
    return -ENOMEM;
  ts->loop = loop;
  ts->link = link;
  ts->pumps = pumps;
  ts->limit = limit;
  ts->events = events;
  ts->arg = arg;
  *out = ts;
  return 0;
}

static struct tunnel *create(struct tunnels *ts, enum tunnel_role role, const char *service, const char *peer)
{
  struct tally *tally = ts->closing ? NULL : tally_get(&ts->tallies, role, service);
  struct tunnel *t = tally != NULL ? tunnel_create(ts, peer) : NULL;
  if (t == NULL)
    return NULL;
  t->tally = tally;
  t->id = ++ts->last_id;
  tally_add(tally, t);
  DL_APPEND(ts->live, t);
  ts->count++;
  return t;
}

void tunnels_forward(struct tunnels *ts, const char *service, int fd, const char *peer)
{
  struct tunnel *t = create(ts, TUNNEL_FORWARD, service, peer);
  if (t != NULL)
    tunnel_start_forward(t, fd);
  else
    close(fd);
}

void tunnels_answer(struct tunnels *ts, const char *service, const char *token, const struct address *target)
{
  char peer[ADDRESS_TEXT_MAX];
  if (strlen(token) > HEADER_TOKEN_MAX)
    return;
  struct tunnel *t = create(ts, TUNNEL_SERVICE, service, address_format(target, peer));
  if (t != NULL)
    tunnel_start_service(t, token, target);
}

void tunnels_accept(struct tunnels *ts, struct pump *pump, const struct header *h, const struct address *target)
{
  char peer[ADDRESS_TEXT_MAX];
  struct tunnel *t = create(ts, TUNNEL_SERVICE, h->service, target != NULL ? address_format(target, peer) : "none");
  if (t != NULL)
    tunnel_start_parked(t, pump, h, target);
  else
    pump_close(pump);
}

void tunnels_remove(struct tunnel *t)
{
  struct tunnels *ts = t->table;
  ts->events->closed(t, ts->arg);
  tally_remove(t->tally, t);
  DL_DELETE(ts->live, t);
}

struct tunnels_stats tunnels_stats(const struct tunnels *ts, enum tunnel_role role, const char *service)
{
  return tally_stats(ts->tallies, role, service);
}

void tunnels_release(struct tunnels *ts)
{
  if (--ts->count > 0 || !ts->closing)
    return;
  tally_free_all(&ts->tallies);
  void (*closed)(void *arg) = ts->closed;
  void *arg = ts->closed_arg;
  free(ts);
  closed(arg);
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
  tunnels_release(ts);
}
