#include "health.h"

enum { ANSWERS_WEIGHED = 8 };

void health_init(struct health *h)
{
  *h = (struct health){.out_ms = HEALTH_OUT_MS, .answer_ms = -1};
  phi_init(&h->phi);
}

static bool is_in_trouble(const struct health *h)
{
  return h->silent || h->dials_failed >= HEALTH_DIALS;
}

static void put_out(struct health *h, uint64_t now)
{
  h->out_until = now + h->out_ms;
  h->out_ms = h->out_ms < HEALTH_OUT_MAX_MS / 2 ? h->out_ms * 2 : HEALTH_OUT_MAX_MS;
}

/* One that is on trial is out until it has answered: no other request is to share its fate. */
void health_request(struct health *h, uint64_t now)
{
  h->requests++;
  h->under_way++;
  h->waiting++;
  phi_expect(&h->phi, now);
  if (is_in_trouble(h) && now >= h->out_until)
    put_out(h, now);
}

static void stop_waiting(struct health *h, uint64_t now)
{
  if (--h->waiting == 0)
    phi_rest(&h->phi, now);
}

void health_answered(struct health *h, uint64_t took, uint64_t now)
{
  bool first = h->answer_ms < 0;
  h->answer_ms += ((double)took - h->answer_ms) / (first ? 1 : ANSWERS_WEIGHED);
  phi_beat(&h->phi, now);
  stop_waiting(h, now);
  h->dials_failed = 0;
  h->silent = false;
  h->out_until = 0;
  h->out_ms = HEALTH_OUT_MS;
}

/* Those that were under way together fail together, and count as the first of them. */
void health_dial_failed(struct health *h, uint64_t now)
{
  h->failures++;
  if (now < h->out_until)
    return;
  h->dials_failed++;
  if (h->dials_failed >= HEALTH_DIALS)
    put_out(h, now);
}

void health_failed(struct health *h)
{
  h->failures++;
}

void health_over(struct health *h, bool answered, uint64_t now)
{
  h->under_way--;
  if (!answered)
    stop_waiting(h, now);
}

static bool is_silent(const struct health *h, uint64_t now)
{
  return h->silent || phi_of(&h->phi, now) > HEALTH_PHI_MAX;
}

bool health_takes(struct health *h, uint64_t now)
{
  if (now < h->out_until)
    return false;
  if (!h->silent && is_silent(h, now)) {
    h->silent = true;
    put_out(h, now);
    return false;
  }
  return true;
}

enum health_state health_state(const struct health *h, uint64_t now)
{
  if (h->dials_failed >= HEALTH_DIALS)
    return HEALTH_OUT;
  return is_silent(h, now) ? HEALTH_SILENT : HEALTH_UP;
}
