/* Whenever the declarations may have changed, they are rendered as text and compared with the text before. So no change
 * is missed, and a text that is the same is not written again. The newest text is written in the thread pool, one write
 * at a time. A text that is replaced while another one is being written is never written at all.
 *
 *     SAVED --another text--> SAVING --written--> SAVED, or SAVING again if there is a newer text by then
 *       ^                        |  fails
 *       |                        v
 *       +----- written ----- UNSAVED --another text, or after a while--> SAVING
 *
 * Texts are numbered. A write that waits does so for the number that was the newest when it came. When the disk neither
 * writes nor fails, those writes are let go as if it had failed, because they hold locks in the kernel.
 */
#include "state.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include "state_file.h"
#include "state_format.h"

struct waiter {
  struct waiter *prev, *next;
  uint64_t number;
  void (*done)(void *arg);
  void *arg;
};

struct state {
  uv_loop_t *loop;
  const struct state_file *file;
  const struct state_events *events;
  void *arg;

  char *newest;
  size_t newest_size;
  uint64_t number; /* of the newest */
  bool saved;      /* the newest is in the file */

  bool saving;
  uv_work_t work;
  char *written; /* what is being written: often the newest itself */
  size_t written_size;
  uint64_t written_number;
  int error; /* of the writing */
  char why[STATE_FILE_WHY_MAX];

  int told; /* the error of the last `unkept`, or 0 */
  struct waiter *waiters;
  uint64_t retry_ms;
  uv_timer_t look, retry, overdue;
  unsigned open; /* timers that will call back */
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void begin(struct state *s);
static void look(struct state *s);
static void finish_close(struct state *s);

static void let_go(struct state *s, uint64_t number)
{
  struct waiter *w;

  /* Writes that come meanwhile wait for another number. */
  while ((w = s->waiters) != NULL && w->number <= number) {
    DL_DELETE(s->waiters, w);
    w->done(w->arg);
    free(w);
  }
}

static void tell_kept(struct state *s)
{
  if (s->told == 0)
    return;
  s->told = 0;
  s->events->kept(s->arg);
}

static void tell_unkept(struct state *s, int error, const char *why)
{
  if (s->told == error)
    return;
  s->told = error;
  s->events->unkept(error, why, s->arg);
}

/* ---- Writing. ---- */

static void write_out(uv_work_t *work)
{
  struct state *s = work->data;

  s->error = state_file_write(s->file, s->written, s->written_size, s->why);
}

static void retry_fired(uv_timer_t *timer)
{
  look(timer->data);
  begin(timer->data);
}

static void failed(struct state *s, int error, const char *why)
{
  tell_unkept(s, error, why);
  if (s->closing)
    return;
  uv_timer_start(&s->retry, retry_fired, s->retry_ms, 0);
  s->retry_ms = s->retry_ms * 2 < STATE_RETRY_MAX_MS ? s->retry_ms * 2 : STATE_RETRY_MAX_MS;
}

static void written(uv_work_t *work, int status)
{
  struct state *s = work->data;
  bool is_newest = s->written == s->newest;
  uint64_t number = s->written_number;
  int error = status != 0 ? status : s->error;

  s->saving = false;
  uv_timer_stop(&s->overdue);
  if (!is_newest)
    free(s->written);
  s->written = NULL;
  if (error != 0) {
    failed(s, error, s->why);
  } else {
    s->saved = is_newest;
    s->retry_ms = STATE_RETRY_MIN_MS;
    if (is_newest)
      tell_kept(s);
  }
  if (!is_newest)
    begin(s);
  let_go(s, number);
  if (s->closing)
    finish_close(s);
}

static void overdue_fired(uv_timer_t *timer)
{
  struct state *s = timer->data;

  tell_unkept(s, -ETIMEDOUT, "the disk does not answer");
  let_go(s, s->number);
}

/* Writes the newest, unless something is being written: then it is the next. */
static void begin(struct state *s)
{
  int error;

  if (s->saving || s->saved)
    return;
  uv_timer_stop(&s->retry);
  s->written = s->newest;
  s->written_size = s->newest_size;
  s->written_number = s->number;
  s->work.data = s;
  error = uv_queue_work(s->loop, &s->work, write_out, written);
  if (error != 0) {
    s->written = NULL;
    failed(s, error, uv_strerror(error));
    return;
  }
  s->saving = true;
  uv_timer_start(&s->overdue, overdue_fired, STATE_OVERDUE_MS, 0);
}

/* ---- Looking. ---- */

static void look(struct state *s)
{
  struct state_text text;
  int error;

  uv_timer_stop(&s->look);
  error = s->events->render(&text, s->arg);
  if (error != 0) {
    failed(s, error, "memory is short");
    return;
  }
  if (text.size == s->newest_size && memcmp(text.bytes, s->newest, text.size) == 0) {
    free(text.bytes);
    if (s->saved)
      tell_kept(s);
    return;
  }
  if (s->newest != s->written)
    free(s->newest);
  s->newest = text.bytes;
  s->newest_size = text.size;
  s->number++;
  s->saved = false;
  begin(s);
}

static void look_fired(uv_timer_t *timer)
{
  look(timer->data);
}

void state_touch(struct state *s)
{
  if (!s->closing)
    uv_timer_start(&s->look, look_fired, 0, 0);
}

bool state_wait(struct state *s, void (*done)(void *arg), void *arg)
{
  struct waiter *w;

  look(s);
  if (s->saved || !s->saving || s->told == -ETIMEDOUT)
    return false;
  w = calloc(1, sizeof *w);
  if (w == NULL)
    return false;
  *w = (struct waiter){.number = s->number, .done = done, .arg = arg};
  DL_APPEND(s->waiters, w);
  return true;
}

/* ---- Open and close. ---- */

static int empty_text(struct state_text *text)
{
  state_text_begin(text);
  return state_text_end(text);
}

static void init_timer(struct state *s, uv_timer_t *timer)
{
  uv_timer_init(s->loop, timer);
  timer->data = s;
  s->open++;
}

int state_open(struct state **out, struct uv_loop_s *loop, const struct state_file *file, const char *bytes,
               size_t size, const struct state_events *events, void *arg)
{
  struct state *s = calloc(1, sizeof *s);
  struct state_text text = {0};
  int err;

  if (s == NULL)
    return -ENOMEM;
  *s = (struct state){
      .loop = loop, .file = file, .events = events, .arg = arg, .saved = true, .retry_ms = STATE_RETRY_MIN_MS};
  if (bytes == NULL) {
    err = empty_text(&text);
  } else {
    text.bytes = malloc(size);
    text.size = size;
    err = text.bytes != NULL ? 0 : -ENOMEM;
    if (err == 0)
      memcpy(text.bytes, bytes, size);
  }
  if (err != 0) {
    free(s);
    return err;
  }
  s->newest = text.bytes;
  s->newest_size = text.size;
  init_timer(s, &s->look);
  init_timer(s, &s->retry);
  init_timer(s, &s->overdue);
  *out = s;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  struct state *s = handle->data;
  void (*closed)(void *) = s->closed;
  void *arg = s->closed_arg;

  if (--s->open > 0)
    return;
  free(s->newest);
  free(s);
  closed(arg);
}

/* Nothing is being written any more. */
static void finish_close(struct state *s)
{
  if (s->saving)
    return;
  let_go(s, s->number);
  uv_close((uv_handle_t *)&s->look, timer_closed);
  uv_close((uv_handle_t *)&s->retry, timer_closed);
  uv_close((uv_handle_t *)&s->overdue, timer_closed);
}

void state_close(struct state *s, void (*closed)(void *arg), void *arg)
{
  s->closing = true;
  s->closed = closed;
  s->closed_arg = arg;
  look(s);
  begin(s);
  finish_close(s);
}
