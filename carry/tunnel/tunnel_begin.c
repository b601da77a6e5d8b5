/* How a tunnel begins: with a socket that was accepted, or with a stream whose header says what it is for; and how each
 * further stream joins it.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/wire/identity.h"
#include "tunnels_internal.h"

struct tunnel *tunnel_create(struct tunnels *ts, const char *peer)
{
  struct tunnel *t = calloc(1, sizeof *t);
  if (t == NULL)
    return NULL;
  t->peer = strdup(peer);
  if (t->peer == NULL || pump_create(&t->pump, ts->pumps, &tunnel_pump_events, t) != 0) {
    free(t->peer);
    free(t);
    return NULL;
  }
  t->table = ts;
  t->fd = -1;
  t->started_ms = uv_now(ts->loop);
  t->renew_at = t->begun_by = t->armed_for = UINT64_MAX;
  t->reset_code = t->reset_reason = "";
  uv_timer_init(ts->loop, &t->timer);
  t->timer.data = t;
  t->holds = 1;
  return t;
}

void tunnel_discard(struct tunnel *t)
{
  pump_close(t->pump);
  uv_close((uv_handle_t *)&t->timer, tunnel_timer_closed);
}

void tunnel_free(struct tunnel *t)
{
  free(t->peer);
  free(t->why);
  free(t->trouble);
  free(t);
}

static void begin(struct tunnel *t, unsigned actions)
{
  t->table->events->opened(t, t->table->arg);
  tunnel_run(t, actions);
}

void tunnel_start_forward(struct tunnel *t, int fd, const struct end_addresses *ends)
{
  struct carry_way way = t->table->host->way(t->table->host);
  t->fd = fd;
  t->hops.socket = hops_accepted(fd, &t->ends);
  if (ends != NULL)
    t->ends = *ends;
  t->hops.count = hops_through(t->table->dialled, t->hops.socket);
  identity_random(t->connection, sizeof t->connection);
  begin(t, connection_start_forward(&t->machine, &t->table->times, uv_now(t->table->loop)));
  if (way.up)
    tunnel_step(t, way.original ? CONNECTION_ROUTER_ORIGINAL : CONNECTION_ROUTER_UP);
}

void tunnel_start_service(struct tunnel *t, struct pump_stream *s, const struct header *h,
                          const struct tunnels_target *target)
{
  t->next_stream = s;
  pump_stream_hand_over(s, &tunnel_stream_events, t);
  if (h != NULL) {
    unsigned here = hops_through(t->table->dialled, h->origin);
    memcpy(t->member, h->member, sizeof t->member);
    t->hops.count = here > h->hops ? here : h->hops;
    t->origin = h->origin;
    t->ends = h->ends;
  }
  t->header = h;
  t->target = target->address;
  t->proxy = target->proxy;
  begin(t, connection_start_service(&t->machine, &t->table->times, h == NULL, h != NULL ? h->epoch : 0,
                                    uv_now(t->table->loop)));
  t->header = NULL;
  t->target = NULL;
}

void tunnel_attach(struct tunnel *t, struct pump_stream *s, const struct header *h)
{
  bool possible = memcmp(h->member, t->member, sizeof t->member) == 0 && pump_can_send_from(t->pump, h->received);
  if (possible && h->established)
    tunnel_step(t, CONNECTION_HEARD);
  t->next_stream = s;
  pump_stream_hand_over(s, &tunnel_stream_events, t);
  t->header = h;
  tunnel_run(t, connection_attached(&t->machine, h->epoch, possible, uv_now(t->table->loop)));
  t->header = NULL;
}
