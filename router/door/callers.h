/* Callers, and how much each may hold at once.
 *
 * A caller is a member, one process of ours that has shown the key whose hash it is, or else (an original client) the
 * connection that the call came on. It is known as long as it holds something: a service, a stream, a token. Pure; one
 * thread.
 */
#ifndef ROUTER_CALLERS_H
#define ROUTER_CALLERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/header.h"

struct callers;

/* The sender of a message. A member that is given has proven itself by its key. */
struct member {
  bool given;
  uint8_t id[HEADER_MEMBER_SIZE];
};

enum caller_holds {
  CALLER_SERVICES,
  CALLER_STREAMS,
  CALLER_PARKED,
  CALLER_WAITING,
  CALLER_TOKENS,
  CALLER_WATCHERS,
  CALLER_JOINED,
  CALLER_HOLDS
};

struct caller;
struct parked;
struct presence;
struct service;

/* From the fields of a message. 0; -EINVAL: they are neither both empty nor both of their sizes; -EACCES: that is not
 * the member's key. */
int member_read(struct member *out, const void *id, size_t id_size, const void *key, size_t key_size);

/* `max` of each kind per caller. NULL when memory is short. */
struct callers *callers_open(const size_t max[CALLER_HOLDS]);
/* Nothing may be held any more. */
void callers_close(struct callers *cs); /* NULL is fine */

/* Takes one of `kind` for this caller. 0; -ENOSPC: it holds as many as it may; -ENOMEM. */
int callers_hold(struct callers *cs, struct caller **out, const struct member *m, const char *peer,
                 enum caller_holds kind);
/* The same, for a caller that holds something already. 0 or -ENOSPC. */
int callers_hold_more(struct callers *cs, struct caller *c, enum caller_holds kind);
/* The caller that is this member; NULL: it holds nothing. */
struct caller *callers_find(const struct callers *cs, const uint8_t member[HEADER_MEMBER_SIZE]);
/* Gives one back. The caller is gone with the last. */
void callers_release(struct callers *cs, struct caller *c, enum caller_holds kind);

size_t caller_holds(const struct caller *c, enum caller_holds kind);
/* The lists of its streams that are parked, one for each kind of them, and of its services, which belong to parked.c
 * and service.c. */
enum { CALLER_PARKED_KINDS = 2 };
struct parked **caller_parked(struct caller *c, unsigned kind);
struct service **caller_services(struct caller *c);
/* Its identity, which belongs to join.c; it holds CALLER_JOINED for it. */
struct presence **caller_presence(struct caller *c);
bool caller_joined(const struct caller *c);
/* Whether it parks raw streams, as far as is known since it joined last. */
bool caller_parks_raw(const struct caller *c);
void caller_set_parks_raw(struct caller *c, bool does);

/* 16 bytes, or NULL: it is a connection. */
const uint8_t *caller_member(const struct caller *c);
/* Whether this sender may use what belongs to `c`. Only members have belongings of their own. */
bool caller_matches(const struct caller *c, const struct member *m);

#endif
