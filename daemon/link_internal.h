/* What the files of the link share: link.c has the states and the channel, link_watch.c the calls by which the
 * catalogue is learnt, link_ask.c the questions that others have. On the loop's thread.
 */
#ifndef DAEMON_LINK_INTERNAL_H
#define DAEMON_LINK_INTERNAL_H

#include <uv.h>

#include "known_names.h"
#include "link.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc.h"
#include "trouble.h"

enum link_state { LINK_WAITING, LINK_WATCHING, LINK_LISTING, LINK_WATCHED, LINK_POLLED, LINK_CLOSING };

struct link_attempt;

struct link {
  uv_loop_t *loop;
  struct rpc_queue *q;
  struct link_options options;
  char *target, *ca_pem, *key;
  const struct link_events *events;
  void *arg;

  enum link_state state;
  struct rpc_channel *channel;
  struct link_attempt *attempt;
  unsigned calls; /* attempts and queries that are not closed */
  struct link_query *queries;
  uv_timer_t timer;
  uint64_t backoff_ms, heartbeat_ms, connected_at, connects;
  uint32_t random;
  bool draining;
  struct known_names names;

  char trouble[TROUBLE_MAX];
  uint8_t member[LINK_MEMBER_SIZE], member_key[LINK_MEMBER_KEY_SIZE];
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- link.c ---- */

void link_start_timer(struct link *l, uint64_t ms);
int link_reopen_channel(struct link *l, bool keepalive);
/* The first answer is there. */
void link_enter(struct link *l, enum link_state state);
/* Not connected any more, or not yet: gives up the attempt, and makes another one later. */
void link_lose(struct link *l, enum rpc_status status, const char *text);
void link_retry(struct link *l, const char *sentence);
/* One that counted in `calls` is closed. May free the link. */
void link_call_over(struct link *l);

/* ---- link_watch.c ---- */

void link_begin_watching(struct link *l);
void link_begin_listing(struct link *l);
/* Asks for the list again, unless that is being done. */
void link_poll(struct link *l);
void link_drop_attempt(struct link *l);

/* ---- link_ask.c ---- */

void link_cancel_queries(struct link *l);
/* One ListServices; `done` as for rpc_unary. */
int link_list(struct link *l, struct rpc_call **out, uint64_t timeout_ms,
              void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg), void *arg);
/* Takes the message. NULL when it cannot be read. */
Mindmeld__ListServicesResponse *link_unpack_list(struct rpc_message *answer);

#endif
