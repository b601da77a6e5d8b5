/* What the files of this room share: raw_set.c has what a loop's lines share, raw_line.c a line, raw_question.c asks
 * the router whether it works, raw_warm.c keeps connections ready, raw_goals.c remembers what cannot be had,
 * raw_socket.c opens sockets. raw_stream.c is the life of a stream, raw_say.c what goes out on one, raw_hear.c what
 * comes in, which raw_gather.c cuts into messages.
 */
#ifndef PROTO_RAW_INTERNAL_H
#define PROTO_RAW_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "proto/flow/pacer.h"
#include "proto/host/errand.h"
#include "proto/host/pipes.h"
#include "proto/host/poller.h"
#include "proto/stream/slab.h"
#include "proto/stream/stream.h"
#include "raw_gather.h"
#include "raw_line.h"

enum {
  RAW_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (int)EPOLLET,
  RAW_CONNECT_MS = 3000,
  RAW_WARM = 8,
  RAW_WARM_FEW = 4,
  RAW_REFILL_MS = 2,
  RAW_GOALS = 64,
  RAW_READ_MIN = 16 << 10,
  RAW_READ_BULK = 128 << 10, /* from here on data may be spliced */
  RAW_READ_MAX = 256 << 10,
};

/* ---- raw_set.c ---- */

struct raw_set {
  struct home *home;
  struct poller *poller;
  pthread_t thread;
  struct slab_carver carver;
  struct pacer *pacer;
  struct pipes *pipes;            /* NULL: nothing is spliced */
  struct poller_delay connecting; /* deadlines of streams and questions */
  struct poller_delay refill;     /* of lines */
  void (*closed)(void *arg);
  void *closed_arg;
  struct errand errand;
};

/* What waits until it is connected, or answered. */
struct raw_deadline {
  struct poller_deadline deadline;
  void (*passed)(struct raw_deadline *d);
};

void raw_deadline_set(struct raw_set *set, struct raw_deadline *d);
void raw_deadline_clear(struct raw_set *set, struct raw_deadline *d);

/* ---- raw_socket.c ---- */

/* On this machine: there the handshake is over when connect says that it has begun, and what is sent at once is sent.
 */
bool raw_socket_is_near(const struct sockaddr_storage *address);
/* A non-blocking socket that is being connected. Its end is a reset. A negative errno. */
int raw_socket_connect(const struct sockaddr_storage *address);
/* To be called when a far one is connected. */
void raw_socket_connected(int fd);
/* What its close does, be it ours or the kernel's when this process is killed. */
void raw_socket_reset_on_close(int fd, bool reset);
/* From now on its peer is asked whether it is there. */
void raw_socket_watch_peer(int fd, unsigned idle_s);
/* The positive errno that it failed with, or 0. */
int raw_socket_error(int fd);

/* ---- raw_goals.c: what was not to be had, for half a minute ---- */

struct raw_goals {
  struct {
    uint64_t goal, until_ms;
  } list[RAW_GOALS];
  size_t next; /* is written next: the oldest */
};

/* What a header wants, as a number; 0: a header that parks. */
uint64_t raw_goal_of(const struct header *h);
void raw_goals_add(struct raw_goals *g, uint64_t goal);
bool raw_goals_have(const struct raw_goals *g, uint64_t goal);

/* ---- raw_warm.c ---- */

struct raw_warm {
  struct poller_watch watch;
  struct raw_line *line;
  int fd; /* -1: none */
  bool greeted;
};

void raw_warm_init(struct raw_warm *w, struct raw_line *l);
/* Connects it, if it is none. */
void raw_warm_fill(struct raw_warm *w);
void raw_warm_close(struct raw_warm *w);
/* Its socket is watched by `to` from now on. The descriptor, or -1: there is none that is ready. */
int raw_warm_take(struct raw_warm *w, struct poller_watch *to);

/* ---- raw_question.c ---- */

struct raw_question;

/* `answered` comes once: NULL, or a phrase that lives as long as the callback. */
int raw_question_ask(struct raw_question **out, struct raw_line *l,
                     void (*answered)(struct raw_line *l, const char *why));
/* It is not told any more. */
void raw_question_drop(struct raw_question *q);

/* ---- raw_line.c ---- */

struct raw_line {
  struct raw_set *set;
  struct raw_line_options options; /* without the secret */
  struct raw_keys keys;            /* secret */
  bool near;                       /* the router is */
  _Atomic uint64_t counter;        /* of the latest preamble */
  enum raw_line_state state;
  bool closed;
  unsigned refs; /* the owner's, and one of each stream */
  struct raw_question *question;
  struct raw_warm warm[RAW_WARM];
  bool dialled;                  /* so that connections are kept ready */
  struct poller_deadline refill; /* when there are fewer than should be */
  struct errand errand;
  bool sent; /* the errand is on its way */
  bool told; /* what is told of the state is */
  struct raw_goals goals;
  struct raw_stream *streams;
  char trouble[128];
};

void raw_line_unref(struct raw_line *l);
/* It does not work. */
void raw_line_fail(struct raw_line *l, const char *why);
/* The next preamble of the line's. Returns its size. */
size_t raw_line_seal(struct raw_line *l, const void *first, size_t size, uint8_t out[RAW_PREAMBLE_MAX],
                     uint64_t *counter);
/* A stream was dialled: connections are kept ready from now on. They are made when the dial is on its way, and not
 * before it unless few are left. */
void raw_line_keep_warm(struct raw_line *l);
void raw_line_refill(struct poller_deadline *d);

/* ---- raw_stream.c ---- */

/*  NEW --> CONNECTING --> OPENING --> PAIRED      in CONNECTING nothing was said, in OPENING the preamble may have been
 *             |             |           |
 *             +-------------+-----------+--> OVER
 */
enum raw_state { RAW_NEW, RAW_CONNECTING, RAW_OPENING, RAW_PAIRED, RAW_OVER };

struct raw_stream {
  struct stream stream;
  struct raw_line *line;
  struct raw_stream *prev, *next; /* of the line */
  struct poller_watch watch;
  struct raw_deadline deadline; /* CONNECTING */
  uint64_t goal;
  int fd;
  _Atomic enum raw_state state; /* changes on the loop, with the lock held */
  bool freed, was_warm;
  struct paced paced;
  struct errand errand;
  atomic_uint due;        /* bits of enum raw_due: what the errand is for; 0: it is not on its way */
  struct raw_place place; /* of the word that comes next */

  pthread_mutex_t lock; /* of what goes out, and the status */
  uint8_t *first;       /* secret; NULL: it was said, or is in `rest` */
  uint8_t *rest;        /* of heads the socket did not take */
  uint32_t first_size, rest_at, rest_size;
  struct bytes body;        /* the same of a body, behind it */
  struct pooled_pipe *pipe; /* or of one in a pipe */
  bool saying, last, half_closed;
  bool has_status;
  enum rpc_status status; /* it is to end with, or has */
  char *text;

  /* On the loop, but for the first two. */
  atomic_bool asked, heard_end;
  bool hearing;  /* what is asked for inside is seen */
  bool readable; /* the socket may have something */
  bool hung_up;  /* its end will follow */
  uint32_t read_size;
  struct raw_gather gather;
  struct message *splicing; /* comes in through its pipe: this, and so many bytes more */
  size_t splice_left;
};

enum raw_due { RAW_DUE_SAY = 1, RAW_DUE_HEAR = 2, RAW_DUE_END = 4, RAW_DUE_PACE = 8 };

/* Sees to it that this is done on the loop. Any thread. */
void raw_stream_do(struct raw_stream *s, enum raw_due due);
/* It ends at once with this, unless another status was there before. On the loop without the lock, and as the last
 * thing that is done: its user may free it. */
void raw_stream_end(struct raw_stream *s, enum rpc_status status, const char *text);
/* The connection failed, with a positive errno. As raw_stream_end. */
void raw_stream_fail(struct raw_stream *s, int error);
/* The same of a failure, with the lock held, any thread. */
void raw_stream_fail_later(struct raw_stream *s, int error);
void raw_stream_is_paired(struct raw_stream *s);
bool raw_stream_is_over(const struct raw_stream *s);

/* ---- raw_say.c ---- */

enum stream_said raw_say_start(struct raw_stream *s, const void *first, size_t size);
enum stream_said raw_say(struct stream *stream, const struct stream_say *what, struct errand **later);
/* On the loop: says what waits. False: the connection is broken. `answer`: it was awaited, and all of it was said. */
bool raw_say_go(struct raw_stream *s, bool *answer);
void raw_say_free(struct raw_stream *s);

/* ---- raw_hear.c ---- */

bool raw_hear(struct stream *stream);
/* On the loop. May free the stream. */
void raw_hear_go(struct raw_stream *s);

/* ---- raw_splice.c ---- */

enum raw_spliced {
  RAW_SPLICE_WHOLE, /* a message, its data in a pipe */
  RAW_SPLICE_WAITS, /* for more to come in */
  RAW_SPLICE_LEFT,  /* what came of one is in memory now, where it is to be looked at */
  RAW_SPLICE_NOT,   /* what comes next is to be received into memory */
  RAW_SPLICE_BROKE, /* with errno */
};

/* Whether what comes next is data in bulk, as far as that can be known, and its user takes it in a pipe. */
bool raw_splice_wants(const struct raw_stream *s);
enum raw_spliced raw_splice_receive(struct raw_stream *s, struct message **out, size_t *bytes);
void raw_splice_free(struct raw_stream *s);

#endif
