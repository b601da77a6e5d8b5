/* The moment for one more attempt is kept, and moved: to now when one has failed, or when what was waited for has come;
 * by a step when one was made. Where there are many addresses or little time, steps are shorter, so that each has its
 * turn in half of the time.
 */
#include "race.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NAMED_MAX = 2 };

static bool is_shortage(int error)
{
  return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM || error == -EAGAIN;
}

static bool is_no_network(int error)
{
  return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL || error == -ENETUNREACH;
}

void race_begin(struct race *r, uint64_t now, uint64_t timeout)
{
  *r = (struct race){.family = AF_INET, .next = now, .timeout = timeout, .deadline = now + timeout, .idle = now};
}

static bool has_v6(const struct endpoints *e)
{
  for (unsigned i = 0; i < e->count; i++)
    if (e->at[i].bytes.ss_family == AF_INET6)
      return true;
  return false;
}

void race_add(struct race *r, const struct endpoints *found, bool complete, uint64_t now)
{
  bool first = r->endpoints.count == 0;
  unsigned before = r->endpoints.count;

  for (unsigned i = 0; i < found->count; i++)
    endpoints_add(&r->endpoints, &found->at[i]);
  r->waiting += r->endpoints.count - before;
  r->complete = complete;
  if (first && !complete && !has_v6(&r->endpoints))
    r->next = now + RACE_RESOLUTION_MS;
  else if (r->running == 0)
    r->next = now;
}

static int choose(const struct race *r)
{
  int chosen = -1;

  for (unsigned i = 0; i < r->endpoints.count; i++) {
    if (r->runners[i].state != RACE_WAITING)
      continue;
    if (r->endpoints.at[i].bytes.ss_family != r->family)
      return (int)i;
    if (chosen < 0)
      chosen = (int)i;
  }
  return chosen;
}

static uint64_t step(const struct race *r)
{
  uint64_t share = r->timeout / 2 / r->endpoints.count;

  return share < RACE_STEP_MS ? share : RACE_STEP_MS;
}

int race_next(struct race *r, uint64_t now)
{
  if (r->stopped || r->waiting == 0 || now < r->next || now >= r->deadline)
    return -1;
  int i = choose(r);
  r->runners[i].state = RACE_RUNNING;
  r->family = r->endpoints.at[i].bytes.ss_family;
  r->waiting--;
  r->running++;
  r->next = now + step(r);
  return i;
}

void race_failed(struct race *r, int index, int error, uint64_t now)
{
  r->runners[index] = (struct race_runner){.state = RACE_FAILED, .error = error};
  r->running--;
  r->next = now;
  r->idle = now;
  r->stopped = r->stopped || is_shortage(error);
}

void race_again(struct race *r, int index, uint64_t later)
{
  r->runners[index].state = RACE_WAITING;
  r->running--;
  r->waiting++;
  r->next = later;
}

/* When all attempts have failed, a family that is still being looked up gets a moment more. */
static uint64_t patience(const struct race *r)
{
  uint64_t late = r->idle + RACE_LATE_MS;

  return r->endpoints.count > 0 && late < r->deadline ? late : r->deadline;
}

bool race_is_lost(const struct race *r, uint64_t now)
{
  if (now >= r->deadline)
    return true;
  if (r->running > 0)
    return false;
  if (r->stopped)
    return true;
  return r->waiting == 0 && (r->complete || now >= patience(r));
}

uint64_t race_wake(const struct race *r)
{
  if (r->waiting > 0 && !r->stopped)
    return r->next < r->deadline ? r->next : r->deadline;
  return r->running > 0 ? r->deadline : patience(r);
}

/* ---- Causes. ---- */

/* 0: it has not been tried. */
static int error_of(const struct race *r, unsigned i)
{
  const struct race_runner *runner = &r->runners[i];

  return runner->state == RACE_RUNNING ? -ETIMEDOUT : runner->error;
}

static int rank(int error)
{
  return is_shortage(error) ? 3 : error == -ETIMEDOUT ? 1 : is_no_network(error) ? 0 : 2;
}

static void append(char *out, size_t size, const char *text)
{
  size_t used = strlen(out);

  snprintf(out + used, size - used, "%s", text);
}

static bool is_first(const struct race *r, unsigned i)
{
  for (unsigned j = 0; j < i; j++)
    if (error_of(r, j) == error_of(r, i))
      return false;
  return error_of(r, i) != 0;
}

static void append_addresses(const struct race *r, int error, char *out, size_t size)
{
  char text[ENDPOINT_TEXT_MAX];
  unsigned count = 0;

  for (unsigned i = 0; i < r->endpoints.count; i++) {
    if (error_of(r, i) != error || ++count > NAMED_MAX)
      continue;
    append(out, size, count == 1 ? " (" : ", ");
    append(out, size, endpoint_text(&r->endpoints.at[i], text));
  }
  if (count > NAMED_MAX) {
    snprintf(text, sizeof text, " and %u more", count - NAMED_MAX);
    append(out, size, text);
  }
  append(out, size, ")");
}

int race_error(const struct race *r, char *why, size_t size, unsigned *causes)
{
  int error = 0;

  *causes = 0;
  why[0] = '\0';
  for (unsigned i = 0; i < r->endpoints.count; i++) {
    if (!is_first(r, i))
      continue;
    ++*causes;
    if (error == 0 || rank(error_of(r, i)) > rank(error))
      error = error_of(r, i);
  }
  for (unsigned i = 0; i < r->endpoints.count; i++) {
    if (!is_first(r, i))
      continue;
    append(why, size, why[0] != '\0' ? ", " : "");
    append(why, size, strerror(-error_of(r, i)));
    if (*causes > 1)
      append_addresses(r, error_of(r, i), why, size);
  }
  return error;
}
