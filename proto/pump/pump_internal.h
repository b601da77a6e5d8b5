/* The parts of pumps and streams, for the files of the copy path: pump.c (the life of a pump, its streams, its socket),
 * pump_stream.c (the life of a stream), pump_say.c (what goes out on one), pump_up.c (socket to stream), pump_read.c
 * (what the socket brings), pump_keep.c (what is kept to be sent again), pump_splice.c (both directions without a
 * copy), pump_socket.c (what the kernel does with a socket by itself), pump_unix.c (the same of a unix socket),
 * pump_hear.c (what comes in on one), pump_down.c (stream to socket), pump_ack.c (what the other side is told of the
 * socket's progress), pump_set.c (the sockets' events, the clocks).
 *
 * Locks: a pump has one for each direction. `fd` and `stream` change only with both held (up first), so that either one
 * makes them safe to use. A stream has a lock of its own until it becomes a pump's; from then on its parts are under
 * that pump's locks. The ack lock is a leaf.
 *
 * References: the owner's until the close, one for each answer that is awaited from the kind and one for its end (of
 * the stream), one for each event on its way to the loop, one while an ack waits for the clock (of the pump), one that
 * a stream has of the pump whose locks it uses. Whoever drops the last one sends pump or stream to the loop to be freed
 * there, so that no epoll batch still names it.
 */
#ifndef PROTO_PUMP_INTERNAL_H
#define PROTO_PUMP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "observer.h"
#include "proto/flow/sequence.h"
#include "proto/flow/window.h"
#include "proto/host/heap.h"
#include "proto/host/home.h"
#include "proto/host/pipes.h"
#include "proto/host/poller.h"
#include "proto/stream/message.h"
#include "proto/stream/slab.h"
#include "proto/stream/stream.h"
#include "proto/wire/header.h"
#include "proto/wire/payload.h"
#include "pump.h"

enum { PUMP_RESET_CODE_MAX = 32, PUMP_RESET_REASON_MAX = 256, PUMP_PARTS_MAX = 256 };
enum {
  PUMP_LITTLE = 64 << 10
}; /* bytes that a socket may have been given before the kernel is told how much it keeps */
enum { PUMP_COPY_MAX = 2 << 10 }; /* bytes that are copied rather than keep a large buffer from being used again */

struct pump_set {
  struct home *home;
  struct pump_clocks *clocks;
  struct pump_limits limits;
  struct poller *poller;
  struct pipes *pipes; /* NULL: nothing is spliced */
  pthread_t loop_thread;
  /* One for each thread that reads sockets; and the small ones for streams of which the loop is the only thread. */
  struct slab_carver small, loop_large, other_large;
  atomic_int bulk;                   /* pumps that read large */
  _Atomic uint64_t windows, begun;   /* of the budget for windows; and under way in their beginnings */
  _Atomic uint64_t promised, excess; /* of that for queues: what is granted and meant to be used; what is */
  _Atomic uint64_t queued;           /* in all */
  struct pump *pumps;                /* loop thread; freed ones leave */
  struct pump_stream *streams;       /* too */
  atomic_size_t pump_count;
  size_t stream_count;
  struct heap_crowd crowd;
  void (*closed)(void *arg);
  void *closed_arg;

  pthread_mutex_t clock_lock;
  struct pump *waiting; /* for an ack's time */
  bool clock_runs;
  struct errand start_clock;
};

/* ---- Streams ---- */

struct pump_stream_out {
  bool sending;
  struct bytes header_due; /* or none */
  struct bytes last_due;   /* a reset or a refusal */
  bool last_waits;         /* for the data that there is */
  bool resumes;            /* what was sent on another stream: of that there may be much */
  bool half_close_due;
  bool over;   /* half-closed, or it failed: nothing is sent any more */
  uint64_t at; /* where the other side takes the next data to begin if it is told nothing */
};

struct pump_stream_in {
  struct message *first; /* what else was in the first message waits for a pump */
  bool receiving;
  bool over; /* nothing more arrives */
  bool last; /* what came is the other side's last word; nothing is taken any more */
  bool has_header;
  bool status_known;
  bool ended;
  struct header *header; /* until it is told */
  uint64_t limit;        /* it said */
  char *code, *reason;   /* of a reset or a refusal; NULL: none came, or memory was short */
};

struct pump_stream {
  struct pump_set *set;
  struct stream *stream;
  const struct pump_stream_events *events;
  void *arg;
  atomic_int refs;
  bool started;
  bool closed;                     /* loop thread */
  bool told;                       /* loop thread: that it has ended */
  bool original;                   /* the other side is; changes with both directions locked */
  struct pump_stream *prev, *next; /* of the set */

  pthread_mutex_t lock;       /* until there is a pump */
  struct pump *_Atomic pump;  /* whose it is, or was */
  struct pump_stream_out out; /* under its up lock */
  struct pump_stream_in in;   /* under its down lock */

  struct errand errand; /* events on their way to the loop; in the end, to be freed there */
  atomic_uint untold;   /* bits: events that it brings */
  enum rpc_status status;
  const char *status_text; /* the kind's */
};

/* ---- Pumps ---- */

struct pump_splice;

struct pump_up {
  pthread_mutex_t lock;
  struct pump_splice *splice;   /* NULL until it is of use */
  struct sequence_out sequence; /* the bodies are struct bytes */
  size_t read_size;
  struct window window;
  uint64_t charged, begun;     /* what it has of the budget; and under way, of what it began with */
  uint64_t compact, rested_at; /* what lies before was looked at for slabs that it pins; was there at the last rest */
  uint64_t window_said;        /* the other side knows that so much is meant to be under way */
  bool window_due;             /* and is to know that it is less now */
  bool windowed;               /* the other side tells how far it is */
  bool heard;                  /* it did */
  atomic_bool starved;         /* by the window */
  bool bulk;
  bool stopped;     /* the socket is not read any more */
  bool discard;     /* but to throw away what it brings */
  bool socket_over; /* it brings no more, which was told */
  bool holds;       /* a unix socket's last byte is to stay unread */
  bool held;        /* and does, though a copy of it was read */
  bool dry;         /* the socket had nothing more; what it has next is told */
  bool goes_on;     /* it may have more, and is read on in the next turn */
  bool watchful;    /* there is or was something behind what it has, of which it tells no more */
  bool eof_due;     /* is to be added */
};

/* A message that came, as far as it is not written yet. */
struct pump_message {
  struct pump_message *next;
  struct message *message;
  size_t part, part_used; /* where its data begins */
  size_t left;            /* bytes of data */
  bool eof, charged;
};

struct pump_down {
  pthread_mutex_t lock;
  struct sequence_in sequence;
  struct pump_message *first, *last;
  uint64_t said;            /* what the other side means to have under way */
  uint64_t excess;          /* of the queue, beyond what each may have */
  bool bounded;             /* what the kernel keeps of it */
  bool full;                /* the socket took no more; when it does again is told */
  bool queueing;            /* more is asked for though some is unwritten: the other side has a window */
  bool drop;                /* data is not wanted any more */
  atomic_bool blocked;      /* the first message is in a pipe, and nothing is asked for until it is written */
  uint64_t written_at_rest; /* loop thread */
};

struct pump_acks {
  pthread_mutex_t lock;
  struct acks acks;
  uint64_t answer_at;  /* not 0: our header is said with what is said next, or else at this time */
  atomic_bool stopped; /* nothing can be said any more, or the other side would not understand it */
  atomic_bool waiting; /* in the set's list, or about to be */
  struct pump *next;   /* in that list */
};

struct pump {
  struct pump_set *set;
  struct pump_stream *stream; /* the current one, or NULL */
  const struct pump_events *events;
  void *arg;
  atomic_int refs;
  bool closed;              /* loop thread */
  struct pump *prev, *next; /* of the set */
  int fd;
  atomic_bool shut; /* the socket's write side */

  struct poller_watch watch;
  bool is_unix;      /* since it has a socket */
  bool resets;       /* loop thread: so does its close */
  bool asks_peer;    /* loop thread */
  bool told_of_room; /* the poller tells when the socket takes more: not before it was full once */

  struct pump_up up;
  struct pump_down down;
  struct pump_acks acks;
  struct pump_observer *observer; /* or NULL; changes with both directions locked */
  _Atomic uint64_t bytes_read, bytes_written, spliced;
  /* Down, as the window counts it; they change with that lock held: what waits for the socket, and what this pump has
   * of the budget. */
  _Atomic uint64_t queued, promised;
  uint64_t confirmed;      /* loop thread: of bytes_written, the peer's machine has */
  atomic_int socket_error; /* the first */

  struct errand errand; /* as a stream's */
  atomic_uint untold;
};

/* ---- pump.c ---- */

void pump_ref(struct pump *p);
void pump_unref(struct pump *p);

/* In this order, if several are told at once. */
enum pump_event { PUMP_GO_ON, PUMP_LOCAL_EOF, PUMP_SOCKET_FAILED, PUMP_REMOTE_EOF, PUMP_EVENTS };

/* Tells the owner, on the loop; but PUMP_GO_ON the pump itself. Each but the failure at most once. Any thread, with or
 * without a direction lock. */
void pump_tell(struct pump *p, enum pump_event event);
void pump_tell_socket_failed(struct pump *p, int error);

/* ---- pump_stream.c ---- */

void pump_stream_ref(struct pump_stream *s);
void pump_stream_unref(struct pump_stream *s);

/* In this order, if several are told at once. */
enum pump_stream_event { STREAM_HEADER, STREAM_ORIGINAL, STREAM_RESET, STREAM_REFUSED, STREAM_ENDED, STREAM_EVENTS };

void pump_stream_tell(struct pump_stream *s, enum pump_stream_event event);

enum pump_way { PUMP_UP, PUMP_DOWN, PUMP_BOTH };

/* Locks what is of that direction. Returns the pump whose locks these are, or NULL: it is not a pump's yet. */
struct pump *pump_stream_lock(struct pump_stream *s, enum pump_way way);
void pump_stream_unlock(struct pump_stream *s, struct pump *p, enum pump_way way);
/* It can be said that it is over, if it is: with its down lock held. */
void pump_stream_check_end(struct pump_stream *s, struct pump *p);

/* ---- pump_set.c: the socket ---- */

/* Before it is the pump's. A negative errno. */
int pump_watch(struct pump *p, int fd);
/* It is told when the socket takes more. With the down lock held. */
void pump_watch_room(struct pump *p);
/* Others are to have their turn before the socket is read on. With the up lock held and fd >= 0. */
void pump_go_on(struct pump *p);

/* ---- pump_socket.c ---- */

/* Before anything is sent or received on it: from now on its end is a reset. */
void pump_socket_begin(int fd);
/* From now on its peer is asked whether it is there. */
void pump_socket_ask_peer(int fd, unsigned keepalive_s);
/* From now on the kernel keeps no more unsent than it may for one of so many. */
void pump_socket_bound_unsent(int fd, size_t sockets);
/* What its close does, be it ours or the kernel's when this process is killed. */
void pump_socket_reset_on_close(int fd, bool reset);
/* Its peer's machine has acknowledged all that it was given. */
bool pump_socket_has_all(int fd);
/* What it was given is under way, and its peer's machine has not answered for long. */
bool pump_socket_is_abandoned(int fd, unsigned keepalive_s);

/* ---- pump_unix.c: with the up lock held ---- */

bool pump_unix_is(int fd);
/* As recv(2). */
ssize_t pump_unix_read(struct pump *p, void *room, size_t size);
/* From now on its end is an orderly one. */
void pump_unix_let_go(struct pump *p);

/* ---- pump_say.c: with the stream's up lock held. What comes to `later` is run when no lock is held. ---- */

/* Something may be said on it now. */
bool pump_say_can(const struct pump_stream *s);
/* The first message. */
void pump_say_start(struct pump_stream *s, const void *first, size_t size, struct errand **later);
void pump_say(struct pump_stream *s, const struct stream_say *what, struct errand **later);
/* What is to be said before all else. When memory is short, the stream is cancelled. */
void pump_say_header(struct pump_stream *s, const struct header *h);
/* One word that is due and goes before data, of which there is some that was not sent yet (`data`). A header may wait
 * for data. False: none is due. */
bool pump_say_word(struct pump_stream *s, bool data, struct errand **later);
/* Says what can be said. Takes the lock itself. */
void pump_say_go(struct pump_stream *s);
/* Answers the kind. Takes the lock itself. */
void pump_say_done(struct pump_stream *s, bool ok);

/* ---- pump_hear.c: with the stream's down lock held ---- */

void pump_hear_free(struct pump_stream *s);
/* Asks for the next message. */
void pump_hear(struct pump_stream *s);
/* Answers it: `m` may be NULL. Takes the lock itself. */
void pump_hear_done(struct pump_stream *s, struct message *m);
/* What waited in it for the pump whose current one it is now. *payload is what pump_hear_follow needs. */
void pump_hear_first(struct pump *p, struct pump_stream *s, struct payload *payload);
/* Carries out what a message said of the other direction. Without locks. */
void pump_hear_follow(struct pump *p, struct pump_stream *s, const struct payload *payload);

/* ---- pump_keep.c: with the up lock held ---- */

void pump_keep_init(struct pump *p);
void pump_keep_free(struct pump *p);
/* Something was sent, which is dropped at once if the other side does not tell how far it is. */
void pump_keep_sent(struct pump *p);
/* Once a second. */
void pump_keep_rest(struct pump *p);

/* ---- pump_up.c and pump_down.c: with the direction's lock held, unless told otherwise ---- */

void pump_up_init(struct pump *p);
void pump_up_free(struct pump *p);
/* Tells the budget what the window has beyond its beginning, and what is under way of that: when it was full once, it
 * may be so for ever. */
void pump_up_account(struct pump *p);
void pump_up_run(struct pump *p, struct errand **later);
/* Takes the lock itself. */
void pump_up_go(struct pump *p);
/* The socket may have more; with `watchful` there may be something behind that. Takes the lock itself. True: a
 * failure of it was found, or will be. */
bool pump_up_ready(struct pump *p, bool watchful);
/* The other side never tells how far it is. */
void pump_up_unwindowed(struct pump *p);
/* There is no stream that could take more. */
void pump_up_pause(struct pump *p);
/* What the other side is ready to queue. */
void pump_up_limit(struct pump *p, uint64_t limit);
/* It said so on that stream. Takes the lock itself; -EPROTO: it cannot be. */
int pump_up_acked(struct pump *p, const struct pump_stream *s, const struct ack *ack);
/* Another stream goes on: what was said on the former may be lost. */
void pump_up_resume(struct pump *p);
/* Once a second. Takes the lock itself. True: there is something to say. */
bool pump_up_rest(struct pump *p);
void pump_down_init(struct pump *p);
/* The lock is to be let go before pump_ack_go. */
void pump_down_run(struct pump *p);
/* The socket may take more. Takes the lock itself. */
void pump_down_ready(struct pump *p);
/* Takes a message that came on the current stream, also when it fails. NULL, or why the stream cannot go on. */
const char *pump_down_take(struct pump *p, struct message *message, const struct payload *payload);
/* Writes what the socket takes now. */
void pump_down_write(struct pump *p);
/* What was left of it is in the queue. */
void pump_down_keep(struct pump *p);
/* Data is not wanted any more, nor ends; what is queued is freed. */
void pump_down_drop(struct pump *p);
void pump_down_free(struct pump *p);

/* ---- pump_read.c: with the up lock held ---- */

enum { PUMP_READ_MIN = 16 << 10 };

/* One read. Returns how many bytes; 0: nothing was read. */
size_t pump_read(struct pump *p);
/* The socket is not read any more. */
void pump_read_stop(struct pump *p);
/* Throws away what the socket brings. */
void pump_read_discard(struct pump *p);
/* Whether it counts as one with data in bulk. */
void pump_read_bulk(struct pump *p, bool bulk);
/* The socket failed: takes what it brought before, as far as the window lets it. Takes the lock itself. */
void pump_read_drain(struct pump *p);

/* The calling thread's. Besides the loop's there is at most one on which streams answer. */
struct slab_carver *pump_carver_here(struct pump *p);

/* ---- pump_splice.c: with the direction's lock held, unless told otherwise ---- */

/* Whether a body is in a pipe. */
bool pump_splice_has(const struct bytes *b);
/* Whether the next read is to go through a pipe. */
bool pump_splice_wants(struct pump *p);
/* Reads up to `size` bytes, which then are in pipes, or in memory, if it is no bulk. How many; 0: the socket's end; a
 * negative errno; -ENOTSUP: they are to be read into memory. */
ssize_t pump_splice_read(struct pump *p, size_t size, struct bytes *out);
/* How much more may be kept in a pipe. */
size_t pump_splice_room(const struct pump *p);
/* The pipe that has what is to be said, which is the caller's then; NULL: what is kept is to be said. */
struct pooled_pipe *pump_splice_say(struct pump *p, const struct piece *piece);
/* A body in a pipe is not needed any more. */
void pump_splice_forget(struct bytes *b);
/* All that is kept is in memory from now on. 0, or a negative errno: some of it is not. */
int pump_splice_land(struct pump *p);
/* Another stream will go on. */
void pump_splice_stop(struct pump *p);
/* Pipes that are empty are for others. */
void pump_splice_acked(struct pump *p);
void pump_splice_free(struct pump *p);
/* Whether the next message may come in a pipe. */
bool pump_splice_may_hear(const struct pump *p);
/* Whether the next message must wait for one that is in a pipe. */
bool pump_splice_blocks(const struct pump *p);
/* As sendmsg. */
ssize_t pump_splice_write(struct pump *p, struct pump_message *m);
/* An ack may stand behind what waits: after the up direction ran, and once a second. Without locks held. */
void pump_splice_starved(struct pump *p);
void pump_splice_rest(struct pump *p);

/* ---- pump_ack.c: with any direction lock held, but for the last two ---- */

uint64_t pump_now_us(void);
void pump_ack_init(struct pump *p);
void pump_ack_free(struct pump *p);
/* Nothing can be said any more; or again, and anew. */
void pump_ack_stop(struct pump *p);
void pump_ack_restart(struct pump *p);
void pump_ack_taken(struct pump *p, uint64_t bytes, uint64_t messages);
/* The other side answered, and is to know that we have heard it. */
void pump_ack_greet(struct pump *p);
bool pump_ack_due(struct pump *p);
/* Our header need not be said at once: nobody waits for it alone, and something to say may follow soon. From now on it
 * is due after the time that an ack may wait. */
void pump_ack_answer_later(struct pump *p);
bool pump_ack_answer_waits(struct pump *p);
/* It does not wait any more. */
void pump_ack_answered(struct pump *p);
/* If there is one to say, writes the field and returns its size; else 0. */
size_t pump_ack_write(struct pump *p, uint8_t out[PAYLOAD_ACK_MAX]);
/* After pump_down_run: says an ack if it is time, or sees to it that it will be. Without locks held. */
void pump_ack_go(struct pump *p);
/* The clock struck: on the loop. False: nobody waits any more. */
bool pump_ack_clock(struct pump_set *set);

/* ---- pump_set.c ---- */

/* Has pump_ack_clock called until it returns false. Any thread. */
void pump_set_start_clock(struct pump_set *set);
/* On the loop. */
void pump_set_add(struct pump_set *set, struct pump *p);
void pump_set_remove(struct pump_set *set, struct pump *p);
void pump_set_add_stream(struct pump_set *set, struct pump_stream *s);
void pump_set_remove_stream(struct pump_set *set, struct pump_stream *s);

#endif
