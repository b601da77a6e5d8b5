/* A thread is made when work could run and no thread is idle, and ends when it was idle for a while. At the end those
 * that are idle are waited for, but not one that hangs: so what it touches is freed by whoever is the last.
 *
 *     WAITING --a thread takes it--> RUNNING --> FINISHED --the loop takes it--> done
 */
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>
#include <uv.h>

enum { IDLE_S = 5 };

enum { WAITING, RUNNING, FINISHED };

struct thread {
  pthread_t id;
  struct workers *workers;
  struct work *work; /* or NULL */
  bool alone;        /* nobody waits for it: it frees itself */
  struct thread *prev, *next;
};

struct workers {
  pthread_mutex_t lock; /* over what follows */
  pthread_cond_t wanted;
  struct work *waiting, *running, *finished;
  struct thread *threads;
  unsigned most, count;
  unsigned idle, called; /* of those that are idle, so many are about to wake up */
  bool over;             /* the handle is closed, or about to be */
  unsigned refs;

  /* the loop's thread only */
  uv_async_t async;
  unsigned owed; /* works of which somebody still wants to hear */
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void unref(struct workers *ws)
{
  pthread_mutex_lock(&ws->lock);
  bool last = --ws->refs == 0;
  pthread_mutex_unlock(&ws->lock);
  if (!last)
    return;
  pthread_cond_destroy(&ws->wanted);
  pthread_mutex_destroy(&ws->lock);
  free(ws);
}

/* ---- In the threads. ---- */

static bool can_run(const struct workers *ws, const struct work *w)
{
  if (w->key == NULL)
    return true;
  for (const struct work *other = ws->running; other != NULL; other = other->next)
    if (other->key != NULL && strcmp(other->key, w->key) == 0)
      return false;
  return true;
}

/* Locked. NULL: nothing can run. */
static struct work *take(struct workers *ws)
{
  struct work *w = ws->waiting;

  while (w != NULL && !can_run(ws, w))
    w = w->next;
  if (w == NULL)
    return NULL;
  DL_DELETE(ws->waiting, w);
  DL_APPEND(ws->running, w);
  w->state = RUNNING;
  return w;
}

/* Locked, but while it runs. */
static void run(struct thread *t, struct work *w)
{
  struct workers *ws = t->workers;

  t->work = w;
  pthread_mutex_unlock(&ws->lock);
  w->run(w);
  pthread_mutex_lock(&ws->lock);
  t->work = NULL;
  DL_DELETE(ws->running, w);
  if (w->forgotten) {
    pthread_mutex_unlock(&ws->lock);
    w->lost(w);
    pthread_mutex_lock(&ws->lock);
    return;
  }
  w->state = FINISHED;
  DL_APPEND(ws->finished, w);
  uv_async_send(&ws->async);
}

/* Locked. False: nothing came for a while. */
static bool wait_for_work(struct workers *ws)
{
  struct timespec until;
  int error;

  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += IDLE_S;
  ws->idle++;
  error = pthread_cond_timedwait(&ws->wanted, &ws->lock, &until);
  ws->idle--;
  if (ws->called == 0)
    return error == 0;
  ws->called--;
  return true;
}

/* Locked. */
static void leave_alone(struct workers *ws, struct thread *t)
{
  DL_DELETE(ws->threads, t);
  ws->count--;
  t->alone = true;
  pthread_detach(t->id);
}

static void *thread_main(void *arg)
{
  struct thread *t = arg;
  struct workers *ws = t->workers;
  struct work *w;

  pthread_mutex_lock(&ws->lock);
  for (;;) {
    w = take(ws);
    if (w != NULL)
      run(t, w);
    else if (ws->over || !wait_for_work(ws))
      break;
  }
  if (!ws->over)
    leave_alone(ws, t);
  bool alone = t->alone;
  pthread_mutex_unlock(&ws->lock);
  if (alone)
    free(t);
  unref(ws);
  return NULL;
}

/* Locked. Signals are for the thread of the loop. */
static int add_thread(struct workers *ws)
{
  struct thread *t = calloc(1, sizeof *t);
  sigset_t all, former;
  int error;

  if (t == NULL)
    return -ENOMEM;
  t->workers = ws;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  error = pthread_create(&t->id, NULL, thread_main, t);
  pthread_sigmask(SIG_SETMASK, &former, NULL);
  if (error != 0) {
    free(t);
    return -error;
  }
  DL_APPEND(ws->threads, t);
  ws->count++;
  ws->refs++;
  return 0;
}

/* ---- On the loop. ---- */

static void handle_closed(uv_handle_t *handle)
{
  struct workers *ws = handle->data;
  void (*closed)(void *) = ws->closed;
  void *arg = ws->closed_arg;

  unref(ws);
  if (closed != NULL)
    closed(arg);
}

static void owe(struct workers *ws)
{
  if (ws->owed++ == 0)
    uv_ref((uv_handle_t *)&ws->async);
}

/* Only what somebody waits for keeps the loop alive. */
static void owe_less(struct workers *ws)
{
  if (--ws->owed == 0)
    uv_unref((uv_handle_t *)&ws->async);
}

/* Those that have nothing to do end at once. */
static void end_threads(struct workers *ws)
{
  struct thread *t, *next;

  pthread_mutex_lock(&ws->lock);
  ws->over = true;
  pthread_cond_broadcast(&ws->wanted);
  DL_FOREACH_SAFE(ws->threads, t, next)
  if (t->work != NULL)
    leave_alone(ws, t);
  pthread_mutex_unlock(&ws->lock);
  DL_FOREACH_SAFE(ws->threads, t, next)
  {
    pthread_join(t->id, NULL);
    free(t);
  }
}

static void close_if_over(struct workers *ws)
{
  if (!ws->closing || ws->owed > 0 || uv_is_closing((uv_handle_t *)&ws->async))
    return;
  end_threads(ws);
  uv_close((uv_handle_t *)&ws->async, handle_closed);
}

/* The first, but for those that are `sure` if they are to be spared. */
static struct work *take_from(struct workers *ws, struct work **list, bool spare)
{
  pthread_mutex_lock(&ws->lock);
  struct work *w = *list;
  while (w != NULL && spare && w->sure)
    w = w->next;
  if (w != NULL)
    DL_DELETE(*list, w);
  pthread_mutex_unlock(&ws->lock);
  return w;
}

static void some_finished(uv_async_t *async)
{
  struct workers *ws = async->data;
  struct work *w;

  while ((w = take_from(ws, &ws->finished, false)) != NULL) {
    owe_less(ws);
    w->done(w, 0);
  }
  while (ws->closing && (w = take_from(ws, &ws->waiting, true)) != NULL) {
    owe_less(ws);
    w->done(w, -ECANCELED);
  }
  close_if_over(ws);
}

int workers_start(struct workers *ws, struct work *w)
{
  int error = 0;

  pthread_mutex_lock(&ws->lock);
  w->workers = ws;
  w->state = WAITING;
  w->forgotten = false;
  if (ws->idle > ws->called) {
    ws->called++;
    pthread_cond_signal(&ws->wanted);
  } else if (ws->count < ws->most && can_run(ws, w)) {
    error = add_thread(ws);
    if (error != 0 && ws->count > 0)
      error = 0; /* it waits for those that there are */
  }
  if (error == 0)
    DL_APPEND(ws->waiting, w);
  pthread_mutex_unlock(&ws->lock);
  if (error == 0)
    owe(ws);
  return error;
}

void workers_forget(struct work *w)
{
  struct workers *ws = w->workers;

  pthread_mutex_lock(&ws->lock);
  int state = w->state;
  if (state == WAITING)
    DL_DELETE(ws->waiting, w);
  else if (state == FINISHED)
    DL_DELETE(ws->finished, w);
  w->forgotten = true;
  pthread_mutex_unlock(&ws->lock);
  if (state != RUNNING)
    w->lost(w);
  owe_less(ws);
  close_if_over(ws);
}

int workers_open(struct workers **out, struct uv_loop_s *loop, unsigned most)
{
  struct workers *ws = calloc(1, sizeof *ws);
  pthread_condattr_t monotonic;
  int error;

  if (ws == NULL)
    return -ENOMEM;
  error = uv_async_init(loop, &ws->async, some_finished);
  if (error != 0) {
    free(ws);
    return error;
  }
  pthread_mutex_init(&ws->lock, NULL);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&ws->wanted, &monotonic);
  pthread_condattr_destroy(&monotonic);
  ws->async.data = ws;
  uv_unref((uv_handle_t *)&ws->async);
  ws->most = most;
  ws->refs = 1;
  *out = ws;
  return 0;
}

void workers_close(struct workers *ws, void (*closed)(void *arg), void *arg)
{
  ws->closing = true;
  ws->closed = closed;
  ws->closed_arg = arg;
  uv_ref((uv_handle_t *)&ws->async);
  uv_async_send(&ws->async);
}
