/* A presence moves to the newer watch when its process joins again, and to the newer process when one takes over:
 *
 *     none --Join--> there --the same member, or a higher instance--> there --its watch closes--> none
 *
 * A challenge is used up whatever becomes of the request, so that nothing that was said once can be said again.
 */
#include "join.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include "lost.h"
#include "names.h"
#include "proto/wire/identity.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/door/reply.h"
#include "router/door/table.h"
#include "service.h"
#include "watch.h"

struct presence {
  uint8_t identity[IDENTITY_SIZE];
  uint8_t member[HEADER_MEMBER_SIZE];
  uint64_t instance;
  uint64_t since; /* ms */
  struct caller *caller;
  struct watcher *watcher;
  bool has_former;
  uint8_t former[HEADER_MEMBER_SIZE]; /* the latest of which it has said that it is lost */
  UT_hash_handle hh;
};

/* A request, read. */
struct claim {
  struct identity_claim signed_part;
  uint8_t signature[IDENTITY_SIGNATURE_SIZE];
  struct member member;
  bool former_given;
  uint8_t former[HEADER_MEMBER_SIZE];
};

struct presences {
  struct presence *by_identity;
};

static const char taken_over[] = "a newer process of this identity has taken over";

struct presences *presences_open(void)
{
  return calloc(1, sizeof(struct presences));
}

void presences_close(struct presences *ps)
{
  free(ps);
}

static void unpark(struct names *n, struct caller *c, enum rpc_status status, const char *text)
{
  router_names_events(n)->unparked(c, status, text);
}

const uint8_t *join_identity(struct caller *c)
{
  const struct presence *p = *caller_presence(c);
  return p ? p->identity : NULL;
}

uint64_t join_since(struct caller *c)
{
  const struct presence *p = *caller_presence(c);
  return p ? p->since : 0;
}

bool join_has_stayed(const struct names *n, const uint8_t member[HEADER_MEMBER_SIZE], uint64_t at)
{
  struct caller *c = callers_find(router_names_callers(n), member);
  const struct presence *p = c ? *caller_presence(c) : NULL;
  return p && p->since <= at && !lost_has(router_names_lost(n), member);
}

/* ---- Members that are over ---- */

/* When memory is short, only the watch tells. */
static void removed_add(Mindmeld__JoinResponse *answer, const char *name)
{
  char *copy = strdup(name);
  char **names = copy ? realloc((void *)answer->removed, (answer->n_removed + 1) * sizeof *names) : NULL;
  if (!names) {
    free(copy);
    return;
  }
  names[answer->n_removed++] = copy;
  answer->removed = names;
}

static void removed_free(Mindmeld__JoinResponse *answer)
{
  for (size_t i = 0; i < answer->n_removed; i++)
    free(answer->removed[i]);
  free((void *)answer->removed);
}

static void member_is_lost(struct names *n, const uint8_t member[HEADER_MEMBER_SIZE], Mindmeld__JoinResponse *answer)
{
  const struct names_events *events = router_names_events(n);
  struct caller *c;
  if (lost_add(router_names_lost(n), member))
    watch_wake(n);
  events->member_lost(member, events->arg);
  /* It may be gone with the last thing it holds. */
  while ((c = callers_find(router_names_callers(n), member)) && *caller_services(c)) {
    removed_add(answer, router_service_name(*caller_services(c)));
    router_service_end(*caller_services(c), RPC_ABORTED, taken_over);
  }
  if (c && caller_joined(c))
    unpark(n, c, RPC_ABORTED, taken_over);
}

/* ---- Presences ---- */

static struct presence *presence_find(const struct names *n, const uint8_t *identity)
{
  struct presence *p;
  HASH_FIND(hh, router_names_presences(n)->by_identity, identity, IDENTITY_SIZE, p);
  return p;
}

/* Its word about another member is remembered at least as long as it is there. */
static void presence_holds(struct names *n, struct presence *p, const uint8_t *former)
{
  if (p->has_former)
    lost_hold(router_names_lost(n), p->former, false);
  p->has_former = former != NULL;
  if (!former)
    return;
  memcpy(p->former, former, sizeof p->former);
  lost_hold(router_names_lost(n), former, true);
}

/* Parked streams are good as long as their member has a service or has joined. */
static void caller_leaves(struct names *n, struct caller *c)
{
  *caller_presence(c) = NULL;
  caller_set_parks_raw(c, false);
  if (caller_holds(c, CALLER_SERVICES) == 0)
    unpark(n, c, RPC_FAILED_PRECONDITION, "its member is not there any more");
  callers_release(router_names_callers(n), c, CALLER_JOINED);
}

void join_over(struct names *n, struct presence *p)
{
  struct presences *ps = router_names_presences(n);
  HASH_DEL(ps->by_identity, p); /* NOLINT(clang-analyzer-core.NullDereference): what is in a table has neighbours */
  presence_holds(n, p, NULL);
  caller_leaves(n, p->caller);
  free(p);
}

/* The caller holds CALLER_JOINED for it. */
static void presence_is(struct presence *p, const struct claim *claim, struct caller *caller, struct watcher *w)
{
  memcpy(p->member, claim->member.id, sizeof p->member);
  p->instance = claim->signed_part.instance;
  p->since = door_now();
  p->caller = caller;
  p->watcher = w;
  *caller_presence(caller) = p;
  watcher_is_of(w, p);
}

/* 0 or -ENOMEM. */
static int presence_add(struct names *n, const struct claim *claim, struct caller *caller, struct watcher *w)
{
  struct presence *p = calloc(1, sizeof *p);
  if (!p)
    return -ENOMEM;
  memcpy(p->identity, claim->signed_part.identity, sizeof p->identity);
  HASH_ADD(hh, router_names_presences(n)->by_identity, identity, sizeof p->identity, p);
  if (!p->hh.tbl) {
    free(p);
    return -ENOMEM;
  }
  presence_is(p, claim, caller, w);
  return 0;
}

static void presence_take_over(struct names *n, struct presence *p, const struct claim *claim, struct caller *caller,
                               struct watcher *w, Mindmeld__JoinResponse *answer)
{
  struct caller *older = p->caller;
  uint8_t member[HEADER_MEMBER_SIZE];
  memcpy(member, p->member, sizeof member);
  watcher_is_of(p->watcher, NULL);
  watcher_supersede(p->watcher);
  door_report(router_names_door(n), "a newer process of an identity has taken over from %s", watcher_peer(p->watcher));
  member_is_lost(n, member, answer);
  presence_holds(n, p, member);
  caller_leaves(n, older);
  presence_is(p, claim, caller, w);
}

/* The same process, by another watch. It may have lost the path of the older one, and with it what it had parked. */
static void presence_move(struct names *n, struct presence *p, const struct claim *claim, struct watcher *w)
{
  unpark(n, p->caller, RPC_ABORTED, "its member has joined anew");
  caller_set_parks_raw(p->caller, false);
  watcher_is_of(p->watcher, NULL);
  watcher_is_of(w, p);
  p->watcher = w;
  p->since = door_now();
  if (claim->signed_part.instance > p->instance)
    p->instance = claim->signed_part.instance;
}

/* 0; -ESTALE: a newer process was there; -EBUSY: the member has another identity; -ENOMEM. */
static int presence_come(struct names *n, const struct claim *claim, struct watcher *w, Mindmeld__JoinResponse *answer)
{
  struct presence *p = presence_find(n, claim->signed_part.identity);
  struct caller *caller;
  if (lost_has(router_names_lost(n), claim->member.id))
    return -ESTALE;
  if (p && memcmp(p->member, claim->member.id, HEADER_MEMBER_SIZE) == 0) {
    presence_move(n, p, claim, w);
    return 0;
  }
  if (p && claim->signed_part.instance <= p->instance)
    return -ESTALE;
  int error = callers_hold(router_names_callers(n), &caller, &claim->member, "", CALLER_JOINED);
  if (error)
    return error == -ENOSPC ? -EBUSY : error;
  if (p)
    presence_take_over(n, p, claim, caller, w, answer);
  else
    error = presence_add(n, claim, caller, w);
  if (error)
    callers_release(router_names_callers(n), caller, CALLER_JOINED);
  return error;
}

/* ---- Requests ---- */

static void claim_follow(struct names *n, struct rpc_call *c, const struct claim *claim)
{
  Mindmeld__JoinResponse answer = MINDMELD__JOIN_RESPONSE__INIT;
  struct watcher *w = watch_challenged(n, claim->signed_part.challenge);
  if (!w) {
    reply_refuse(c, RPC_PERMISSION_DENIED, "no open watch was given that challenge, or it was used");
    return;
  }
  if (!identity_verify(&claim->signed_part, claim->signature)) {
    door_report(router_names_door(n), "%s joined with a wrong signature", rpc_call_peer(c));
    reply_refuse(c, RPC_PERMISSION_DENIED, "the signature is not this identity's");
    return;
  }
  switch (presence_come(n, claim, w, &answer)) {
  case 0:
    break;
  case -ESTALE:
    reply_refuse(c, RPC_FAILED_PRECONDITION, "a newer process of this identity was here before");
    return;
  case -EBUSY:
    reply_refuse(c, RPC_INVALID_ARGUMENT, "a member has one identity");
    return;
  default:
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  if (claim->former_given && memcmp(claim->former, claim->member.id, sizeof claim->former) != 0) {
    member_is_lost(n, claim->former, &answer);
    presence_holds(n, presence_find(n, claim->signed_part.identity), claim->former);
  }
  reply_answer(router_names_door(n), c, rpc_message_pack(&answer.base));
  removed_free(&answer);
}

static bool field_read(uint8_t *out, size_t size, const ProtobufCBinaryData *field)
{
  if (field->len != size)
    return false;
  memcpy(out, field->data, size);
  return true;
}

/* RPC_OK, or how to refuse it. */
static enum rpc_status claim_read(struct claim *out, const Mindmeld__JoinRequest *request, const char **why)
{
  struct identity_claim *s = &out->signed_part;
  int error = member_read(&out->member, request->member.data, request->member.len, request->member_key.data,
                          request->member_key.len);
  *why = "that is not the member's key";
  if (error == -EACCES)
    return RPC_PERMISSION_DENIED;
  *why = "a join needs a member of 16 bytes and its key of 32, an identity and a challenge of 32, and a signature of "
         "64";
  if (error || !out->member.given || !field_read(s->identity, sizeof s->identity, &request->identity) ||
      !field_read(s->challenge, sizeof s->challenge, &request->challenge) ||
      !field_read(out->signature, sizeof out->signature, &request->signature))
    return RPC_INVALID_ARGUMENT;
  memcpy(s->member, out->member.id, sizeof s->member);
  s->instance = request->instance;
  *why = "the key of a former member has 32 bytes";
  out->former_given = request->former_key.len > 0;
  if (out->former_given && request->former_key.len != HEADER_MEMBER_KEY_SIZE)
    return RPC_INVALID_ARGUMENT;
  if (out->former_given)
    member_of_key(request->former_key.data, out->former);
  return RPC_OK;
}

void join_ask(struct opening *o, struct rpc_message *m)
{
  struct names *n = opening_room(o);
  Mindmeld__JoinRequest *request = (Mindmeld__JoinRequest *)rpc_message_unpack(m, &mindmeld__join_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a JoinRequest");
    return;
  }
  struct claim claim;
  const char *why;
  enum rpc_status status = claim_read(&claim, request, &why);
  mindmeld__join_request__free_unpacked(request, NULL);
  if (status == RPC_OK)
    claim_follow(n, opening_take(o), &claim);
  else
    opening_refuse(o, status, why);
}
