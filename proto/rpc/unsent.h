/* How much of a gRPC connection may wait in our kernel. What gRPC has handed over cannot be overtaken: behind a
 * megabyte that is not sent yet, a keystroke waits until it is. TCP_NOTSENT_LOWAT bounds it to what the path takes in a
 * few milliseconds. TCP itself measures the path, best of all by BBR: which algorithm it uses is chosen here, too
 * (congestion.h).
 */
#ifndef PROTO_UNSENT_H
#define PROTO_UNSENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peer_name.h"
#include "proto/flow/pacing.h"

enum {
  UNSENT_MIN = 16 << 10,
  UNSENT_START =
      32 << 10, /* as long as the path is not known: over a thin one that is seconds, and a fast one is soon known */
  UNSENT_MAX = 1 << 20,
  UNSENT_MESSAGE = 4 << 10, /* less than that in a message builds no queue worth looking at */
  UNSENT_EVERY_US = 20000,
};

/* One connection. All zero is right for a new one, and nothing needs to be freed. */
struct unsent {
  /* 0, or the TCP_USER_TIMEOUT of this connection's socket, which no other has. It is what gRPC sets as it is told
   * before it connects, and so what we can know a socket by. */
  unsigned mark;
  _Atomic uint64_t next; /* when to look again */
  atomic_bool busy;
  /* Whoever set `busy` may touch these. */
  struct peer_name peer; /* of `fd` */
  int fd;
  uint32_t bound; /* that was set; 0: none yet */
  struct pacing_cap cap;
  uint64_t pace; /* that was set: bytes per second; 0: any */
};

/* The bound after a look at the connection: `now` if it may stay. `rate` is in bytes per second, 0 if it is not known;
 * `limited` says that more would have passed, had there been more. */
uint32_t unsent_bound(uint32_t now, uint64_t rate, bool limited);

/* It is time for unsent_follow. Any thread; costs next to nothing. */
bool unsent_due(const struct unsent *u, uint64_t now_us);
/* Looks at this process's connection with `peer`, and sets its bound anew if the path has changed much. Any thread;
 * what cannot be done, because there is no such connection or no such option, is tried again later. */
void unsent_follow(struct unsent *u, const char *peer, uint64_t now_us);

/* The socket with this mark, or -1. Looks at `guess` first, which may be anything, and then at all that are open. */
int unsent_socket(unsigned mark, int guess);

#endif
