/* Connections to our services that have no stream for now. They use our sockets and memory, and only the other side
 * lets go of them; so their number and bytes are bounded, for each other side and in all, and the oldest is given up
 * first. On the loop's thread.
 */
#ifndef CARRY_DETACHED_H
#define CARRY_DETACHED_H

#include <stddef.h>
#include <stdint.h>

struct detached_peer;
struct tunnel;

enum { DETACHED_MAX = 8192, DETACHED_PER_PEER_MAX = 2048 };
#define DETACHED_BYTES_MAX (UINT64_C(256) << 20)

/* In each tunnel. */
struct detached {
  struct tunnel *prev, *next;
  struct tunnel *peer_prev, *peer_next; /* of the same other side */
  struct detached_peer *peer;           /* NULL: memory was short, and it counts among all only */
  uint64_t bytes;                       /* it holds */
  _Bool listed;
};

struct detached_list {
  struct tunnel *oldest;
  struct detached_peer *peers; /* by member */
  size_t count;
  uint64_t bytes;
};

/* Puts it behind all others. */
void detached_add(struct detached_list *list, struct tunnel *t);
/* The one to give up next, now that this one was added, which may be this one; NULL when they are few enough. */
struct tunnel *detached_surplus(const struct detached_list *list, const struct tunnel *t);
/* It has a stream again, or is gone. Harmless for one that is not listed. */
void detached_remove(struct detached_list *list, struct tunnel *t);

#endif
