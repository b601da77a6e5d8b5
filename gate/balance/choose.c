#include "choose.h"

#include <stdbool.h>

#include "health.h"

size_t choose(struct health *const *all, size_t count, uint64_t random, uint64_t now)
{
  size_t takers[CHOOSE_MAX], found = 0;

  if (count <= 1)
    return 0;
  for (size_t i = 0; i < count; i++) {
    if (health_takes(all[i], now))
      takers[found++] = i;
  }
  if (found == 1)
    return takers[0];
  bool all_out = found == 0;
  found = all_out ? count : found;
  size_t first = (random & UINT32_MAX) % found, second = (random >> 32) % (found - 1);
  second += second >= first;
  size_t a = all_out ? first : takers[first], b = all_out ? second : takers[second];
  return all[b]->under_way < all[a]->under_way ? b : a;
}
