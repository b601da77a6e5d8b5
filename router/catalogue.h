/* The register as messages. Pure; any thread. */
#ifndef ROUTER_CATALOGUE_H
#define ROUTER_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct registry;
struct registry_cursor;
struct rpc_message;

enum { CATALOGUE_PAGE = 500 };

/* All of it, as ListServices answers. NULL when memory is short. */
struct rpc_message *catalogue_list(const struct registry *r);

/* What a watcher is told beside the names. */
struct catalogue_notes {
  bool draining, superseded;
  uint32_t heartbeat_ms;
  uint64_t stream_age_ms;
  const uint8_t *challenge; /* NULL: none */
  const uint8_t *const *lost;
  size_t lost_count; /* up to CATALOGUE_PAGE */
};

/* What a watcher has not seen, up to CATALOGUE_PAGE names; moves its cursor. *complete: that was all. NULL when memory
 * is short. */
struct rpc_message *catalogue_news(const struct registry *r, struct registry_cursor *c,
                                   const struct catalogue_notes *notes, bool *complete);

#endif
