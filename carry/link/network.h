/* Tells when this machine's way to the router may have changed: by an address, a route or an interface, or because the
 * machine slept. On the loop's thread; nothing here waits.
 */
#ifndef CARRY_NETWORK_H
#define CARRY_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

struct network;
struct uv_loop_s;

/* `changed` never comes inside a function here. `sure`: the way has changed, or the machine slept; otherwise it may
 * have changed. A negative errno where the kernel does not tell. */
int network_open(struct network **out, struct uv_loop_s *loop, void (*changed)(bool sure, void *arg), void *arg);
void network_close(struct network *n, void (*closed)(void *arg), void *arg);

/* Watches the way to this peer, as gRPC writes it ("ipv4:192.0.2.1:443"): a change that does not touch this way is not
 * told. Before the first call every change that can give a machine a way is told; it is sure if it is the way to most
 * of the internet. A peer without an IP address changes nothing. */
void network_watch(struct network *n, const char *peer);

/* Pure. Whether between the last look and this one the machine slept. Both clocks in ms; *offset is kept from look to
 * look, and is 0 before the first. */
bool network_slept(uint64_t *offset, uint64_t boottime_ms, uint64_t monotonic_ms);

#endif
