/* The forwards: for each name a set of listeners, whose connections go to the service of that name. On the loop's
 * thread; nothing here waits.
 */
#ifndef DAEMON_FORWARDS_H
#define DAEMON_FORWARDS_H

#include <stdbool.h>
#include <stddef.h>

struct address;
struct forward;
struct forward_write;
struct forwards;
struct link;
struct lookups;

enum { FORWARDS_MAX = 1024, FORWARD_LISTENERS_MAX = 64, FORWARD_VERDICT_MS = 5000, FORWARD_RETRY_MS = 2000 };

struct forwards_events {
  /* Is there such a service, as far as is known? If not, the router is asked. */
  bool (*known)(const char *name, void *arg);
  void (*listening)(struct forward *f, const struct address *address, void *arg);
  /* `error`: 0, or a negative errno when it was not meant to. */
  void (*silent)(struct forward *f, const struct address *address, int error, void *arg);
  /* A listener that was restored cannot be opened, for the first time: a negative errno, and a sentence. It is tried
   * again until it can, and counts as a listener meanwhile. */
  void (*absent)(struct forward *f, const struct address *address, int error, const char *why, void *arg);
  /* `fd` is the callee's; `peer` lives as long as the callback. */
  void (*accepted)(struct forward *f, int fd, const char *peer, void *arg);
  /* See listener_events. */
  void (*starved)(struct forward *f, int error, void *arg);
  /* Freed when this returns. */
  void (*gone)(struct forward *f, void *arg);
};

int forwards_open(struct forwards **out, struct lookups *lookups, struct link *link,
                  const struct forwards_events *events, void *arg);
/* Removes all. Writes that wait are told -ECANCELED. */
void forwards_close(struct forwards *fs, void (*closed)(void *arg), void *arg);

/* A forward without a listener. -EINVAL, -ENAMETOOLONG, -EEXIST, -ENOSPC, -ENOMEM; *why is a static phrase then. */
int forwards_create(struct forwards *fs, const char *name, struct forward **out, const char **why);
struct forward *forwards_find(const struct forwards *fs, const char *name);
size_t forwards_count(const struct forwards *fs);
/* The one after `f`, or the first: in the order in which they were created. */
struct forward *forwards_next(const struct forwards *fs, const struct forward *f);
/* Stops listening; live connections go on. Writes that wait are told -ENOENT. */
void forward_remove(struct forward *f);

const char *forward_name(const struct forward *f);
/* The listeners, with their true ports: NULL for index too large. */
const struct address *forward_listener(const struct forward *f, size_t index);

/* `error` is 0 or a negative errno, `why` a phrase that lives as long as the callback. */
typedef void (*forward_verdict_cb)(int error, const char *why, void *arg);

/* Listens on one address more, or, with `replace`, on this one only; a listener that is there already goes on. What is
 * to be replaced is not told of any more, and goes on until forward_settle: a later line may want it. A write that is
 * refused changes nothing.
 * 1: `verdict` comes, not inside this call, within FORWARD_VERDICT_MS. 0: done. -ENOSPC, -ENOMEM, with *why. */
int forward_write(struct forward *f, const struct address *address, bool replace, forward_verdict_cb verdict, void *arg,
                  struct forward_write **out, const char **why);
/* Is there a service of that name, for a listener that is not complete yet? `there` is what it would be now, or NULL:
 * where a listener is, nothing is asked. 1: the router was asked, as by forward_write. 0: yes, or nobody knows.
 * -ENOMEM. */
int forward_ask(struct forward *f, const struct address *there, forward_verdict_cb verdict, void *arg,
                struct forward_write **out);
/* Listens on one address more, as a former process did; whether there is such a service is not asked. 0 or -ENOMEM;
 * `listening` or `absent` follows, not inside this call. */
int forward_restore(struct forward *f, const struct address *address);
/* Whether neither has followed yet, for any. */
bool forwards_restoring(const struct forwards *fs);
/* Makes the verdict come with `error`, not inside this call; nothing is changed then. */
void forward_write_cancel(struct forward_write *w, int error);
/* No line follows: what was replaced goes. */
void forward_settle(struct forward *f);

#endif
