#include "host.h"

#include <errno.h>

#include "carry/net/address.h"
#include "carry/net/dial.h"
#include "carry/tunnel/tunnels_internal.h"
#include "judge.h"
#include "name.h"
#include "proto/wire/identity.h"
#include "pump.h"

/* ---- The way ---- */

static struct process *process_of(const struct carry_host *host)
{
  return (struct process *)((char *)host - offsetof(struct process, host));
}

static struct carry_way way(const struct carry_host *host)
{
  const struct process *p = process_of(host);
  return (struct carry_way){.up = p->link.instance != NULL,
                            .original = p->link.instance != NULL && p->w->plan.original == ORIGINAL_ROUTER,
                            .stream_age_ms = p->w->plan.stream_age_ms,
                            .trouble = "as simulated"};
}

static bool is_slow(const struct carry_host *host)
{
  (void)host;
  return false;
}

static int open_stream(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                       bool original, const struct pump_stream_events *events, void *arg)
{
  struct process *p = process_of(host);
  struct label label = pump_label(header);
  label.member = p->member;
  struct side *s = tunnel_user(arg);
  if (label.token != original)
    broken(p->w, "%s: a token is shown to a router that gave none, or the other way round", s->name);
  if (label.token)
    label.connection = s->pair->id;
  if (events != &tunnel_stream_events)
    broken(p->w, "who opens a stream here?");
  if (!side_opens(s, &label))
    return -ENOMEM;
  bool raw = !original && p->w->now >= p->link.grpc_until && chance(p->w, p->w->plan.raw);
  *out = pump_stream_dial(p, &label, raw, events, arg);
  TRACE(p->w, "%s: opens %s stream %llu, epoch %llu%s", s->name, pump_stream_kind(*out),
        (unsigned long long)(*out)->line->stream->number, (unsigned long long)label.epoch,
        label.established ? ", established" : "");
  return 0;
}

/* ---- Tokens ---- */

struct carry_question {
  struct process *process;
  carry_token_cb done;
  void *arg;
  struct instance *instance;
  bool cancelled, over;
};

static void token_comes(struct world *w, void *subject, uint64_t refused)
{
  struct carry_question *q = subject;
  (void)w;
  if (q->over || q->process->dead)
    return;
  q->over = true;
  if (q->cancelled)
    q->done(RPC_CANCELLED, "", NULL, q->arg);
  else if (q->process->link.instance != q->instance)
    q->done(RPC_UNAVAILABLE, "the router is gone", NULL, q->arg);
  else if (refused)
    q->done(RPC_NOT_FOUND, "nobody has that name", NULL, q->arg);
  else
    q->done(RPC_OK, "", "a token", q->arg);
}

static int ask_token(const struct carry_host *host, struct carry_question **out, const char *service,
                     carry_token_cb done, void *arg)
{
  struct process *p = process_of(host);
  struct world *w = p->w;
  (void)service;
  if (chance(w, w->quiet ? 0 : w->plan.no_memory))
    return -ENOMEM;
  struct carry_question *q = world_alloc(w, sizeof *q);
  *q = (struct carry_question){.process = p, .done = done, .arg = arg, .instance = p->link.instance};
  world_after(w, 1 + roll(w, 3 * w->plan.delay_us), token_comes, q, chance(w, w->plan.no_token));
  *out = q;
  return 0;
}

static void cancel(struct carry_question *q)
{
  q->cancelled = true;
  world_after(q->process->w, 0, token_comes, q, 0);
}

void host_start(struct process *p)
{
  name_put(p->member, p->name);
  p->host = (struct carry_host){.member = p->name,
                                .way = way,
                                .is_slow = is_slow,
                                .open_stream = open_stream,
                                .ask_token = ask_token,
                                .cancel = cancel};
}

/* ---- Dials ---- */

struct dial {
  struct side *side;
  dial_cb done;
  void *arg;
  bool cancelled, over;
};

static void target_answers(struct world *w, void *subject, uint64_t refuses)
{
  struct dial *d = subject;
  struct side *s = d->side;
  if (d->over || s->process->dead)
    return;
  d->over = true;
  if (d->cancelled) {
    d->done(-ECANCELED, "cancelled", d->arg);
    return;
  }
  TRACE(w, "%s: the target %s", s->name, refuses ? "refuses" : "is there");
  if (refuses)
    judge_excuse(s, "the target refused");
  if (refuses)
    d->done(-ECONNREFUSED, "refused, as simulated", d->arg);
  else
    d->done(application_descriptor(&s->application), NULL, d->arg);
}

int dial_start(struct dial **out, struct lookups *lookups, const struct address *to, uint64_t timeout_ms, dial_cb done,
               void *arg)
{
  struct side *s = tunnel_user(arg);
  struct world *w = s->w;
  (void)lookups, (void)to, (void)timeout_ms;
  side_dials(s);
  if (chance(w, w->quiet ? 0 : w->plan.no_memory)) {
    judge_excuse(s, "the target cannot be dialled");
    return -ENOMEM;
  }
  struct dial *d = world_alloc(w, sizeof *d);
  *d = (struct dial){.side = s, .done = done, .arg = arg};
  world_after(w, 1 + roll(w, w->plan.target_ms * MS), target_answers, d, chance(w, w->plan.target_refuses));
  *out = d;
  return 0;
}

void dial_cancel(struct dial *d)
{
  d->cancelled = true;
  world_after(d->side->w, 0, target_answers, d, 0);
}

/* ---- What the tunnels ask of other rooms ---- */

const char *address_format(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
  (void)a;
  out[0] = '\0';
  return out;
}
