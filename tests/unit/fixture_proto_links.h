/* Simulated links: what is sent enters a transport that starts slowly and fills the bottleneck's queue, as TCP does;
 * the receiver gets whole messages, reads them at its own pace, and says acks. Time passes in ticks, so that every run
 * is the same.
 */
#ifndef FIXTURE_PROTO_LINKS_H
#define FIXTURE_PROTO_LINKS_H

#include <stdint.h>

#include "proto/flow/window.h"

enum {
  RING = 1 << 13, /* ticks */
  MESSAGES = 1 << 17,
  SEGMENT = 1448,
  FIRST_FLIGHT = 10 * SEGMENT,
};

#define SECOND UINT64_C(1000000)
#define FOREVER UINT64_MAX
#define MBIT UINT64_C(125000)
#define FAST (80000 * MBIT)

struct links_path {
  uint64_t rate;   /* bytes per second */
  uint64_t rtt;    /* microseconds, without queues */
  uint64_t queue;  /* bytes, at the bottleneck */
  uint64_t reader; /* bytes per second that the receiving socket takes */
  unsigned loss;   /* of 10,000 segments; what follows waits a round trip */
};

struct links {
  struct links_path path;
  struct window window;
  struct acks acks;
  uint64_t now, tick;   /* microseconds */
  uint64_t limit;       /* what the receiver is ready to queue */
  uint64_t budget;      /* what the window may have beyond what it starts with */
  uint64_t offered;     /* bytes that the sending socket still has */
  uint64_t message_max; /* of what one read of it gives */
  uint64_t local;       /* how much the transport takes beyond what is in flight */
  bool unlimited;       /* no window: to compare */
  uint64_t start;       /* offset of the first byte */
  uint32_t random;

  uint64_t waiting, in_flight, flight_max, in_queue; /* the transport's */
  uint64_t credit, read_credit;                      /* of the bottleneck and the reader, in millionths of a byte */
  uint64_t arriving[RING], confirmed[RING];          /* by tick */
  uint64_t arriving_last;
  uint64_t stalled_until, behind_stall;

  uint64_t ends[MESSAGES];    /* offset of the end of each that is not taken */
  uint64_t first, last, next; /* to be taken, to be sent; next to arrive */
  uint64_t arrived_bytes, arrived, taken;

  struct {
    struct ack ack;
    uint64_t at;
  } said[RING];
  uint64_t said_first, said_last;

  uint64_t size_max, cost_max, queued_max, acks_said, messages_sent;
};

enum { LINKS_PATHS = 3 };
extern const struct links_path links_paths[LINKS_PATHS];

/* Sequences begin at `start`. Freed by the caller, with free(). */
struct links *links_create_at(struct links_path path, uint64_t limit, uint64_t start);
struct links *links_create(struct links_path path);
/* Runs for so many microseconds. Returns the bytes that the receiver's socket took. */
uint64_t links_run(struct links *w, uint64_t us);
uint32_t links_draw(struct links *w);
uint64_t links_under_way(const struct window *w);
uint64_t links_bdp(const struct links_path *p);

#endif
