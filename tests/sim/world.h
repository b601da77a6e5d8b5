/* A simulated world: a clock, a queue of what is to happen, dice, and memory that lasts as long as the world. All that
 * happens in it follows from its seed.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS UINT64_C(1000)
#define SECOND (1000 * MS)
#define NEVER UINT64_MAX

struct world;
struct router;
struct process;
struct pair;

typedef void (*world_event)(struct world *w, void *subject, uint64_t arg);

enum original { ORIGINAL_NOBODY, ORIGINAL_ROUTER, ORIGINAL_SERVICE };

/* What a seed draws. Chances are per mille. */
struct plan {
  unsigned pairs;
  uint64_t dial_ms, hold_ms, target_ms;
  uint64_t delay_us;       /* of a message on its way to the router, or from there: usually, at most */
  unsigned slow;           /* a stream that is much slower */
  unsigned busy;           /* a send that takes time */
  unsigned late_loop;      /* an event that takes time to its owner */
  unsigned garbled;        /* an answer that is not what it must be */
  unsigned mute;           /* an attachment of which nothing is ever heard */
  unsigned no_memory;      /* a stream cannot be opened, a target not dialled, a socket not watched */
  unsigned attach_fails;   /* a stream cannot become current */
  unsigned no_room;        /* a stream that has not begun finds no room on its connection */
  uint64_t stream_age_ms;  /* after which the router may cut a stream; 0: none */
  unsigned raw;            /* a stream is a TCP connection of its own */
  unsigned unimplemented;  /* of which the service has parked none */
  unsigned replays;        /* a preamble is said once more by somebody on the way */
  uint64_t pipe_bytes;     /* that the router may have */
  uint64_t tcp_room;       /* bytes that a connection takes without being read */
  unsigned twice;          /* the router hands a header on to two streams */
  enum original original;  /* who speaks the first version */
  unsigned no_token;       /* the router gives none */
  bool stateless;          /* who starts again does not say who it was */
  unsigned target_refuses; /* the dialled one */
  uint64_t drain_us;       /* how long a router goes on that drains, at most */
  uint64_t chaos_us;       /* how long there are faults */
  uint64_t chaos_step_us;  /* between two, at most */
  unsigned faults[16];     /* weights, by enum fault */
  bool gentle;             /* the only faults are planned ones: nobody may be detached */
  uint64_t budget;         /* that each daemon has for its queues */
  bool heavy;              /* all connections carry much */
  uint64_t attacks;        /* how many a stranger makes */
};

struct world {
  uint64_t seed, now; /* microseconds */
  uint64_t dice[2];
  struct plan plan;
  bool trace;
  bool quiet; /* no more faults */
  uint64_t quiet_at;

  struct router *router;
  struct process *forward, *service, *stranger;
  struct process *processes; /* all there were */
  struct pair *pairs;        /* plan.pairs of them */

  struct event *heap;
  size_t events, room;
  uint64_t order, ran, attacked;
  struct outcomes {
    uint64_t refused, reset, ended, own, replayed;
  } outcomes; /* of attacks */
  uint64_t registrations;
  uint32_t members; /* that there were */
  int64_t blocks;   /* of memory that the real sources have */
  struct side *stepped;
  struct tcp_end **tcps;
  size_t tcp_count, tcp_room;
  struct pipe_here **pipes;
  size_t pipe_count, pipe_room;
  size_t descriptors_open;      /* the router's: connections and pipes */
  struct application **sockets; /* by descriptor */
  size_t socket_count, socket_room;
  struct chunk *chunks, *spare;
};

/* A world can be used for one seed after the other: what it needs of memory stays. */
void world_start(struct world *w, uint64_t seed);
void world_clear(struct world *w); /* the memory goes too */
/* Zeroed; nobody frees it. */
void *world_alloc(struct world *w, size_t size);

void world_at(struct world *w, uint64_t at, world_event run, void *subject, uint64_t arg);
void world_after(struct world *w, uint64_t us, world_event run, void *subject, uint64_t arg);
/* Runs the next event. False: there is none. */
bool world_next(struct world *w);
uint64_t world_ms(const struct world *w);

uint64_t roll(struct world *w, uint64_t sides); /* 0 to sides - 1; 0 of 0 */
uint64_t between(struct world *w, uint64_t low, uint64_t high);
bool chance(struct world *w, unsigned per_mille);

/* An invariant does not hold: says so, how to see it, and ends the program. */
_Noreturn void broken(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define TRACE(w, ...)                                                                                                  \
  do {                                                                                                                 \
    if ((w)->trace)                                                                                                    \
      world_trace((w), __VA_ARGS__);                                                                                   \
  } while (0)

#endif
