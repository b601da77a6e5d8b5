/* Connects a socket to an address: resolves without blocking, tries each result in turn. On the loop's thread. */
#ifndef DAEMON_DIAL_H
#define DAEMON_DIAL_H

#include <stdint.h>

struct address;
struct dial;
struct uv_loop_s;

/* `fd` >= 0: connected, non-blocking, close-on-exec, the callee's. Else a negative errno (a name that does not resolve:
 * -EADDRNOTAVAIL; none answered in time: -ETIMEDOUT; cancelled: -ECANCELED), with a sentence in `why` that lives as
 * long as the callback. The dial is freed when it returns. */
typedef void (*dial_cb)(int fd, const char *why, void *arg);

int dial_start(struct dial **out, struct uv_loop_s *loop, const struct address *to, uint64_t timeout_ms, dial_cb done,
               void *arg);
/* Makes `done` come with -ECANCELED, not from inside this call. */
void dial_cancel(struct dial *d);

#endif
