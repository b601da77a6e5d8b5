/* The way to the router, as tunnels see it. It comes and goes; the tunnels open streams on it and ask the router
 * through it, and do not know whose it is. On the loop's thread; nothing calls back inside a function here.
 */
#ifndef CARRY_HOST_H
#define CARRY_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/status.h"

struct carry_question;
struct header;
struct pump_stream;
struct pump_stream_events;

/* The present state of the way. */
struct carry_way {
  bool up;
  bool original;          /* the router speaks the first version; known once it is up */
  bool refused;           /* the router is there, and does not let us in */
  uint64_t stream_age_ms; /* 0: streams may grow as old as they like */
  const char *trouble;    /* why it is not up, or ""; lives as long as nothing happens */
};

/* `token` is NULL unless the status is RPC_OK, and then, too, if the answer is malformed. Like `text`, it lives as long
 * as the callback. */
typedef void (*carry_token_cb)(enum rpc_status status, const char *text, const char *token, void *arg);
/* For each pair in the order of the question, how many hops lie before it; with `count` 0 there is no answer. */
typedef void (*carry_trace_cb)(const uint32_t *hops, size_t count, void *arg);

/* Each function is given the host itself. Starts return 0 or a negative errno. */
struct carry_host {
  const uint8_t *member; /* this process: HEADER_MEMBER_SIZE bytes */
  struct carry_way (*way)(const struct carry_host *host);
  /* The way is slow, or slow to come: an answer may take long. */
  bool (*is_slow)(const struct carry_host *host);

  /* Opens a stream that begins with this header; the host fills in the member and its key. An `original` router gets
   * only the token. Otherwise as pump_stream_open. */
  int (*open_stream)(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                     bool original, const struct pump_stream_events *events, void *arg);

  /* Questions. `done` comes once, also after `cancel`, which may be called until then. */

  /* Asks a router of the first version for a token to dial this service with. */
  int (*ask_token)(const struct carry_host *host, struct carry_question **out, const char *service, carry_token_cb done,
                   void *arg);
  /* Tells the router that dialled[i] was dialled for the connection that came by origins[i] (both of hops.h). */
  int (*trace)(const struct carry_host *host, struct carry_question **out, const uint64_t *origins,
               const uint64_t *dialled, size_t count, carry_trace_cb done, void *arg);
  void (*cancel)(struct carry_question *question);
};

#endif
