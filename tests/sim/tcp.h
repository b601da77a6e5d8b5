/* TCP connections between clients and a router, byte by byte, and pipes: each with a descriptor for the router's real
 * code. Bytes arrive in order, late, in pieces of any size; room is short.
 */
#ifndef SIM_TCP_H
#define SIM_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;

/* Bytes on their way out at the other side of something. */
struct bytes_queue {
  uint8_t *bytes;
  size_t head, count, room;
};

struct tcp_end {
  struct world *w;
  struct tcp_end *peer;
  int fd;
  struct bytes_queue in; /* arrived, not read yet */
  size_t flight;         /* on their way here */
  uint64_t delay, last;
  bool cut;                     /* nothing arrives any more, nor leaves */
  bool fin_in, reset_in;        /* arrived */
  bool fin_out, closed, resets; /* `resets`: its close is a reset */
  bool starved;                 /* a send found no room since the last news */
  unsigned news;                /* EPOLLIN and its kind, since they were told last */
  bool told_due;                /* they will be */
  void (*told)(struct tcp_end *e, unsigned news);
  void *user;
};

/* Two ends; `delay` microseconds at most for each piece. */
struct tcp_end *tcp_open(struct world *w, uint64_t delay);
/* How many bytes it took; TCP_AGAIN, TCP_BROKEN. */
enum { TCP_AGAIN = -1, TCP_BROKEN = -2 };
long tcp_send(struct tcp_end *e, const void *bytes, size_t size);
/* The same; 0: the end. `peek`: they stay. `out` NULL: thrown away. */
long tcp_receive(struct tcp_end *e, void *out, size_t size, bool peek);
void tcp_half_close(struct tcp_end *e);
void tcp_close(struct tcp_end *e);
/* From now on nothing passes, and nobody hears of it. */
void tcp_cut(struct tcp_end *e);
/* This end notices that. */
void tcp_break(struct tcp_end *e);
/* All that is true of it is told again. */
void tcp_tell(struct tcp_end *e);

/* By descriptor. */
struct tcp_end *tcp_of(const struct world *w, int fd);

#endif
