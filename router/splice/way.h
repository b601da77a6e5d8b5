/* One direction of a pair: from one socket to the other, through a pipe if much comes. Private to router/splice. */
#ifndef ROUTER_WAY_H
#define ROUTER_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow/pacer.h"
#include "proto/host/poller.h"

struct kept;
struct pipes;
struct pooled_pipe;

enum { WAY_COPY_SIZE = 128 << 10 };

/* A socket, and the way that begins there. */
struct end {
  struct poller_watch watch;
  int fd;
  bool is_second;
  bool readable, writable; /* as far as is known */
  bool hung;               /* its end has come in: it may be behind what is read, where no edge tells of it */
  bool drained;            /* its end is next */
  bool ended, passed;      /* its end was read; and passed on */
  bool much;               /* so much comes from it that a pipe is better than a copy */
  uint8_t few;             /* so often in a row was it little, nevertheless */
  struct pooled_pipe *pipe;
  struct kept *kept; /* to be written here before anything else */
  struct paced paced;
};

/* What the ways of a thread share. */
struct ways {
  struct pipes *pipes;
  struct pacer *pacer;
  size_t piece;             /* so much may be copied before a pipe is worth it */
  uint64_t spliced, copied; /* bytes */
  uint8_t buffer[WAY_COPY_SIZE];
};

enum way_went { WAY_WENT, WAY_WAITS, WAY_BROKE };

/* Passes on what there is, but not more than a turn's share. WAY_WENT: there may be more. */
enum way_went way_go(struct ways *ws, struct end *from, struct end *to);
/* Writes these bytes to `to`, and behind them, in the same message if they are few, what has come from `from`. What the
 * socket does not take is kept. False: one of both sockets is broken, or memory is short. */
bool way_begin(struct ways *ws, struct end *from, struct end *to, const void *first, size_t size);
/* Gives back what its end of a pair holds, but for the descriptor. */
void way_forget(struct end *e);

#endif
