/* The parts of the room, made and freed; and what the names tell it. */
#include "meet.h"

#include <stdlib.h>

#include "arrival.h"
#include "dial.h"
#include "parked.h"
#include "raws.h"
#include "rendezvous.h"
#include "router/door/door.h"
#include "router/names/names.h"
#include "tokens.h"
#include "waiting.h"

struct meet {
  struct door *door;
  struct names *names;
  struct arrivals *arrivals;
  struct parking *parking;
  struct tokens *tokens;
  struct waiting *waiting;
  struct raws *raws;
  struct trail *trails;
};

static void on_failed(struct pending *p, enum rpc_status status, const char *text)
{
  router_dial_fail(router_dial_of(p), status, text);
}

static void on_left(struct pending *p)
{
  router_dial_move(router_dial_of(p));
}

static void on_service_came(const struct service *s, void *arg)
{
  router_dials_service_came(arg, s);
}

static void on_member_lost(const uint8_t member[HEADER_MEMBER_SIZE], void *arg)
{
  router_dials_member_lost(arg, member);
}

static void on_pass_ends(struct pass *p, void *arg)
{
  const struct meet *m = arg;
  if (m->raws)
    raws_pass_ends(m->raws, p);
}

struct meet *meet_open(struct door *d, struct names *n, void (*over)(void *arg), void *arg)
{
  const struct router_limits *limits = door_limits(d);
  struct meet *m = calloc(1, sizeof *m);
  if (!m)
    return NULL;
  m->door = d;
  m->names = n;
  m->arrivals = arrivals_open(over, arg);
  m->parking = parking_open();
  m->tokens = tokens_open(limits->tokens, limits->token_ms, rendezvous_token_lost, m);
  m->waiting = waiting_open(limits->waiting);
  if (!m->arrivals || !m->parking || !m->tokens || !m->waiting) {
    meet_close(m);
    return NULL;
  }
  const struct names_events events = {.failed = on_failed,
                                      .left = on_left,
                                      .service_came = on_service_came,
                                      .member_lost = on_member_lost,
                                      .unparked = parked_end,
                                      .pass_ends = on_pass_ends,
                                      .arg = m};
  router_names_listen(n, &events);
  return m;
}

void meet_close(struct meet *m)
{
  if (!m)
    return;
  free(m->trails);
  waiting_close(m->waiting);
  tokens_close(m->tokens);
  parking_close(m->parking);
  arrivals_close(m->arrivals);
  free(m);
}

struct door *meet_door(const struct meet *m)
{
  return m->door;
}

struct callers *meet_callers(const struct meet *m)
{
  return door_callers(m->door);
}

const struct router_limits *meet_limits(const struct meet *m)
{
  return door_limits(m->door);
}

struct names *meet_names(const struct meet *m)
{
  return m->names;
}

struct arrivals *meet_arrivals(const struct meet *m)
{
  return m->arrivals;
}

struct parking *meet_parking(const struct meet *m)
{
  return m->parking;
}

struct tokens *meet_tokens(const struct meet *m)
{
  return m->tokens;
}

struct waiting *meet_waiting(const struct meet *m)
{
  return m->waiting;
}

void meet_set_raws(struct meet *m, struct raws *all)
{
  m->raws = all;
}

struct trail **meet_trails(struct meet *m)
{
  return &m->trails;
}
