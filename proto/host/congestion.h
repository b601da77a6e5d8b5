/* Which congestion control a TCP socket of ours uses, and how fast it may send. The machine's default is one for all
 * ways, and mostly meant for long ones: BBR spends more on its timers on one machine than all copying costs, and what
 * takes each loss for a full line leaves a long one empty. So near peers get Reno, and the others BBR. BBR leaves its
 * pacing behind on a socket (Linux, net/ipv4/tcp_bbr.c: sk_pacing_status), whose timers then go on whatever comes after
 * it: so a socket is a near one's until it is known to be none, from before its first segment.
 */
#ifndef PROTO_CONGESTION_H
#define PROTO_CONGESTION_H

#include <stdint.h>
#include <sys/socket.h>

enum { CONGESTION_NEAR_US = 2000 }; /* a shorter round trip is a near peer's */

/* Of a socket before connect(2) or listen(2); what is accepted from it inherits this. Any thread; one system call. */
void congestion_begin(int fd);
/* Of such a socket when it is connected: once, at any time. `peer` as connect(2) or accept(2) have it. Any thread; at
 * most two system calls, none for a peer on this machine. Nothing is told: where the kernel does not have BBR, or does
 * not let us choose it, the machine's own algorithm takes its place. */
void congestion_choose(int fd, const struct sockaddr *peer);
/* Of a connected socket that somebody else has made, or of which it is known that its peer is on another machine. */
void congestion_choose_late(int fd);

/* Bytes per second that the kernel sends at most; 0: any. Any thread; one system call. */
void congestion_pace(int fd, uint64_t rate);

/* By the least round trip in microseconds. */
const char *congestion_wanted(uint32_t rtt_us);

#endif
