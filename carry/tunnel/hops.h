/* How many services and forwards a connection came through, so that a loop of them ends. On the loop's thread.
 *
 * The target of a service may be the listener of a forward, which leads to a service, and so on. A target cannot be
 * sent a header. But the mmfs that dials the target and the one that accepts the connection both know its two
 * addresses: a hash of these identifies the connection.
 */
#ifndef CARRY_HOPS_H
#define CARRY_HOPS_H

#include <stdint.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "proto/wire/end_address.h"

enum { HOPS_MAX = 8 }; /* more are refused */

/* Of one connection. */
struct hops {
  unsigned count;  /* it came through so many before */
  uint64_t socket; /* its local connection; 0: unknown */
  UT_hash_handle hh;
};

/* Of a socket that was accepted; 0 if it cannot be told. `ends`, or NULL: the addresses of both of its ends, as far as
 * they can be told. */
uint64_t hops_accepted(int fd, struct end_addresses *ends);
/* Remembers that `fd` was dialled for this connection. */
void hops_dialled(struct hops **table, struct hops *h, int fd);
/* Also for one that was not remembered. */
void hops_forget(struct hops **table, struct hops *h);
/* The one that is remembered by this, or NULL. */
struct hops *hops_find(struct hops *table, uint64_t socket);
/* What a connection that came by `socket` came through: none, unless it was dialled here. */
unsigned hops_through(struct hops *table, uint64_t socket);

#endif
