/* The streams that wait at the router, each for one connection to any service of this daemon: a dial finds one there,
 * and reaches us without a message in between. On the loop's thread.
 */
#ifndef CARRY_PARKED_H
#define CARRY_PARKED_H

#include <stdbool.h>

struct carry_host;
struct header;
struct parked;
struct pump_stream;
struct uv_loop_s;

enum { PARKED_COUNT = 16 };

/* A dial, or an attachment to a connection, came on the stream, with the header `h`, which lives as long as this
 * callback. The stream becomes the callee's, which hands it over or closes it. */
typedef void (*parked_taken_cb)(struct pump_stream *s, const struct header *h, void *arg);

/* Waits for nothing yet. */
int parked_open(struct parked **out, struct uv_loop_s *loop, const struct carry_host *host, parked_taken_cb taken,
                void *arg);
void parked_close(struct parked *p, void (*closed)(void *arg), void *arg);

/* `wanted`: there is a service that can be dialled, or a connection that can go on. To be called when that or the way
 * changes. While `wanted` is true and the router speaks the second version, PARKED_COUNT streams wait; otherwise none.
 */
void parked_update(struct parked *p, bool wanted);
/* The way has changed: new streams take the place of these. */
void parked_renew(struct parked *p);

#endif
