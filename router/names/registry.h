/* The services, their times of creation, and the latest changes.
 *
 * Every name has one place in a list ordered by its latest change; names that are gone stay there for a while. So a
 * watcher is only a number, the last change that it has seen: all entries behind it in the list are news, each name at
 * most once however often it changed. A watcher that has seen nothing, or has fallen behind that memory, starts again
 * with a whole catalogue. Pure; one thread.
 */
#ifndef ROUTER_REGISTRY_H
#define ROUTER_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REGISTRY_NAME_MAX = 63 };

struct registry;

struct registry_time {
  int64_t seconds; /* since 1970 */
  int32_t nanos;
};

struct registry_entry {
  const char *name; /* the registry's, until it is next changed */
  struct registry_time created;
  bool gone;
  void *owner; /* NULL when it is gone */
};

struct registry_leave {
  uint64_t at;        /* ms */
  uint8_t member[16]; /* whose it was; zeros: nobody's who can be told from others */
};

/* Zeroed before first use. */
struct registry_cursor {
  bool started;
  uint64_t seen;  /* the latest change that was read */
  uint64_t whole; /* a catalogue that was begun is whole once `seen` reaches this */
};

/* A DNS label: a-z, 0-9 and inner hyphens, 1 to 63. */
bool registry_name_valid(const char *name);

/* Holds at most `max` services, and remembers `memory` names that are gone. NULL when memory is short. */
struct registry *registry_open(size_t max, size_t memory);
void registry_close(struct registry *r); /* NULL is fine */

/* The name must be valid; `owner` is what registry_find answers, not NULL. -EEXIST, -ENOSPC or -ENOMEM. */
int registry_add(struct registry *r, const char *name, struct registry_time created, void *owner);
void registry_remove(struct registry *r, const char *name, const struct registry_leave *how); /* ms */
/* The name stays, and is news again. */
void registry_touch(struct registry *r, const char *name);
void *registry_find(const struct registry *r, const char *name); /* the owner, or NULL */
/* How a remembered name went, or NULL. The registry's, until its next change. */
const struct registry_leave *registry_left(const struct registry *r, const char *name);
size_t registry_count(const struct registry *r);
/* How many changes there were so far. */
uint64_t registry_changes(const struct registry *r);

/* All services, sorted by name; writes registry_count entries. */
void registry_list(const struct registry *r, struct registry_entry *out);

/* Moves the cursor over up to `max` changes, and writes them. *restart: a catalogue starts with them, and what was read
 * before does not count. *complete: nothing newer is known. */
size_t registry_read(const struct registry *r, struct registry_cursor *c, struct registry_entry *out, size_t max,
                     bool *restart, bool *complete);

#endif
