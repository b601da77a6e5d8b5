/* The listeners of one forward, and those on trial that may become its listeners. Private to forwards.c. On the loop's
 * thread; nothing calls back inside listener_set_try.
 *
 * One that is replaced is *stale* until it is known that no line follows which wants it. One that holds the port of a
 * trial which replaces it *yields*, and returns when the trial comes to nothing. One that is taken over from a former
 * process counts from the beginning; it is *absent* until it could be opened.
 */
#ifndef DAEMON_LISTENER_SET_H
#define DAEMON_LISTENER_SET_H

#include <stdbool.h>
#include <stddef.h>

struct address;
struct forward;
struct forward_write;
struct listener_item;
struct lookups;

struct listener_set_events {
  /* The trial's listener is open (0), or cannot be opened: listener_set_keep or listener_set_give_up is wanted. */
  void (*tried)(struct forward_write *w, int error, const char *why);
  /* One that was kept does not listen any more: 0, or a negative errno when it was not meant to. */
  void (*silent)(struct forward *f, const struct address *address, int error);
  /* One that was absent listens (0), or cannot: `first` if it is for the first time. */
  void (*restored)(struct forward *f, const struct address *address, int error, const char *why, bool first);
  void (*accepted)(struct forward *f, int fd, const char *peer);
  void (*starved)(struct forward *f, int error);
};

struct listener_set {
  struct lookups *lookups;
  struct forward *forward;
  const struct listener_set_events *events;
  struct listener_item *items;
  bool continued; /* the next line belongs to the one before */
};

/* One that would serve as a listener on `address`, or NULL. */
struct listener_item *listener_set_find(const struct listener_set *set, const struct address *address);
/* Those that count when one more is wanted: neither stale nor on trial. */
size_t listener_set_count(const struct listener_set *set);
/* The true address of the one at `index`, counted in the same way; NULL when there are not so many. */
const struct address *listener_set_address(const struct listener_set *set, size_t index);

/* `replace`: all that are kept may have to yield; else only the stale ones. */
int listener_set_try(struct listener_set *set, const struct address *address, bool replace, struct forward_write *w,
                     struct listener_item **out);
/* It is one of the set from now on, whether it can be opened or not: `restored` tells, after each attempt. 0, also when
 * there is such a one already; -ENOMEM. */
int listener_set_restore(struct listener_set *set, const struct address *address);
/* Tries those that are absent again. */
void listener_set_retry(struct listener_set *set);
/* Whether one is being opened for the first time; whether there is one that is absent. */
bool listener_set_restoring(const struct listener_set *set);
bool listener_set_lacks(const struct listener_set *set);
/* It came to nothing: what yielded to it returns. */
void listener_set_give_up(struct listener_item *item);
/* It is one of the set from now on. Its true address, valid until it is silent. */
const struct address *listener_set_keep(struct listener_item *item);
/* `kept` is wanted; with `replace` the others are not, and go when the set is settled. */
void listener_set_apply(struct listener_set *set, struct listener_item *kept, bool replace);
void listener_set_settle(struct listener_set *set);
/* Closes all; `silent` for those that were not stale. */
void listener_set_clear(struct listener_set *set);

#endif
