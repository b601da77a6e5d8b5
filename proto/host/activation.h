/* Sockets that the service manager has opened for this process, by the protocol of sd_listen_fds(3). */
#ifndef PROTO_ACTIVATION_H
#define PROTO_ACTIVATION_H

#include <stdbool.h>

/* Those that are called `name`, or all the others; at most `max`. Returns how many. They are close-on-exec afterwards,
 * and the caller's. */
unsigned activation_take(const char *name, bool others, int *fds, unsigned max);

#endif
