/* What the files of the tunnels share: tunnels.c has the table, tunnel_begin.c how one tunnel begins, tunnel.c what
 * becomes of it, tunnel_act.c what it does, tunnel_info.c what is told of it, tally.c what is counted, detached.c what
 * is held. On the loop's thread.
 */
#ifndef CARRY_TUNNELS_INTERNAL_H
#define CARRY_TUNNELS_INTERNAL_H

#include <uv.h>

#include "carry_host.h"
#include "connection.h"
#include "detached.h"
#include "hops.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"
#include "proto/wire/status.h"
#include "trails.h"
#include "tunnels.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum { TUNNEL_NAME_SIZE = HEADER_SERVICE_MAX + 1, TUNNEL_NOTHING = -1, TUNNEL_EVENTS_MAX = 3 };

struct address;
struct dial;
struct farewells;
struct tally;
struct tombs;
struct trails_held;

/* There may be thousands, so rarely used state is kept elsewhere. */
struct tunnel {
  struct tunnels *table;
  struct tally *tally;
  struct tunnel *prev, *next; /* of the table */
  struct tunnel *tally_prev, *tally_next;
  struct connection machine;
  uint64_t id, started_ms;
  uint64_t armed_for; /* what the timer runs for */
  uint64_t begun_by;  /* F: when to look whether the router had room for the dial; UINT64_MAX: looked already */
  uint64_t renew_at;  /* F: the current stream is old by then; UINT64_MAX: it may be */
  char *peer;
  int fd; /* until the pump has it */
  struct pump *pump;
  struct pump_stream *current_stream, *next_stream;
  struct dial *dial;
  struct carry_question *asking;
  uint8_t connection[HEADER_CONNECTION_SIZE]; /* a secret */
  uint8_t member[HEADER_MEMBER_SIZE];         /* the other side's process, once it is known */
  UT_hash_handle hh;                          /* S: by connection */
  struct detached detached;
  struct hops hops;
  uint64_t origin;           /* S: of hops.h, by which it came to F */
  struct end_addresses ends; /* who made the connection that came to F */
  enum proxy_version proxy;  /* S: how its target is told of them */
  struct trails_held *held;  /* S: its target is not dialled yet */
  uv_timer_t timer;
  int holds;               /* callbacks that are still to come */
  bool failed, cut, known; /* `known`: in the table by connection */
  bool unreached;          /* F: no target has got anything of it */
  bool told_detached;
  /* Only inside the call that opens a stream, accepts one, or dials. */
  const char *token;
  const struct header *header;
  const struct address *target;
  const char *reset_code, *reset_reason; /* what to say if it breaks; static, or `why` */
  char *why;                             /* NULL, or how the dial failed */
  char *trouble;                         /* NULL, or why the latest stream was lost */
  uint64_t bytes_read, bytes_written;    /* when the pump is gone */
  void *user;
  struct pump_observer *observer;
};

struct tunnels {
  struct lookups *lookups;
  uv_loop_t *loop;
  const struct carry_host *host;
  struct pump_set *pumps;
  struct connection_times times;
  const struct tunnels_events *events;
  void *arg;
  struct tunnel *live;
  struct tunnel *by_connection;
  struct tally *tallies;
  struct hops *dialled; /* by our sockets */
  struct trails trails;
  struct tombs *tombs;
  struct farewells *farewells;
  struct detached_list detached;
  uint64_t last_id;
  size_t served, detached_count;
  size_t count; /* live, and those whose memory is still held */
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- tunnels.c ---- */

/* It is gone for everybody: tells so, and counts what it carried. */
void tunnels_remove(struct tunnel *t);
/* Takes a stream, and says on it that it can have no part in a connection: the same to everybody, since it may be a
 * stranger. */
void tunnels_refuse(struct tunnels *ts, struct pump_stream *s);
/* Its memory is gone, too. May free the table. */
void tunnels_release(struct tunnels *ts);

/* ---- tunnel_begin.c ---- */

/* Not in the table yet. NULL when memory is short. */
struct tunnel *tunnel_create(struct tunnels *ts, const char *peer);
/* It does not get into the table, which counts it as one whose memory is still held. */
void tunnel_discard(struct tunnel *t);
void tunnel_free(struct tunnel *t);
/* In the table: starts, and tells that it is open. Each may be over when this returns. */
void tunnel_start_forward(struct tunnel *t, int fd, const struct end_addresses *ends);
/* `h` NULL: the other side is of the first version. */
void tunnel_start_service(struct tunnel *t, struct pump_stream *s, const struct header *h,
                          const struct tunnels_target *target);
/* A further stream of this connection, whose header is `h`. */
void tunnel_attach(struct tunnel *t, struct pump_stream *s, const struct header *h);

/* ---- tunnel.c ---- */

/* An event from outside. */
void tunnel_step(struct tunnel *t, enum connection_event event);
/* Carries out the machine's answer, and all that follows from it. */
void tunnel_run(struct tunnel *t, unsigned actions);
/* Resets both sides now. */
void tunnel_end(struct tunnel *t, const char *reason);
/* S: too much is detached, and this one is the oldest. */
void tunnel_evict(struct tunnel *t);

/* Tells the user, in a sentence, what went wrong. */
void tunnel_fail(struct tunnel *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Why it has no stream. */
const char *tunnel_trouble(const struct tunnel *t);
/* It came through too many services: tells so, and is about to say so. */
void tunnel_fail_loop(struct tunnel *t);
/* And breaks, since it is open. */
void tunnel_end_loop(struct tunnel *t);
/* S: its target was not to be dialled until now. */
void tunnel_dial_now(struct tunnel *t, const struct address *target);
/* What to say if the connection breaks. Both live as long as the tunnel. */
void tunnel_set_reset(struct tunnel *t, const char *code, const char *reason);

/* What calls back, with the tunnel as its argument. */
extern const struct pump_events tunnel_pump_events;
extern const struct pump_stream_events tunnel_stream_events;
void tunnel_dialled(int fd, const char *why, void *arg);
void tunnel_asked(enum rpc_status status, const char *text, const char *token, void *arg);
void tunnel_timeout(uv_timer_t *timer);
void tunnel_timer_closed(uv_handle_t *timer);

/* ---- tunnel_act.c ---- */

/* Carries them out. Returns how many events came of it: the machine is to take them in this order. */
size_t tunnel_act(struct tunnel *t, unsigned actions, enum connection_event came[TUNNEL_EVENTS_MAX]);
/* One of them: connects to `target`, whatever may be against it but hops. Returns the event that came of it, or
 * TUNNEL_NOTHING. */
int tunnel_dial(struct tunnel *t);

/* ---- tunnel_info.c ---- */

struct pump_counters tunnel_counters(const struct tunnel *t);

#endif
