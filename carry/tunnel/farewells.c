#include "farewells.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <utlist.h>
#include <uv.h>

#include "proto/pump/pump.h"

enum { FAREWELL_MS = 2000, LOOK_MS = 500 };

struct farewell {
  struct farewells *owner;
  struct pump_stream *stream;
  uint64_t until;
  struct farewell *prev, *next;
};

struct farewells {
  uv_loop_t *loop;
  uv_timer_t timer; /* runs while there is one */
  struct farewell *oldest;
  size_t count;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void end(struct farewell *f)
{
  struct farewells *fs = f->owner;

  pump_stream_close(f->stream);
  DL_DELETE(fs->oldest, f); /* NOLINT(clang-analyzer-core.NullDereference) */
  fs->count--;
  free(f);
}

static void on_ended(struct pump_stream *s, enum rpc_status status, const char *text, void *arg)
{
  (void)s, (void)status, (void)text;
  end(arg);
}

/* Whatever else comes means nothing any more. */
static void on_header(struct pump_stream *s, const struct header *h, void *arg)
{
  (void)s, (void)h, (void)arg;
}

static void on_original(struct pump_stream *s, void *arg)
{
  (void)s, (void)arg;
}

static void on_reset(struct pump_stream *s, const char *code, const char *reason, void *arg)
{
  (void)s, (void)code, (void)reason, (void)arg;
}

static void on_refused(struct pump_stream *s, const char *reason, void *arg)
{
  (void)s, (void)reason, (void)arg;
}

static const struct pump_stream_events stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

static void timer_fired(uv_timer_t *timer)
{
  struct farewells *fs = timer->data;

  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed is not in the list any more */
  while (fs->oldest != NULL && fs->oldest->until <= uv_now(fs->loop))
    end(fs->oldest);
  if (fs->oldest == NULL)
    uv_timer_stop(timer);
}

void farewells_add(struct farewells *fs, struct pump_stream *s)
{
  struct farewell *f = calloc(1, sizeof *f);

  if (f == NULL) {
    pump_stream_close(s);
    return;
  }
  *f = (struct farewell){.owner = fs, .stream = s, .until = uv_now(fs->loop) + FAREWELL_MS};
  pump_stream_hand_over(s, &stream_events, f);
  DL_APPEND(fs->oldest, f);
  if (++fs->count > FAREWELLS_MAX)
    end(fs->oldest);
  if (!uv_is_active((uv_handle_t *)&fs->timer))
    uv_timer_start(&fs->timer, timer_fired, LOOK_MS, LOOK_MS);
}

size_t farewells_count(const struct farewells *fs)
{
  return fs->count;
}

int farewells_open(struct farewells **out, struct uv_loop_s *loop)
{
  struct farewells *fs = calloc(1, sizeof *fs);
  int err = fs != NULL ? uv_timer_init(loop, &fs->timer) : -ENOMEM;

  if (err != 0) {
    free(fs);
    return err;
  }
  fs->loop = loop;
  fs->timer.data = fs;
  *out = fs;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  struct farewells *fs = handle->data;
  void (*closed)(void *) = fs->closed;
  void *arg = fs->closed_arg;

  free(fs);
  closed(arg);
}

void farewells_close(struct farewells *fs, void (*closed)(void *arg), void *arg)
{
  while (fs->oldest != NULL)
    end(fs->oldest); /* NOLINT(clang-analyzer-unix.Malloc): the same */
  fs->closed = closed;
  fs->closed_arg = arg;
  uv_close((uv_handle_t *)&fs->timer, timer_closed);
}
