/* The streams that wait at the router, each for one connection to any service of this daemon: who dials finds one
 * there, and reaches us without a message in between. On the loop's thread.
 */
#ifndef DAEMON_PARKED_H
#define DAEMON_PARKED_H

#include <stdbool.h>

struct carry_host;
struct header;
struct parked;
struct pump_stream;
struct uv_loop_s;

enum { PARKED_COUNT = 16 };

/* Somebody dialled, or goes on with a connection, as `h` tells, which lives as long as this callback. The stream
 * becomes the callee's, which hands it over or closes it. */
typedef void (*parked_taken_cb)(struct pump_stream *s, const struct header *h, void *arg);

/* Waits for nothing yet. */
int parked_open(struct parked **out, struct uv_loop_s *loop, const struct carry_host *host, parked_taken_cb taken,
                void *arg);
void parked_close(struct parked *p, void (*closed)(void *arg), void *arg);

/* Whether there is a service to be dialled, or a connection to go on with; also to be told when the way has changed.
 * While there is one, and a router that is no original, PARKED_COUNT streams wait; otherwise none. */
void parked_update(struct parked *p, bool wanted);
/* The way is another one: others wait there, in place of these. */
void parked_renew(struct parked *p);

#endif
