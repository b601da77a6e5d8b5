/* How many services and forwards a connection came through, so that a loop of them ends. On the loop's thread.
 *
 * A service may have a target that is a forward's listener, whose connections go to a service, and so on. No header
 * can be sent to a target; but of the socket that is dialled and of the one that the listener accepts both know the
 * two addresses. Their hash is what a connection is recognised by.
 */
#ifndef DAEMON_HOPS_H
#define DAEMON_HOPS_H

#include <stdint.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum { HOPS_MAX = 8 }; /* more are refused */

/* Of one connection. */
struct hops {
  unsigned count;  /* it came through so many before */
  uint64_t socket; /* its local connection; 0: unknown */
  UT_hash_handle hh;
};

/* Of a socket that was accepted; 0 if it cannot be told. */
uint64_t hops_accepted(int fd);
/* Remembers that `fd` was dialled for this connection. */
void hops_dialled(struct hops **table, struct hops *h, int fd);
/* Also for one that was not remembered. */
void hops_forget(struct hops **table, struct hops *h);
/* The one that is remembered by this, or NULL. */
struct hops *hops_find(struct hops *table, uint64_t socket);
/* What a connection that came by `socket` came through: none, unless it was dialled here. */
unsigned hops_through(struct hops *table, uint64_t socket);

#endif
