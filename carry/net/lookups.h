/* What may keep who connects or listens waiting: host names, and the paths of unix sockets, which may lead onto a file
 * system that does not answer, or onto the tree that the loop itself serves. Each of them has threads of its own
 * (workers.h). On the loop's thread. */
#ifndef DAEMON_LOOKUPS_H
#define DAEMON_LOOKUPS_H

struct names;
struct uv_loop_s;
struct workers;

struct lookups {
  struct uv_loop_s *loop;
  struct names *names;
  struct workers *targets;   /* paths that are connected to */
  struct workers *listeners; /* paths that are listened on */
};

int lookups_open(struct lookups **out, struct uv_loop_s *loop);
/* Nobody must use it any more. Waits for what has begun, but not for look-ups and connects that were forgotten. */
void lookups_close(struct lookups *l, void (*closed)(void *arg), void *arg);

#endif
