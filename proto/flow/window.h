/* How much of a direction may be under way: the sender's window, and the receiver's decision when to say how far it
 * is. Pure: the clock (microseconds, monotonic) and the acks are handed in. One thread at a time.
 *
 * What a message costs of the window is its bytes and WINDOW_MESSAGE_COST, at both ends alike.
 */
#ifndef PROTO_WINDOW_H
#define PROTO_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/ack.h"

enum {
  WINDOW_MIN = 256 << 10, /* what everybody starts with, and every receiver grants */
  WINDOW_MAX = 16 << 20,
  WINDOW_MESSAGE_COST = 256,
  WINDOW_MESSAGE_MIN = 4 << 10, /* of the size that a message should have */
  WINDOW_MESSAGE_MAX = 1 << 20,
};

/* ---- The sender ---- */

struct window {
  uint64_t size; /* now: at least WINDOW_MIN unless the limit is less */
  uint64_t max;  /* of the size: ours, and not above the receiver's limit; WINDOW_MIN until that is known */
  uint64_t sent, sent_messages;
  uint64_t acked, acked_messages;

  /* window.c's: */
  uint64_t own_max;
  uint64_t grown_at; /* what was acked when it grew last */
  uint64_t rate;     /* bytes per second */
  uint64_t rtt;      /* the least lately, in microseconds */
  uint64_t rtt_seen; /* when a round trip was about as short as that */
  uint64_t drain;    /* not 0: no more than so much may be under way, until a round trip was timed */
  struct {
    bool running;
    bool alone; /* no queue of ours was before it */
    uint64_t end, since;
  } timed; /* the message whose round trip is being timed */
  struct {
    bool idle;   /* at some time in it there was nothing to carry */
    bool rising; /* the one before had a rate that was much higher than ever before */
    uint64_t acked, since;
  } interval; /* in which the rate is being measured */
  struct {
    uint64_t at, acked;
    uint64_t peak; /* the most that was under way since */
  } rested;
  bool resumed; /* no ack came since */
};

void window_start(struct window *w, uint64_t max);
/* The receiver said what it is ready to queue; 0: it does not say, and WINDOW_MIN holds. */
void window_limit(struct window *w, uint64_t limit);
/* How many bytes the next message may have; 0: not before an ack. With nothing under way at least 1, however small the
 * limit; a message never has more than a quarter of the window. */
uint64_t window_room(const struct window *w);
/* `bytes` of data in one message; an end counts as a byte. */
void window_sent(struct window *w, uint64_t bytes, uint64_t now);
/* Keeps by the limit that it says. May grow by up to `budget` bytes, and shrink at times. 0, or -EPROTO when it cannot
 * be: then nothing has changed. */
int window_acked(struct window *w, const struct ack *ack, uint64_t budget, uint64_t now);
/* Another stream goes on with what is under way. What was being measured is not: its acks may be lost, or late. */
void window_resume(struct window *w);
/* Every second or so: shrinks what is not used, or not acked for long, never below what is under way. */
void window_rest(struct window *w, uint64_t now);
/* What it means to have under way, of which the receiver should know. */
uint64_t window_meant(const struct window *w);
/* What is under way, in bytes. */
uint64_t window_unacked(const struct window *w);
/* Bytes per second that the receiver has taken lately; 0: not known yet. */
uint64_t window_rate(const struct window *w);
/* The round trip without queues, in microseconds; 0: not known yet. */
uint64_t window_rtt(const struct window *w);
/* How large the next message should be, for the rate: what passes in 2 ms. */
size_t window_message(const struct window *w);

/* ---- The receiver: what it is ready to queue ---- */

/* What a sender has of the receiver's budget: beyond what each has anyway, what it means to have under way, or what of
 * it waits already. */
uint64_t window_promised(uint64_t said, uint64_t queued);
/* The limit for it: never less than WINDOW_MIN and what is promised, and half of what is left of the budget; but not
 * above `most`. */
uint64_t window_grant(uint64_t most, uint64_t promised, uint64_t left);
/* The next message is asked for: always, unless the sender has no window; then only once all that came is written
 * (`empty`). */
bool window_hears(bool windowed, bool empty);
/* With the next message so much is queued, which goes beyond `most`. Since the latest grant all together may have gone
 * beyond the budget, but not beyond twice of it, which `excess` is counted of. */
bool window_overrun(uint64_t most, uint64_t queued, uint64_t excess, uint64_t budget);

/* ---- The receiver: when it says how far it is ---- */

enum {
  ACKS_DELAY_US = 5000,       /* nothing taken stays unsaid for longer */
  ACKS_GREETING_US = 1000000, /* nor that we are there */
};

struct acks {
  uint64_t taken, messages; /* to be said */

  /* window.c's: */
  uint64_t said, said_messages;
  bool greets;                /* one is to be said, though nothing may be taken yet */
  uint64_t greets_at;         /* since then */
  uint64_t first_at, last_at; /* when the first byte was taken that is not said, and the last */
  uint64_t largest;           /* of the messages lately */
  uint64_t part;              /* taken of one that is not whole */
};

void acks_start(struct acks *a);
/* What was said may not have arrived: if anything was taken, that is to be said at once. */
void acks_restart(struct acks *a);
/* The socket took `bytes` more: a piece of a message, of which `messages` is 0, or 1 with its last byte; or so many
 * whole ones. */
void acks_taken(struct acks *a, uint64_t bytes, uint64_t messages, uint64_t now);
/* The other side was heard, and is to know it: by the next ack, which goes alone after ACKS_GREETING_US. */
void acks_greet(struct acks *a, uint64_t now);
/* An ack should be said now, also when there is no data for it to ride on. */
bool acks_due(const struct acks *a, uint64_t now);
/* Something is taken that was not said. */
bool acks_unsaid(const struct acks *a);
/* There is that or a greeting to say: one that rides on data costs next to nothing. */
bool acks_any(const struct acks *a);
/* The ack to say, without a limit; counts as said. */
struct ack acks_say(struct acks *a, uint64_t queued, uint64_t now);

#endif
