/* What is told is not checked: whoever holds the router's key could have others end a connection that is told to have
 * come round, and could as well take the place of a service. Nothing here outlives ten seconds, since the addresses of
 * a socket are another connection's later.
 */
#include "trails.h"

#include <mindmeld.pb-c.h>
#include <stdlib.h>

#include "meet.h"
#include "router/door/door.h"
#include "router/door/reply.h"

struct trail {
  uint64_t dialled, origin; /* as Header.origin; the former was dialled for what came by the latter */
  uint64_t at;
};

struct trail *router_trails_create(void)
{
  return calloc(TRAILS_MAX, sizeof(struct trail));
}

static size_t place(uint64_t dialled)
{
  return (size_t)((dialled ^ dialled >> 32) % TRAILS_MAX);
}

void router_trails_add(struct trail *table, uint64_t origin, uint64_t dialled, uint64_t now)
{
  if (dialled != 0)
    table[place(dialled)] = (struct trail){.dialled = dialled, .origin = origin, .at = now};
}

unsigned router_trails_hops(const struct trail *table, uint64_t origin, uint64_t now)
{
  unsigned hops = 0;
  while (origin != 0 && hops < TRAILS_HOPS_MAX) {
    const struct trail *t = &table[place(origin)];
    if (t->dialled != origin || now - t->at >= TRAILS_MS)
      break;
    hops++;
    origin = t->origin;
  }
  return hops;
}

/* All are told before any is asked for: they may be of one loop. */
static void answer(struct meet *in, struct rpc_call *c, const Mindmeld__TraceRequest *request)
{
  uint32_t hops[TRAILS_PER_CALL];
  Mindmeld__TraceResponse response = MINDMELD__TRACE_RESPONSE__INIT;
  struct trail *table = *meet_trails(in);
  uint64_t now = door_now();
  for (size_t i = 0; i < request->n_origin; i++)
    router_trails_add(table, request->origin[i], request->dialled[i], now);
  for (size_t i = 0; i < request->n_origin; i++)
    hops[i] = router_trails_hops(table, request->origin[i], now);
  response.n_hops = request->n_origin;
  response.hops = hops;
  reply_answer(meet_door(in), c, rpc_message_pack(&response.base));
}

void router_trails_ask(struct opening *o, struct rpc_message *m)
{
  struct meet *in = opening_room(o);
  struct trail **table = meet_trails(in);
  Mindmeld__TraceRequest *request =
      (Mindmeld__TraceRequest *)rpc_message_unpack(m, &mindmeld__trace_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a TraceRequest");
    return;
  }
  if (!*table)
    *table = router_trails_create();
  if (request->n_origin != request->n_dialled || request->n_origin > TRAILS_PER_CALL)
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a trace has an origin for each connection, of up to 64");
  else if (!*table)
    opening_refuse(o, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else
    answer(in, opening_take(o), request);
  mindmeld__trace_request__free_unpacked(request, NULL);
}
