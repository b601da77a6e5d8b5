#include "raw_window.h"

#include <string.h>

/* The bits form a ring. */
static uint64_t *word_of(struct raw_window *w, uint64_t counter)
{
  return &w->used[counter % RAW_WINDOW_SIZE / 64];
}

static uint64_t bit_of(uint64_t counter)
{
  return UINT64_C(1) << counter % 64;
}

bool raw_window_is_fresh(const struct raw_window *w, uint64_t counter)
{
  if (counter > w->highest)
    return true;
  if (counter == 0 || w->highest - counter >= RAW_WINDOW_SIZE)
    return false;
  return (w->used[counter % RAW_WINDOW_SIZE / 64] & bit_of(counter)) == 0;
}

/* Those in between were not used yet. */
static void advance(struct raw_window *w, uint64_t highest)
{
  if (highest - w->highest >= RAW_WINDOW_SIZE)
    memset(w->used, 0, sizeof w->used);
  else
    for (uint64_t c = w->highest + 1; c < highest; c++)
      *word_of(w, c) &= ~bit_of(c);
  w->highest = highest;
}

bool raw_window_use(struct raw_window *w, uint64_t counter)
{
  if (!raw_window_is_fresh(w, counter))
    return false;
  if (counter > w->highest)
    advance(w, counter);
  *word_of(w, counter) |= bit_of(counter);
  return true;
}
