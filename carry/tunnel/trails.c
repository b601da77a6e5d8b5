/* What comes within a moment goes in one call. What does not fit is left out: a loop goes on, and comes again.
 */
#include "trails.h"

#include <stddef.h>

#include "carry/link/link.h"
#include "hops.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc/rpc.h"
#include "tunnels_internal.h"

enum { DELAY_MS = 10, ASK_MS = 5000 };

static void release(struct trails *t)
{
  if (t->timer_closed && t->call == NULL)
    t->closed(t->tunnels);
}

static void judge(struct trails *t, const Mindmeld__TraceResponse *response)
{
  for (size_t i = 0; i < response->n_hops && i < t->asked.count; i++) {
    struct hops *h = hops_find(t->tunnels->dialled, t->asked.dialled[i]);

    if (h == NULL || h->count >= response->hops[i])
      continue;
    h->count = response->hops[i];
    if (h->count > HOPS_MAX)
      tunnel_end_loop((struct tunnel *)((char *)h - offsetof(struct tunnel, hops)));
  }
}

static void ask(struct trails *t);

static void answered(enum rpc_status status, const char *text, struct rpc_message *message, void *arg)
{
  struct trails *t = arg;
  Mindmeld__TraceResponse *response = NULL;

  (void)text;
  t->call = NULL;
  if (status == RPC_OK && t->closed == NULL)
    response = (Mindmeld__TraceResponse *)rpc_message_unpack(message, &mindmeld__trace_response__descriptor);
  rpc_message_free(message);
  if (response != NULL) {
    judge(t, response);
    mindmeld__trace_response__free_unpacked(response, NULL);
  }
  if (t->closed != NULL)
    release(t);
  else
    ask(t);
}

static void on_due(uv_timer_t *timer)
{
  struct trails *t = timer->data;
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/Trace", .deadline_ms = ASK_MS};
  Mindmeld__TraceRequest request = MINDMELD__TRACE_REQUEST__INIT;

  t->due = false;
  t->asked = t->next;
  t->next.count = 0;
  if (!link_connected(t->tunnels->link) || link_original(t->tunnels->link))
    return;
  request.n_origin = request.n_dialled = t->asked.count;
  request.origin = t->asked.origins;
  request.dialled = t->asked.dialled;
  if (rpc_unary(&t->call, link_channel(t->tunnels->link), &options, rpc_message_pack(&request.base), answered, t) != 0)
    t->call = NULL;
}

static void ask(struct trails *t)
{
  if (t->due || t->call != NULL || t->next.count == 0)
    return;
  t->due = true;
  uv_timer_start(&t->timer, on_due, DELAY_MS, 0);
}

void trails_add(struct trails *t, uint64_t origin, uint64_t dialled)
{
  struct trails_batch *b = &t->next;

  if (origin == 0 || dialled == 0 || b->count == TRAILS_BATCH)
    return;
  b->origins[b->count] = origin;
  b->dialled[b->count++] = dialled;
  ask(t);
}

void trails_open(struct trails *t, struct tunnels *ts)
{
  *t = (struct trails){.tunnels = ts};
  uv_timer_init(ts->loop, &t->timer);
  t->timer.data = t;
}

static void on_timer_closed(uv_handle_t *timer)
{
  struct trails *t = timer->data;

  t->timer_closed = true;
  release(t);
}

void trails_close(struct trails *t, void (*closed)(struct tunnels *ts))
{
  t->closed = closed;
  if (t->call != NULL)
    rpc_call_cancel(t->call, RPC_CANCELLED, "");
  uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}
