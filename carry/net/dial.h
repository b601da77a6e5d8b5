/* Connects a socket to an address: resolves without blocking, and lets the addresses race (race.h). On the loop's
 * thread. */
#ifndef CARRY_DIAL_H
#define CARRY_DIAL_H

#include <stdint.h>

struct address;
struct dial;
struct endpoint;
struct lookups;

/* `fd` >= 0: connected, non-blocking, close-on-exec, the callee's. Else a negative errno (a name that does not resolve:
 * -EADDRNOTAVAIL; none answered in time: -ETIMEDOUT; cancelled: -ECANCELED), with a sentence in `why` that lives as
 * long as the callback. The dial is freed when it returns. */
typedef void (*dial_cb)(int fd, const char *why, void *arg);

int dial_start(struct dial **out, struct lookups *lookups, const struct address *to, uint64_t timeout_ms, dial_cb done,
               void *arg);

/* For a caller that connects by itself: the address of a name that answered first, or the only one, which is not tried.
 * `error` is as above; `why` has the causes without the address, and `causes` is their number. `at` and `why` live as
 * long as the callback. */
typedef void (*dial_find_cb)(int error, const struct endpoint *at, const char *why, unsigned causes, void *arg);

int dial_find(struct dial **out, struct lookups *lookups, const struct address *to, uint64_t timeout_ms,
              dial_find_cb found, void *arg);

/* Makes the callback come with -ECANCELED, not from inside this call. */
void dial_cancel(struct dial *d);

#endif
