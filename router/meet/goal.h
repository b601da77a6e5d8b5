/* Whom a dial is for: a service, by its name, or one process, by its member; and by which kind of streams. Compares as
 * bytes. */
#ifndef ROUTER_GOAL_H
#define ROUTER_GOAL_H

#include <stdint.h>
#include <string.h>

#include "leg.h"
#include "proto/wire/header.h"
#include "router/names/registry.h"

enum goal_kind { GOAL_SERVICE, GOAL_MEMBER };

struct goal {
  uint8_t kind;
  uint8_t leg; /* the number of its kind */
  union {
    char name[REGISTRY_NAME_MAX + 1];
    uint8_t member[HEADER_MEMBER_SIZE];
  };
};

/* The name has at most REGISTRY_NAME_MAX characters. */
static inline struct goal goal_service(const char *name, const struct leg_kind *kind)
{
  struct goal g;
  memset(&g, 0, sizeof g);
  g.leg = (uint8_t)kind->number;
  g.kind = GOAL_SERVICE;
  memcpy(g.name, name, strlen(name));
  return g;
}

static inline struct goal goal_member(const uint8_t member[HEADER_MEMBER_SIZE], const struct leg_kind *kind)
{
  struct goal g;
  memset(&g, 0, sizeof g);
  g.leg = (uint8_t)kind->number;
  g.kind = GOAL_MEMBER;
  memcpy(g.member, member, HEADER_MEMBER_SIZE);
  return g;
}

#endif
