#include <string.h>
#include <time.h>

#include "proto/wire/header.h"
#include "raw_internal.h"

enum { REMEMBERED_MS = 30000 };

static uint64_t now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* FNV-1a. Two goals that are one number cost no more than a stream of the other kind. */
static uint64_t hash(uint64_t h, const void *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++)
    h = (h ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
  return h;
}

uint64_t raw_goal_of(const struct header *h)
{
  uint64_t goal = UINT64_C(0xcbf29ce484222325);
  if (h->park)
    return 0;
  if (h->has_attach)
    goal = hash(goal, h->attach, sizeof h->attach);
  else if (h->service[0] != '\0')
    goal = hash(goal, h->service, strlen(h->service));
  else
    goal = hash(goal, h->token, strlen(h->token));
  return goal | 1;
}

void raw_goals_add(struct raw_goals *g, uint64_t goal)
{
  if (goal == 0)
    return;
  g->list[g->next].goal = goal;
  g->list[g->next].until_ms = now_ms() + REMEMBERED_MS;
  g->next = (g->next + 1) % RAW_GOALS;
}

bool raw_goals_have(const struct raw_goals *g, uint64_t goal)
{
  for (size_t i = 0; i < RAW_GOALS; i++)
    if (g->list[i].goal == goal && goal != 0 && now_ms() < g->list[i].until_ms)
      return true;
  return false;
}
