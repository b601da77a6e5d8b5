/* Look-ups that may block a dial or a listener: of host names, and of the paths of unix sockets, which may lead onto a
 * file system that does not answer, or onto the tree that the loop itself serves. Each kind has threads of its own
 * (workers.h). On the loop's thread. */
#ifndef CARRY_LOOKUPS_H
#define CARRY_LOOKUPS_H

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
/* It must not be in use any more. Waits for work that has begun, but not for forgotten look-ups and connects. */
void lookups_close(struct lookups *l, void (*closed)(void *arg), void *arg);

#endif
