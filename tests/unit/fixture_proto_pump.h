/* Pumps on a loop, which speak with the other sides of fixture_proto_others.h. */
#ifndef FIXTURE_PROTO_PUMP_H
#define FIXTURE_PROTO_PUMP_H

#include <stdlib.h>
#include <uv.h>

#include "proto/flow/window.h"
#include "proto/pump/pump.h"
#include "proto/rpc/rpc.h"
#include "proto/rpc/rpc_stream.h"
#include "proto/wire/header.h"

#include "fixture_proto_others.h"
#include "holds.h"

enum { PATIENCE_MS = 20000, TICK_MS = 5, SIDES_MAX = 16 };

struct here {
  uv_loop_t loop;
  uv_timer_t patience;
  int ticks; /* that are left of it */
  struct home *home;
  struct rpc_queue *queue; /* or NULL: in memory */
  struct rpc_channel *channel;
  struct pump_set *set;
  struct stream *(*make)(const struct header *h); /* NULL, or makes streams of another kind */
  uint64_t near_us;
};

extern struct here here;

/* A pump, and a stream, which need not be its own. */
struct side {
  struct pump *pump;
  struct pump_stream *stream;  /* what it said is in this side */
  struct pump_stream *current; /* of the pump */
  int fd;                      /* our end of the socket */
  bool header, original, local_eof, remote_eof, ended, refused;
  struct header said; /* by the other side */
  int socket_error;
  bool breaks; /* says a reset, and closes the socket, when that fails */
  char reset_code[64], reset_reason[256], text[256];
  enum rpc_status status;
};

extern struct side sides[SIDES_MAX];

extern const struct pump_stream_events stream_events;

void start_patience(void);
void stop_patience(void);

#define WAIT_FOR(condition)                                                                                            \
  do {                                                                                                                 \
    start_patience();                                                                                                  \
    while (!(condition))                                                                                               \
      uv_run(&here.loop, UV_RUN_ONCE);                                                                                 \
    stop_patience();                                                                                                   \
  } while (0)

/* One that did not start. */
struct stream *make_stream(const struct header *h);
void create_pump(int side);
void open_stream_with(int side, const struct header *h);
void open_stream(int side, const char *token);

/* The stream of one side becomes the current one of another's pump. */
void use_stream(int side, int stream, const struct pump_attachment *a);
void open_pump(int side, const char *token);

/* One whose other side has nothing said yet. */
void open_silent(int side);

/* One whose other side has answered. */
void open_answered(int side, const char *token);

/* A real TCP connection, since resets are TCP's; with `small` it holds little. Returns the end that a pump may have. */
int make_socket(int side, bool small);
void give_socket(int side);
void give_small_socket(int side);
void reset_socket(int side);
struct pump_counters counters(int side);

/* ---- Before and after each test ---- */

void close_stream(int side);
void close_pump(int side);

/* Before the first pump. */
void use_limits(uint64_t window, uint64_t budget);
void use_pump_limits(const struct pump_limits *limits);
void setup(void);     /* in memory */
void setup_rpc(void); /* over gRPC */
void teardown(void);

/* ---- What flows ---- */

void turn(void);
void turn_for(int ms);

/* For what must not happen: what was under way has come when this returns, however slow the machine is. The others were
 * asked something on the same connection, and again behind what came of that. In memory the loop turns often enough. */
void settle(void);

/* Sends `total` bytes in random portions, and reads them back. */
void echo(int side, size_t total);

/* Gives the socket as much as it takes now. */
size_t push(int side);

#define PUSH_UNTIL(side, condition)                                                                                    \
  do {                                                                                                                 \
    start_patience();                                                                                                  \
    while (!(condition))                                                                                               \
      push(side);                                                                                                      \
    stop_patience();                                                                                                   \
  } while (0)

/* Until nothing more is taken. */
void push_until_held_back(int side);

/* Reads until `total` bytes have come, which are those from `at` on. */
void hear(int side, size_t at, size_t total);
void hear_end(int side);

#endif
