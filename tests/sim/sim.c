/* The simulator: both ends of connections, with the real machine and the real sequences and windows, and a router
 * between them that fails in every way it can, in a time that does not pass. Each seed is a world of its own.
 *
 *     sim --seeds 10000              so many seeds, from 1 on or from --first N
 *     sim --seed 4711 --trace        what happens in one
 *     sim --attacks 1000000          a stranger at the router, and so many attempts
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "attack.h"
#include "chaos.h"
#include "judge.h"

enum { ATTACKS_OF_A_WORLD = 1000, EVENTS_MAX = 3000000 };

struct totals {
  uint64_t worlds, events, attacks;
  struct outcomes outcomes;
};

static void live(struct world *w, uint64_t seed, uint64_t attacks)
{
  world_start(w, seed);
  router_start(w);
  chaos_plan(w, attacks);
  processes_start(w);
  chaos_start(w);
  if (attacks > 0)
    attack_start(w);
  while (world_next(w))
    if (w->ran > EVENTS_MAX)
      broken(w, "it does not come to an end");
  judge_end(w);
  router_end(w);
  processes_end(w);
}

static double seconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t number(const char *text)
{
  char *end;
  uint64_t n = strtoull(text, &end, 10);
  if (end != text && *end == '\0')
    return n;
  fprintf(stderr, "sim: not a number: %s\n", text);
  exit(2);
}

static void add(struct totals *t, const struct world *w)
{
  t->worlds++;
  t->events += w->ran;
  t->attacks += w->attacked;
  t->outcomes.refused += w->outcomes.refused;
  t->outcomes.reset += w->outcomes.reset;
  t->outcomes.ended += w->outcomes.ended;
  t->outcomes.own += w->outcomes.own;
  t->outcomes.replayed += w->outcomes.replayed;
}

static void report(const struct totals *t, double took)
{
  const struct outcomes *o = &t->outcomes;
  printf("%llu seeds, %llu events", (unsigned long long)t->worlds, (unsigned long long)t->events);
  if (t->attacks > 0)
    printf(
        ", %llu attacks, %.0f per second (%llu refused, %llu reset, %llu ended by the router, %llu connections of the "
        "stranger's own, %llu replays, of which none was accepted)",
        (unsigned long long)t->attacks, (double)t->attacks / took, (unsigned long long)o->refused,
        (unsigned long long)o->reset, (unsigned long long)o->ended, (unsigned long long)o->own,
        (unsigned long long)o->replayed);
  printf(", %.1f s: nothing is broken\n", took);
}

int main(int argc, char **argv)
{
  static const struct option options[] = {
      {"seeds", required_argument, NULL, 'n'}, {"first", required_argument, NULL, 'f'},
      {"seed", required_argument, NULL, 's'},  {"attacks", required_argument, NULL, 'a'},
      {"trace", no_argument, NULL, 't'},       {0}};
  struct world w = {0};
  struct totals totals = {0};
  uint64_t first = 1, seeds = 1, attacks = 0;
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (c == 'n')
      seeds = number(optarg);
    else if (c == 'f' || c == 's')
      first = number(optarg);
    else if (c == 'a')
      attacks = number(optarg);
    else if (c == 't')
      w.trace = true;
    else
      return 2;
  }
  if (attacks > 0 && seeds == 1)
    seeds = (attacks + ATTACKS_OF_A_WORLD - 1) / ATTACKS_OF_A_WORLD;
  double began = seconds();
  for (uint64_t seed = first; seed < first + seeds; seed++) {
    uint64_t here = attacks > totals.attacks ? attacks - totals.attacks : 0;
    live(&w, seed, here < ATTACKS_OF_A_WORLD ? here : ATTACKS_OF_A_WORLD);
    add(&totals, &w);
  }
  world_clear(&w);
  report(&totals, seconds() - began);
  return 0;
}
