/* Bytes of both ways, seen and unseen, in any order: exchanges begin and end in turn, their bytes lie in what was
 * given, and a whole one is told of whole messages.
 *
 * Input: a flag (in the middle of a connection), and pieces: a byte with the way (1), unseen (2), the end (4), and how
 * much of what follows, of which seen pieces are taken.
 */
#include <stdint.h>
#include <stdlib.h>

#include "daemon/tap/dialogue.h"

static bool begun;
static uint64_t given, seen;

static void must(bool holds)
{
  if (!holds)
    abort();
}

static void began(struct dialogue *d)
{
  must(!begun && d->parsers[DIALOGUE_REQUEST].head.method.size > 0);
  begun = true;
  seen = 0;
}

static void answered(struct dialogue *d)
{
  must(begun && d->parsers[DIALOGUE_ANSWER].head.status >= 101);
}

static void passed(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size)
{
  (void)d;
  must(begun && (way == DIALOGUE_REQUEST || way == DIALOGUE_ANSWER) && size > 0);
  for (size_t i = 0; bytes != NULL && i < size; i += 64)
    (void)*(const volatile char *)&bytes[i];
  seen += size;
  must(seen <= given);
}

static void over(struct dialogue *d, bool whole)
{
  must(begun && (!whole || d->parsers[DIALOGUE_ANSWER].head.status >= 101));
  must(d->bodies[DIALOGUE_REQUEST] + d->bodies[DIALOGUE_ANSWER] <= seen);
  begun = false;
}

static const struct dialogue_events events = {.began = began, .answered = answered, .passed = passed, .over = over};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct dialogue d;
  if (size == 0)
    return 0;
  begun = false;
  given = 0;
  dialogue_init(&d, data[0] & 1, &events);
  for (size_t at = 1; at < size;) {
    uint8_t what = data[at++];
    enum dialogue_way way = what & 1 ? DIALOGUE_ANSWER : DIALOGUE_REQUEST;
    size_t count = (size_t)(what >> 3) * 4 + 1, left = size - at;
    given += count;
    if (what & 4) {
      dialogue_pass(&d, way, "", 0);
    } else if (what & 2) {
      dialogue_pass(&d, way, NULL, count);
    } else {
      count = count < left ? count : left;
      if (count > 0)
        dialogue_pass(&d, way, (const char *)data + at, count);
      at += count;
    }
    dialogue_watches(&d, way, count % 2 == 0);
  }
  dialogue_close(&d);
  must(!begun && d.state == DIALOGUE_SILENT);
  dialogue_free(&d);
  return 0;
}
