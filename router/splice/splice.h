/* Pairs of TCP connections, each of which gets all that the other one says, unread: small messages by a copy, what
 * is much through pipes, as long as there are any to be had.
 *
 * A half-close is passed on behind the bytes before it. Once both are passed on, both descriptors are closed and the
 * kernel delivers what is left. Any error resets both. A side that does not read holds back the other one.
 *
 * All of it belongs to the poller's thread. */
#ifndef ROUTER_SPLICE_H
#define ROUTER_SPLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/host/poller.h"

struct splices; /* all pairs of a poller */
struct splice;  /* one pair */

struct splice_limits {
  size_t piece;      /* what comes in smaller ones is copied; at most 128 KiB, of which each way may keep one */
  size_t pipe_bytes; /* all pipes together, by their sizes */
  size_t pipes_idle; /* kept for the next pair with data */
};

/* One of the two. */
struct splice_side {
  int fd;                       /* TCP, non-blocking, TCP_NODELAY */
  struct poller_watch *watched; /* what the poller watches it by, which ends; NULL: it is not watched */
  const void *first;            /* bytes to be written here before those of the other side; copied if need be */
  size_t first_size;
  bool resets; /* it is set already that its end is a reset (SO_LINGER) */
};

struct splice_stats {
  size_t pairs;
  size_t pipes, pipe_bytes;        /* that exist now */
  uint64_t spliced, copied, begun; /* bytes, bytes, pairs: since the start */
};

int splices_open(struct splices **out, struct poller *p, const struct splice_limits *limits); /* 0 or -errno */
void splices_close(struct splices *ss); /* resets the pairs that are left, without `over` */

/* Takes both descriptors. `over` is called once, after both are closed; the pair is gone then. `orderly`: both sides
 * half-closed, and all was passed on. Never inside splice_start. 0, or a negative errno: the descriptors are still the
 * caller's, to be taken out of the poller and closed, which resets them. */
int splice_start(struct splices *ss, struct splice **out, const struct splice_side sides[2],
                 void (*over)(void *arg, bool orderly), void *arg);
void splice_cut(struct splice *s); /* resets both, and calls `over`, before it returns */

void splices_stats(const struct splices *ss, struct splice_stats *out);

#endif
