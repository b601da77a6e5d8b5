/* Watchers that hear of members, and who joins by them. */
#ifndef FIXTURE_ROUTER_JOINING_H
#define FIXTURE_ROUTER_JOINING_H

#include "fixture_router_clients.h"

enum { LOST_MAX = 64 };

/* A watcher, and what it has heard of members. */
struct watch {
  struct stream *stream;
  bool greeted, draining, complete;
  uint8_t challenge[IDENTITY_CHALLENGE_SIZE];
  uint64_t stream_age_ms;
  unsigned messages, challenges, supersessions, went; /* names that were removed */
  size_t lost_count, largest;                         /* in one message */
  uint8_t (*lost)[HEADER_MEMBER_SIZE];
};

struct watch *watch(struct fixture *f);
void watch_drop(struct watch *w);
bool heard_lost(const struct watch *w, struct who who);

/* ---- Joining ---- */

/* Seeds are one byte, repeated. */
struct request {
  struct who who;
  uint8_t seed;
  uint64_t instance;
  uint8_t former; /* a key; 0: none */
  const uint8_t *challenge;
  int spoiled; /* where a byte of the signed text or its signature is flipped; -1: nowhere */
  size_t cut;  /* a field that is one byte short: 1 to 5 */
};

struct request request_of(const struct watch *w, struct who who, uint8_t seed, uint64_t instance);
struct asked ask_claim(struct fixture *f, const struct request *q);
void joins_as(struct fixture *f, const struct request *q);
void joins(struct fixture *f, const struct watch *w, struct who who, uint8_t seed, uint64_t instance);
void refused_as(struct fixture *f, const struct request *q, enum rpc_status status, const char *part);
void refused(struct fixture *f, const struct watch *w, struct who who, uint8_t seed, uint64_t instance,
             enum rpc_status status, const char *part);
bool may_park(struct fixture *f, struct who who);

static const struct who first = {31, 31}, second = {32, 32}, third = {33, 33};

#endif
