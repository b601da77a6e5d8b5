/* One connection to a service, dialled by this process for itself: what is read from one descriptor goes to the
 * service, and what the service says is written to another. They may be of any kind. On the loop's thread.
 */
#ifndef CARRY_CALL_H
#define CARRY_CALL_H

struct call;
struct settings;
struct uv_loop_s;

enum { CALL_WHY_MAX = 600 };

/* `over` comes once, unless it is closed before: with NULL when both sides have ended in order and all is written, else
 * with a sentence. 0, or a negative errno with a sentence in `why`; the loop must run either way. */
int call_open(struct call **out, struct uv_loop_s *loop, const struct settings *settings, const char *service, int from,
              int to, void (*over)(const char *why, void *arg), void *arg, char why[CALL_WHY_MAX]);
/* Runs the loop as home_run does. What is left when it returns is uv_run's; the call may be gone by then. */
void call_run(struct call *c);
/* Resets the connection if it is not over. A write that is stuck is left behind. */
void call_close(struct call *c, void (*closed)(void *arg), void *arg);

#endif
