/* Which congestion control a TCP socket of ours uses, and how fast it may send. The machine's default is one for all
 * ways, and mostly meant for long ones: BBR spends more on its timers on one machine than all copying costs, and what
 * takes each loss for a full line leaves a long one empty. So near peers get Reno, and the others BBR.
 */
#ifndef PROTO_CONGESTION_H
#define PROTO_CONGESTION_H

#include <stdint.h>
#include <sys/socket.h>

enum { CONGESTION_NEAR_US = 2000 }; /* a shorter round trip is a near peer's */

/* Of a socket that is connected: once, at any time. `peer` as connect(2) or accept(2) have it, or NULL: a peer on this
 * machine is near then without being asked for. Any thread; at most two system calls. Nothing is told: where the kernel
 * does not have the algorithm, or does not let us choose it, the machine's own stays. */
void congestion_choose(int fd, const struct sockaddr *peer);

/* Bytes per second that the kernel sends at most; 0: any. Any thread; one system call. */
void congestion_pace(int fd, uint64_t rate);

/* By the least round trip in microseconds. */
const char *congestion_wanted(uint32_t rtt_us);

#endif
