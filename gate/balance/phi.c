/* The sums are of whole milliseconds, so nothing is lost by adding and taking away for ever. */
#include "phi.h"

#include <math.h>

enum { INTERVAL_MAX_MS = 3600 * 1000 };

static void remember(struct phi *p, uint64_t interval)
{
  uint32_t ms = interval < INTERVAL_MAX_MS ? (uint32_t)interval : INTERVAL_MAX_MS;

  if (p->count == PHI_INTERVALS) {
    uint64_t oldest = p->intervals[p->next];
    p->sum -= oldest;
    p->squares -= oldest * oldest;
  } else {
    p->count++;
  }
  p->intervals[p->next] = ms;
  p->next = (p->next + 1) % PHI_INTERVALS;
  p->sum += ms;
  p->squares += (uint64_t)ms * ms;
}

void phi_init(struct phi *p)
{
  *p = (struct phi){0};
  remember(p, PHI_GUESS_MS - PHI_GUESS_MS / 4);
  remember(p, PHI_GUESS_MS + PHI_GUESS_MS / 4);
}

static uint64_t silence_of(const struct phi *p, uint64_t now)
{
  return p->silence + (p->running ? now - p->since : 0);
}

void phi_expect(struct phi *p, uint64_t now)
{
  if (!p->running)
    p->since = now;
  p->running = true;
}

void phi_rest(struct phi *p, uint64_t now)
{
  p->silence = silence_of(p, now);
  p->running = false;
}

void phi_beat(struct phi *p, uint64_t now)
{
  remember(p, silence_of(p, now));
  p->silence = 0;
  p->since = now;
}

double phi_of(const struct phi *p, uint64_t now)
{
  double mean = (double)p->sum / p->count;
  double variance = (double)p->squares / p->count - mean * mean;
  double deviation = variance > 0 ? sqrt(variance) : 0;
  double late = (double)silence_of(p, now) - mean - PHI_PAUSE_MS;

  deviation = fmax(deviation, PHI_DEVIATION_MIN_MS);
  double still_comes = 0.5 * erfc(late / (deviation * M_SQRT2));
  double phi = still_comes > 0 ? -log10(still_comes) : PHI_MAX;
  return fmin(fmax(phi, 0), PHI_MAX);
}
