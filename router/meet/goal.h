/* Whom a dial is for: a service, by its name, or one process, by its member. Compares as bytes. */
#ifndef ROUTER_GOAL_H
#define ROUTER_GOAL_H

#include <stdint.h>
#include <string.h>

#include "proto/wire/header.h"
#include "router/names/registry.h"

enum goal_kind { GOAL_SERVICE, GOAL_MEMBER };

struct goal {
  uint8_t kind;
  union {
    char name[REGISTRY_NAME_MAX + 1];
    uint8_t member[HEADER_MEMBER_SIZE];
  };
};

/* The name has at most REGISTRY_NAME_MAX characters. */
static inline struct goal goal_service(const char *name)
{
  struct goal g;
  memset(&g, 0, sizeof g);
  g.kind = GOAL_SERVICE;
  memcpy(g.name, name, strlen(name));
  return g;
}

static inline struct goal goal_member(const uint8_t member[HEADER_MEMBER_SIZE])
{
  struct goal g;
  memset(&g, 0, sizeof g);
  g.kind = GOAL_MEMBER;
  memcpy(g.member, member, HEADER_MEMBER_SIZE);
  return g;
}

#endif
