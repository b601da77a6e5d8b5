/* What a stream is for stands in its first message. Two of ours see each other's header: the forward's is handed on
 * here, without what is only for the router; the service's answer passes as any message does.
 *
 *     Connect{service}              a forward of ours     a parked stream, or the service is told
 *     Connect{attach}               a forward of ours     a parked stream of that member, or a service of its is told
 *     Connect{park}                 a service of ours     waits
 *     Connect{token}                a service of ours     the dial that the token stands for
 *     ProxyConnection, token        an original           either end, as the token is a service's or a forward's
 *
 * A token that is shown by another member stays good for whom it was given to.
 */
#include "rendezvous.h"

#include <errno.h>
#include <string.h>

#include "dial.h"
#include "first_message.h"
#include "meet.h"
#include "parked.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "tokens.h"

void rendezvous_token_lost(struct token *t, void *arg)
{
  struct meet *in = arg;
  if (t->dial)
    router_dial_token_lost(t->dial);
  else
    callers_release(meet_callers(in), t->owner, CALLER_TOKENS);
}

/* ---- By token ---- */

/* An original's forward. */
static void forward_arrived(const struct arrival *a, struct token *t)
{
  struct meet *in = a->meet;
  const struct goal goal = goal_service(t->service, a->leg.kind);
  rendezvous_token_lost(t, in);
  tokens_spend(meet_tokens(in), t);
  router_dial_start(a, &goal);
}

static void token_shown(const struct arrival *a, const char *token, const struct member *m)
{
  struct meet *in = a->meet;
  struct token *t = tokens_find(meet_tokens(in), door_now(), token);
  if (!t) {
    arrival_refuse(a, RPC_NOT_FOUND, "unknown or expired token");
  } else if (!caller_matches(t->owner, m)) {
    char room[LEG_PEER_MAX];
    door_report(meet_door(in), "%s showed a token that was given to another member", a->leg.kind->peer(&a->leg, room));
    arrival_refuse(a, RPC_PERMISSION_DENIED, "the token was given to another member");
  } else if (t->dial) {
    struct arrival forward = router_dial_take(t->dial);
    arrival_pair(&forward, a);
  } else if (a->leg.original) {
    forward_arrived(a, t);
  } else {
    arrival_refuse(a, RPC_INVALID_ARGUMENT, "a token of ForwardToService is for ProxyConnection");
  }
}

void rendezvous_proxy(struct opening *o, struct rpc_message *m)
{
  static const struct member nobody = {0};
  struct meet *in = opening_room(o);
  struct token_stream *t = opening_token(o);
  struct rpc_message *rest = NULL;
  bool done = false;
  const char *why = "the router is short of memory";
  enum rpc_status status = t ? first_message_token(m, t, &done, &rest, &why) : RPC_RESOURCE_EXHAUSTED;
  rpc_message_free(m);
  if (status != RPC_OK) {
    opening_refuse(o, status, why);
    return;
  }
  if (!done) {
    opening_more(o);
    return;
  }
  char token[TOKEN_MAX + 1];
  memcpy(token, t->token, sizeof token);
  struct arrival a;
  const struct leg leg = {.kind = &leg_call, .call = opening_take(o), .original = true, .first = rest};
  if (arrival_start(&a, in, &leg, &nobody))
    token_shown(&a, token, &nobody);
}

/* ---- By header ---- */

/* The header as its partner gets it. */
static struct rpc_message *header_for_partner(const struct header *h)
{
  struct header shown = *h;
  uint8_t bytes[HEADER_SIZE_MAX];
  shown.has_member_key = shown.has_attach = false;
  explicit_bzero(shown.member_key, sizeof shown.member_key);
  return rpc_message_copy(bytes, header_pack(&shown, bytes));
}

static void forward_begins(struct meet *in, struct leg *leg, const struct header *h, const struct member *m)
{
  const struct goal goal = h->has_attach ? goal_member(h->attach, leg->kind) : goal_service(h->service, leg->kind);
  struct arrival a;
  leg->first = header_for_partner(h);
  if (!leg->first)
    leg->kind->refuse(leg, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else if (arrival_start(&a, in, leg, m))
    router_dial_start(&a, &goal);
}

static enum rpc_status malformed(const char **why, const char *sentence)
{
  *why = sentence;
  return RPC_INVALID_ARGUMENT;
}

/* RPC_OK, or how to refuse it. */
static enum rpc_status header_check(const struct header *h, struct member *m, const char **why)
{
  bool names = h->service[0] != '\0', shows = h->token[0] != '\0';
  if (names + h->has_attach + h->park + shows != 1)
    return malformed(why, "a connection's header says one of service, attach, park, and token");
  int error = member_read(m, h->member, h->has_member ? sizeof h->member : 0, h->member_key,
                          h->has_member_key ? sizeof h->member_key : 0);
  if (error == -EACCES) {
    *why = "that is not the member's key";
    return RPC_PERMISSION_DENIED;
  }
  if (error)
    return malformed(why, "a member has 16 bytes, and its key 32");
  if (!m->given && !shows)
    return malformed(why, "a stream that is parked, dials or attaches needs its member and that member's key");
  if (!h->has_connection && (names || h->has_attach))
    return malformed(why, "a stream that dials or attaches needs a connection of 16 bytes");
  if (h->has_attach && !h->established)
    return malformed(why, "only an established connection is attached to a member");
  return RPC_OK;
}

static void header_follow(struct meet *in, struct leg *leg, const struct header *h, const struct member *m)
{
  struct arrival a;
  if (h->service[0] != '\0' || h->has_attach)
    forward_begins(in, leg, h, m);
  else if (!h->park && leg->kind == &leg_raw)
    leg->kind->refuse(leg, RPC_UNIMPLEMENTED, "a token is answered by gRPC");
  else if (arrival_start(&a, in, leg, m))
    h->park ? parked_start(&a) : token_shown(&a, h->token, m);
}

void rendezvous_begin(struct meet *in, struct leg *leg, const struct header *h)
{
  struct member who;
  const char *why;
  enum rpc_status status = header_check(h, &who, &why);
  if (status == RPC_OK)
    header_follow(in, leg, h, &who);
  else
    leg->kind->refuse(leg, status, why);
}

void rendezvous_connect(struct opening *o, struct rpc_message *m)
{
  struct meet *in = opening_room(o);
  struct header h;
  const char *why;
  enum rpc_status status = first_message_header(m, &h, &why);
  rpc_message_free(m);
  if (status == RPC_OK) {
    struct leg leg = {.kind = &leg_call, .call = opening_take(o)};
    rendezvous_begin(in, &leg, &h);
  } else {
    opening_refuse(o, status, why);
  }
  explicit_bzero(&h, sizeof h);
}
