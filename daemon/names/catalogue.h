/* The names that the router is known to have, as services/ shows them: also shortly after they vanished. On the loop's
 * thread; nothing here waits. */
#ifndef DAEMON_CATALOGUE_H
#define DAEMON_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>

struct catalogue;
struct uv_loop_s;

enum catalogue_state { CATALOGUE_NONE, CATALOGUE_ONLINE, CATALOGUE_OFFLINE };

enum {
  CATALOGUE_KEEP_MS = 15000, /* how long a name stays as offline that a router does not know when it is met anew */
  CATALOGUE_HIDE_MS = 2000,  /* how long our own withdrawn name may linger at the router */
};

/* `changed` tells that catalogue_find has a new answer for a name; also from inside the functions here. */
int catalogue_open(struct catalogue **out, struct uv_loop_s *loop, void (*changed)(const char *name, void *arg),
                   void *arg);
void catalogue_close(struct catalogue *c, void (*closed)(void *arg), void *arg);

/* -EINVAL: not a name that can stand in the tree. -ENOMEM. */
int catalogue_up(struct catalogue *c, const char *name);
/* Gone at once. */
void catalogue_down(struct catalogue *c, const char *name);
/* The router is lost: everything is offline until it is told up, down, or missing. */
void catalogue_lost(struct catalogue *c);
/* The router that is there now does not have it: it is offline, and stays in the listing for a while, so that a router
 * which starts anew does not empty it. */
void catalogue_missing(struct catalogue *c, const char *name);
/* The name was ours, and is withdrawn: it is hidden until the router says so too, but not for ever. */
void catalogue_withdrawn(struct catalogue *c, const char *name);

enum catalogue_state catalogue_find(const struct catalogue *c, const char *name);
size_t catalogue_count(const struct catalogue *c);

#endif
