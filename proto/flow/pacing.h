/* How fast the bulk streams to one peer may be sent, so that no queue stands before the line that they share. Each of
 * several streams fills a line by itself, and together they keep a queue there, in which a keystroke waits, too.
 *
 * Pure: what TCP knows of the streams and the clock (microseconds, monotonic) are handed in. One thread at a time.
 */
#ifndef PROTO_PACING_H
#define PROTO_PACING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PACING_EVERY_US = 50000,  /* from look to look */
  PACING_BULK = 4 << 10,    /* who was given less than so many bytes since the last look need not be looked at */
  PACING_RTT_MIN_US = 2000, /* nothing is paced where the round trip without queues is shorter */
};

/* How fast one stream may be sent at most, whatever others do: a quarter faster than the line was ever seen to take it,
 * once that grows no more. BBR sends three times as fast as long as it looks for what the line carries, and it never
 * comes to an end with that where the data arrives only as fast as the line takes it. Then whatever comes late, in a
 * burst, floods the line's queue. All zero is right for a new one. */
struct pacing_cap {
  uint64_t peak, former; /* bytes per second: the most lately, and before it grew by a quarter */
  uint64_t grown_at;
};

/* `rate` bytes per second arrived lately; `rtt_least` in microseconds. Returns bytes per second; 0: any. */
uint64_t pacing_cap(struct pacing_cap *c, uint64_t rate, uint64_t rtt_least, uint64_t now);

/* Whether a rate that was set needs to be set anew: by more than a hundredth or so, or if one of them is none. */
bool pacing_differs(uint64_t set, uint64_t rate);

/* One stream that may be bulk. All zero is right for a new one. */
struct pacing_stream {
  /* What TCP knows: bytes that have arrived, in order or not; the round trip in microseconds, smoothed and the least.
   */
  uint64_t acked;
  uint32_t rtt, rtt_least;
  uint64_t delivery; /* bytes per second of the latest flight, which pauses before it do not lower; 0: not known */

  uint64_t rate; /* the answer: bytes per second, for SO_MAX_PACING_RATE; 0: any */

  /* pacing.c's: */
  struct pacing_cap cap;
  uint64_t acked_before; /* at the look before */
  bool fresh;            /* there was none */
  uint64_t latest;       /* bytes per second, since then */
  uint64_t carried;      /* smoothed */
  uint64_t looked_at;
};

enum pacing_phase {
  PACING_WATCHES, /* for a queue; without one, the rates grow */
  PACING_DRAINS,  /* what stands in the queue */
  PACING_HOLDS,   /* until TCP knows what came of that */
  PACING_YIELDS,  /* to the streams themselves: it is not us who makes the queue */
};

/* One peer. All zero is right for a new one, and nothing needs to be freed. */
struct pacing {
  uint64_t sum; /* bytes per second of all streams; 0: they are not paced */
  enum pacing_phase phase;

  /* pacing.c's: */
  uint64_t until; /* the phase ends */
  uint64_t looked_at;
  uint64_t least, least_at; /* the round trip without queues, and when it was seen */
  uint64_t carried;         /* bytes per second, smoothed */
  uint64_t peak;            /* the most of it lately */
  uint64_t before;          /* the most of it while there was no queue, lately */
  uint64_t line;            /* what it carried while a queue stood */
  uint64_t floor;           /* the sum does not go below it while a queue stands */
  unsigned step;            /* of the growth, in thousandths */
  unsigned vain;            /* so many cuts in a row left a queue */
  uint64_t patience;        /* how long it yields the next time */
  struct {
    unsigned looks;
    uint64_t since, acked, us; /* of the looks but the first */
  } queue;                     /* that is seen */
};

/* A look at all streams of a peer that are bulk, every PACING_EVERY_US or so; each is told its rate. A stream that is
 * left out once is new afterwards, and its rate is to be lifted. */
void pacing_look(struct pacing *p, struct pacing_stream *const streams[], size_t count, uint64_t now);

#endif
