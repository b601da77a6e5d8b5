/* The register as messages. Pure; one thread. */
#ifndef ROUTER_CATALOGUE_H
#define ROUTER_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router/door/limits.h"

struct pass;
struct registry;
struct registry_cursor;
struct rpc_message;

enum { CATALOGUE_PAGE = ROUTER_PAGE_MAX };

/* The latest answer to ListServices. Making it takes a while when there are many services, so all callers share it
 * until the register changes. Zeroed before first use. */
struct catalogue_kept {
  struct rpc_message *list;
  uint64_t change; /* the register's, when it was made */
};

/* All of it, as ListServices answers. NULL when memory is short. */
struct rpc_message *catalogue_list(struct catalogue_kept *kept, const struct registry *r);
void catalogue_forget(struct catalogue_kept *kept);

/* News for a watcher beside the names. */
struct catalogue_notes {
  bool draining, superseded;
  bool gate; /* it is told the public names of services */
  uint32_t heartbeat_ms;
  uint64_t stream_age_ms;
  const uint8_t *challenge; /* NULL: none */
  const char *streams;      /* where raw streams are taken; NULL: that is not told */
  const struct pass *pass;  /* with it */
  const uint8_t *const *lost;
  size_t lost_count; /* up to CATALOGUE_PAGE */
};

/* The changes that a watcher has not seen, up to `max` names, which is CATALOGUE_PAGE or less; moves its cursor.
 * *complete: that was all. NULL when memory is short. */
struct rpc_message *catalogue_news(const struct registry *r, struct registry_cursor *c, size_t max,
                                   const struct catalogue_notes *notes, bool *complete);

#endif
