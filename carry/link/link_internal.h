/* What the files of the link share. link.c has the link: which path is the one of now, which one is tried, and when.
 * link_path.c has one path: a channel and what is called on it until the router is known and knows us, by what
 * link_join.c says. link_news.c tells what a watch told, but for raw streams: link_streams.c. link_info.c tells what
 * there is of the link. link_ask.c has the questions that others have. On the loop's thread.
 */
#ifndef CARRY_LINK_INTERNAL_H
#define CARRY_LINK_INTERNAL_H

#include <uv.h>

#include "carry/net/endpoints.h"
#include "carry/net/proxy.h"
#include "known_names.h"
#include "link.h"
#include "link_line.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/identity.h"
#include "trouble.h"

/*  SEEKING                                                    the address that answers
 *        |
 *     WATCHING --first answer--> JOINING --> WATCHED           the watch and Join of a router of ours
 *        |
 *        +-- UNIMPLEMENTED --> LISTING --> POLLED              an original
 *
 * and OVER, from every state: nobody wants to hear of it any more. */
enum link_path_state { PATH_SEEKING, PATH_WATCHING, PATH_JOINING, PATH_WATCHED, PATH_LISTING, PATH_POLLED, PATH_OVER };

struct link_path {
  struct link *link;
  enum link_path_state state;
  struct dial *dial; /* SEEKING */
  struct endpoint at;
  struct rpc_channel *channel; /* NULL while SEEKING */
  bool lent;                   /* the channel is the link's */
  struct rpc_call *call, *join;
  Mindmeld__WatchServicesResponse *first; /* JOINING: is not told before it is known who we are */
  uv_timer_t timer;                       /* when an answer, or a heartbeat, is missing; when to poll again */
  uv_timer_t age;                         /* when to renew it */
  uint64_t heartbeat_ms, stream_age_ms;
  uint64_t since; /* it was begun; WATCHED: the latest message came */
  uint64_t moved; /* until it is WATCHED, at the latest look */
  struct link_line line;
  struct link_streams streams; /* secret; WATCHED, if `no_streams` is NULL */
  const char *no_streams;      /* why there are none */
  bool told, whole;            /* something of the catalogue was; all of it was, once */
  /* Ended by a router that already knows us on the path which is tried now, whose verdict decides. */
  bool replaced;
  unsigned refs; /* calls and timers */
};

struct link {
  struct lookups *lookups;
  uv_loop_t *loop;
  struct rpc_queue *q;
  struct link_options options;
  char *target, *ca_pem, *key;
  struct address router; /* the target, or where it is said to be */
  bool has_at;
  bool proxied;
  struct proxy proxy; /* that the environment names for it */
  char proxy_text[ADDRESS_TEXT_MAX + 32];
  const struct link_events *events;
  void *arg;

  struct link_path *path;    /* connected by it; or NULL */
  struct link_path *attempt; /* tried now, in place of the one there is */
  struct rpc_channel *channel;
  uv_timer_t timer; /* runs until the next attempt */
  struct network *network;
  bool closing;
  unsigned calls; /* paths, queries and handles that are not closed */
  struct link_query *queries;
  uint64_t backoff_ms, connected_at, connects, renewals;
  bool unanswered; /* the latest attempt was */
  bool silent;     /* nothing was heard on the path that was lost last */
  uint32_t random;
  bool draining, superseded;
  bool refused; /* the latest attempt was, by a router that does not let us in */
  struct known_names names;

  char trouble[TROUBLE_MAX], renewal_trouble[TROUBLE_MAX];
  uint64_t instance;
  bool has_former;
  bool is_gate;
  struct link_gate gate;
  uint8_t seed[IDENTITY_SEED_SIZE], member_key[LINK_MEMBER_KEY_SIZE], former_key[LINK_MEMBER_KEY_SIZE]; /* secret */
  uint8_t public_key[IDENTITY_SIZE], member[LINK_MEMBER_SIZE];
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- link.c ---- */

/* The router is there, and knows who we are. Drops the path of before. */
void link_up(struct link *l, struct link_path *p);
/* It cannot be used, or not any more. Drops it, and tries again. */
void link_lose(struct link *l, struct link_path *p, enum rpc_status status, const char *text);
void link_fail(struct link *l, struct link_path *p, const char *sentence);
/* None of its addresses answers; as dial.h tells it. */
void link_not_found(struct link *l, struct link_path *p, const char *why, unsigned causes);
/* The attempt has a channel: calls go there, unless there is a path. */
void link_use_attempt(struct link *l);
void link_supersede(struct link *l);
/* As link_renew, but leaves an attempt that is under way alone. */
void link_begin_renewal(struct link *l);
uint32_t link_random(struct link *l);
/* One that counted in `calls` is closed. May free the link. */
void link_call_over(struct link *l);

/* ---- link_path.c ---- */

int link_path_open(struct link_path **out, struct link *l);
/* What waits for an answer on it may have to wait long. */
bool link_path_is_slow(const struct link_path *p);
/* Nothing is told of it any more, and it frees itself. The channel stays if it is lent. */
void link_path_drop(struct link_path *p);

/* ---- link_join.c ---- */

/* `challenge` has IDENTITY_CHALLENGE_SIZE bytes. NULL when memory is short. */
struct rpc_message *link_pack_join(struct link *l, const ProtobufCBinaryData *challenge);
/* What a JoinResponse says to be gone is taken out of what the watch said before. */
void link_forget_removed(Mindmeld__WatchServicesResponse *first, const struct rpc_message *answer);

/* ---- link_news.c ---- */

/* These may drop the path. */
void link_tell_news(struct link_path *p, const Mindmeld__WatchServicesResponse *news);
void link_tell_list(struct link_path *p, const Mindmeld__ListServicesResponse *list);

/* ---- link_streams.c ---- */

/* From the first message of a watch, whose secret it wipes. */
void link_streams_take(struct link_path *p, const Mindmeld__WatchServicesResponse *first);
/* NULL, or why there are none. `at` is where the watch is. */
const char *link_streams_read(const Mindmeld__WatchServicesResponse *news, const struct endpoint *at,
                              struct link_streams *out);

/* ---- link_ask.c ---- */

void link_cancel_queries(struct link *l);
/* One ListServices; `done` as for rpc_unary. */
int link_list(struct rpc_channel *channel, struct rpc_call **out, uint64_t timeout_ms,
              void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg), void *arg);
/* Takes the message. NULL when it cannot be read. */
Mindmeld__ListServicesResponse *link_unpack_list(struct rpc_message *answer);

#endif
