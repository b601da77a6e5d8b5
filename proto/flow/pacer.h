/* The sockets of a thread that send much, paced (pacing.h): looked at every 50 ms, all of a peer together, as long as
 * they do. Idle ones cost nothing, nor do those of this machine.
 *
 * All of it belongs to the poller's thread, but for paced_due. */
#ifndef PROTO_PACER_H
#define PROTO_PACER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct pacer;
struct pacer_socket;
struct poller;

enum { PACED_DUE = 256 << 10 }; /* who has sent so much is looked at */

/* Embedded in what has a socket. All zero is right for a new one. */
struct paced {
  struct pacer_socket *socket; /* the pacer's; NULL: it is not looked at */
  atomic_uint sent;            /* bytes, until it is */
};

int pacer_open(struct pacer **out, struct poller *p); /* 0, or a negative errno */
/* No socket is looked at any more. What was set stays. */
void pacer_close(struct pacer *p);

/* The socket took so many bytes. Any thread, one at a time. True, and seldom: pacer_look is due. */
static inline bool paced_due(struct paced *s, size_t bytes)
{
  unsigned sent = atomic_load_explicit(&s->sent, memory_order_relaxed);
  if (sent >= PACED_DUE)
    return false;
  sent = bytes < PACED_DUE - sent ? sent + (unsigned)bytes : PACED_DUE;
  atomic_store_explicit(&s->sent, sent, memory_order_relaxed);
  return sent == PACED_DUE;
}

/* From now on it is looked at, until it sends little. What cannot be done, for want of memory, is left. */
void pacer_look(struct pacer *p, struct paced *s, int fd);
/* Before its socket is closed. No harm if it is not looked at. */
void pacer_forget(struct paced *s);

#endif
