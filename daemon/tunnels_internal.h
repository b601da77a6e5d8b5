/* What the files of the tunnels share: tunnels.c has the table, tunnel.c what becomes of one tunnel, tunnel_act.c
 * what it does, tally.c what is counted. On the loop's thread.
 */
#ifndef DAEMON_TUNNELS_INTERNAL_H
#define DAEMON_TUNNELS_INTERNAL_H

#include <uv.h>

#include "connection.h"
#include "proto/header.h"
#include "proto/pump.h"
#include "tunnels.h"

enum { TUNNEL_NAME_SIZE = HEADER_SERVICE_MAX + 1, TUNNEL_OPENING_MS = 15000, TUNNEL_NOTHING = -1 };

struct address;
struct dial;
struct rpc_call;
struct tally;

/* There may be thousands: what is rare is not in it. */
struct tunnel {
  struct tunnels *table;
  struct tally *tally;
  struct tunnel *prev, *next; /* of the table */
  struct tunnel *tally_prev, *tally_next;
  struct connection machine;
  uint64_t id, started_ms;
  char *peer;
  int fd; /* until the pump has it */
  struct pump *pump;
  struct dial *dial;
  struct rpc_call *asking;
  uint8_t connection[HEADER_CONNECTION_SIZE]; /* a secret */
  uv_timer_t timer;
  int holds; /* callbacks that are still to come */
  bool failed, cut;
  /* Only inside the call that opens the stream, and dials. */
  const char *token;
  const struct address *target;
  const char *reset_code, *reset_reason; /* what to say if it breaks; static, or `why` */
  char *why;                             /* NULL, or how the dial failed */
  uint64_t bytes_read, bytes_written;    /* when the pump is gone */
  void *user;
};

struct tunnels {
  uv_loop_t *loop;
  struct link *link;
  struct pump_set *pumps;
  uint64_t limit; /* what one connection may queue; the other side is told */
  const struct tunnels_events *events;
  void *arg;
  struct tunnel *live;
  struct tally *tallies;
  uint64_t last_id;
  size_t count; /* live, and those whose memory is still held */
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- tunnels.c ---- */

/* It is gone for everybody: tells so, and counts what it carried. */
void tunnels_remove(struct tunnel *t);
/* Its memory is gone, too. May free the table. */
void tunnels_release(struct tunnels *ts);

/* ---- tunnel.c ---- */

/* Not in the table yet. NULL when memory is short. */
struct tunnel *tunnel_create(struct tunnels *ts, const char *peer);
void tunnel_free(struct tunnel *t);
/* In the table: starts, and tells that it is open. Each may be over when this returns. */
void tunnel_start_forward(struct tunnel *t, int fd);
void tunnel_start_service(struct tunnel *t, const char *token, const struct address *target);
void tunnel_start_parked(struct tunnel *t, struct pump *pump, const struct header *h, const struct address *target);
/* Resets both sides now. */
void tunnel_end(struct tunnel *t, const char *reason);
struct pump_counters tunnel_counters(const struct tunnel *t);

/* Tells the user, in a sentence, what went wrong. */
void tunnel_fail(struct tunnel *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What to say if the connection breaks. Both live as long as the tunnel. */
void tunnel_set_reset(struct tunnel *t, const char *code, const char *reason);

/* What calls back, with the tunnel as its argument. */
extern const struct pump_events tunnel_pump_events;
void tunnel_dialled(int fd, const char *why, void *arg);
void tunnel_timeout(uv_timer_t *timer);
void tunnel_timer_closed(uv_handle_t *timer);

/* ---- tunnel_act.c ---- */

/* Carries them out. Returns the event that came of it, or TUNNEL_NOTHING. */
int tunnel_act(struct tunnel *t, unsigned actions);

#endif
