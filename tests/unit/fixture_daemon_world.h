/* A router in this process, on the test's own loop, that answers as it is told; and a link to it. Waiting is always for
 * something, and bounded: WORLD_UNTIL(w, condition). */
#ifndef FIXTURE_DAEMON_WORLD_H
#define FIXTURE_DAEMON_WORLD_H

#include <check.h>
#include <mindmeld.pb-c.h>
#include <utlist.h>
#include <uv.h>

#include "carry/link/link.h"
#include "daemon/start/own_identity.h"
#include "proto/rpc/rpc.h"

enum { WORLD_PATIENCE_MS = 30000, WORLD_NAMES = 16 };

struct world;

struct fake_call {
  struct world *w;
  void *user;
  struct rpc_call *call;
  char name[300];                             /* of CreateService */
  uint8_t challenge[IDENTITY_CHALLENGE_SIZE]; /* of the watch */
  bool watch, create, join;
  size_t traced; /* origins of a Trace */
  int sending;
  struct fake_call *prev, *next;
};

/* What the router does. */
struct fake_router {
  enum rpc_status watch_status; /* RPC_OK: it serves the watch */
  bool watch_mute;              /* it never answers */
  enum rpc_status list_status, create_status;
  unsigned refuse_creates; /* so many are refused with create_status; 0: all, if it is not RPC_OK */
  bool create_mute;        /* no verdict */
  bool replaces;           /* a name that is registered already is taken over */
  const char *token;       /* for ForwardToService; NULL: it knows no service */
  bool first_version;      /* says nothing of itself, and lists what is registered */
  bool drains;
  bool challenges; /* it wants a Join */
  enum rpc_status join_status;
  bool join_mute;          /* no verdict, until fake_join_verdict */
  bool traces;             /* it knows Trace, whose answers are those of fake_trace_verdict */
  const char *takes;       /* a name that goes with a Join, which no watch tells; or NULL */
  const char *stream_addr; /* NULL: it takes no raw streams */
  uint32_t heartbeat_ms;
  uint64_t stream_age_ms;
  const char *names[WORLD_NAMES];
  size_t name_count;
};

struct world {
  uv_loop_t loop;
  struct rpc_queue *queue;
  struct rpc_server *server;
  struct fake_router router;
  struct fake_call *calls;
  int port;
  int watches, lists, creates, asks, joins, traces; /* that came */
  uint64_t instance;                                /* that joined last */
  bool former;                                      /* it said who it was before */
  bool server_gone, link_gone, queue_gone;

  struct own_identity identity;
  struct lookups *lookups;
  uint64_t answer_ms; /* of the link */
  struct link *link;
  struct link_events events;
  int states, connects, losses, drains, downs, missing, renewals, joined, supersessions, losts;
  uint8_t lost[LINK_MEMBER_SIZE]; /* the last */
  char why[512];
  char names[WORLD_NAMES][64]; /* the catalogue, as the link told it */
  size_t name_count;
  void (*on_state)(struct world *w);
  void (*on_renewed)(struct world *w);
  void (*on_superseded)(struct world *w);
  void (*on_down)(struct world *w, const char *name);
  /* Of methods that the router does not know; `m` is freed afterwards. */
  void (*on_message)(struct fake_call *f, struct rpc_message *m);
  void (*on_closed)(struct fake_call *f, enum rpc_status status);
  void *user;
};

void world_impatient(uv_timer_t *t);

#define WORLD_UNTIL(w, condition)                                                                                      \
  do {                                                                                                                 \
    uv_timer_t patience_;                                                                                              \
    ck_assert_int_eq(uv_timer_init(&(w)->loop, &patience_), 0);                                                        \
    uv_timer_start(&patience_, world_impatient, WORLD_PATIENCE_MS, 0);                                                 \
    while (!(condition))                                                                                               \
      uv_run(&(w)->loop, UV_RUN_ONCE);                                                                                 \
    uv_close((uv_handle_t *)&patience_, NULL);                                                                         \
    uv_run(&(w)->loop, UV_RUN_NOWAIT);                                                                                 \
  } while (0)

/* Lets so much time pass, for what depends on time. Timers of the loop that are due earlier have run. */
void world_idle(struct world *w, uint64_t ms);

/* For what must not happen: what was under way has come when this returns, however slow the machine is. The router
 * was asked something that it does not know, behind all that was said before on the link's connection, and again
 * behind what came of that. */
void world_settle(struct world *w);

/* ---- The router ---- */

void fake_watch_send(struct world *w, struct fake_call *f, bool restart, const char **up, size_t up_count,
                     const char **down, size_t down_count, bool draining);

/* What the news of names do not say. */
void fake_watch_tell(struct fake_call *f, const void *lost, size_t lost_size, bool superseded);
struct fake_call *fake_find(struct world *w, bool watch, const char *name);
void fake_news(struct world *w, const char *up, const char *down, bool draining);
struct fake_call *fake_joining(struct world *w);
int fake_count_watches(const struct world *w);
void fake_join_verdict(struct fake_call *f);

/* So many are before each. Returns for how many that was asked. */
size_t fake_trace_verdict(struct world *w, unsigned hops);
void fake_verdict(struct fake_call *f);
void fake_token(struct fake_call *f, const char *token);

/* On the port of before, if there was one. */
void world_router_start(struct world *w);
void world_router_stop(struct world *w);

/* ---- The link ---- */

bool world_has(const struct world *w, const char *name);
void world_open(struct world *w);
void world_link(struct world *w, const char *key);
void world_link_closed(void *arg);
void world_close(struct world *w);

#endif
