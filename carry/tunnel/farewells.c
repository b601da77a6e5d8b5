#include "farewells.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/pump/pump.h"
#include "waiting.h"

enum { FAREWELL_MS = 2000 };

struct farewells {
  struct waiting_set set;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void end(struct waiting *w)
{
  pump_stream_close(waiting_take(w));
  free(w);
}

/* Whatever else comes means nothing any more. */
static void came(struct waiting *w, const struct waiting_news *news)
{
  if (news->what == WAITING_ENDED || news->what == WAITING_DUE)
    end(w);
}

void farewells_add(struct farewells *fs, struct pump_stream *s)
{
  struct waiting *w = malloc(sizeof *w);
  if (w == NULL) {
    pump_stream_close(s);
    return;
  }
  waiting_adopt(&fs->set, w, s, FAREWELL_MS);
  if (fs->set.count > FAREWELLS_MAX)
    end(fs->set.oldest);
}

size_t farewells_count(const struct farewells *fs)
{
  return fs->set.count;
}

int farewells_open(struct farewells **out, struct uv_loop_s *loop)
{
  struct farewells *fs = malloc(sizeof *fs);
  if (fs == NULL)
    return -ENOMEM;
  *fs = (struct farewells){.set = {.loop = loop, .came = came, .owner = fs}};
  int error = waiting_set_open(&fs->set);
  if (error != 0)
    free(fs);
  else
    *out = fs;
  return error;
}

static void set_closed(void *owner)
{
  struct farewells *fs = owner;
  void (*closed)(void *) = fs->closed;
  void *arg = fs->closed_arg;
  free(fs);
  closed(arg);
}

void farewells_close(struct farewells *fs, void (*closed)(void *arg), void *arg)
{
  while (fs->set.oldest != NULL)
    end(fs->set.oldest); /* NOLINT(clang-analyzer-unix.Malloc): what was freed is not in the list any more */
  fs->closed = closed;
  fs->closed_arg = arg;
  waiting_set_close(&fs->set, set_closed);
}
