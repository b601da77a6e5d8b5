/* One completion queue, and the way home from it.
 *
 * Every tag is a struct rpc_tag. The thread that takes completions calls tag->complete; what belongs on the home thread
 * is delivered to it there. In a run queue that is the same thread, and nothing is handed over. In an attached queue it
 * is the loop's home (proto/host/home.h).
 *
 * A run queue has an inbox of its own, for posts. It sleeps in gRPC and can only be woken by a completion; gRPC's
 * public interface has one that any thread can cause: the end of a watch over a channel whose state never changes.
 */
#include "rpc_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <openssl/crypto.h>
#include <uv.h>

#include "proto/host/home.h"
#include "rpc_nudge.h"
#include "rpc_timers.h"
#include "rpc_tsan.h"

enum { NS_PER_MS = 1000000 };

struct rpc_queue {
  grpc_completion_queue *cq;
  pthread_mutex_t lock; /* over the inbox, and between a wake and the shutdown */
  struct errands inbox; /* run queues */
  bool waking;          /* the bell was rung, and not heard yet */
  bool stopping;
  void (*stopped)(void *arg);
  void *stopped_arg;

  struct home *home; /* attached queues; and NULL */
  unsigned open_handles;
  pthread_t thread;

  grpc_channel *bell; /* run queues: leads nowhere */
  struct rpc_tag wake_tag;
  pthread_mutex_t home_lock; /* run queues; over all that is the home thread's */
  uint64_t asleep_until;     /* ns, while it waits in gRPC; else 0 */
  struct rpc_timers timers;  /* run queues */
  rpc_nudge_cb nudge;        /* or NULL */
  uv_timer_t nudge_clock;    /* attached queues */
  uint32_t marks;
};

struct post {
  struct errand errand;
  void (*cb)(void *arg);
  void *arg;
};

void rpc_tag_hand_over(struct rpc_tag *tag)
{
  RPC_TSAN_RELEASE(tag);
}

void rpc_tag_take(void *tag)
{
  RPC_TSAN_ACQUIRE(tag);
}

void rpc_tag_complete(void *tag, bool ok)
{
  struct rpc_tag *t = tag;
  rpc_tag_take(tag);
  t->complete(t, ok);
}

int rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
  rpc_tag_hand_over(tag);
  return grpc_call_start_batch(call, ops, count, tag, NULL) == GRPC_CALL_OK ? 0 : -EIO;
}

#ifdef RPC_TSAN
/* TSan sees the memory functions that libraries call, but not the locks under which they do. What libraries do among
 * themselves is not looked at; what our code does is, wherever the memory comes from. */
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
  return "ignore_noninstrumented_modules=1";
}
#endif

/* gRPC would print to stderr, and with GRPC_TRACE in the environment also the keys that callers show. What is left is
 * why it ends the process. */
static void log_nothing(gpr_log_func_args *args)
{
  if (args->severity == GPR_LOG_SEVERITY_ERROR && strncmp(args->message, "assertion failed", 16) == 0)
    fprintf(stderr, "gRPC: %s (%s:%d)\n", args->message, args->file, args->line);
}

/* Debian's Abseil looks for deadlocks at each lock that gRPC takes, in one graph of all locks, under a lock of its own:
 * a fourth of what a small message costs. The only switch is this function of C++, absl::SetMutexDeadlockDetectionMode
 * with OnDeadlockCycle::kIgnore; where it is called otherwise, nothing is lost but that. */
static void deadlocks_ignore(void)
{
  void (*set_mode)(int mode) =
      (void (*)(int))dlsym(RTLD_DEFAULT, "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");
  if (set_mode)
    set_mode(0);
}

int rpc_queue_create(struct rpc_queue **out)
{
  struct rpc_queue *q = calloc(1, sizeof *q);
  if (!q)
    return -ENOMEM;
  int error = pthread_mutex_init(&q->lock, NULL);
  if (!error) {
    error = pthread_mutex_init(&q->home_lock, NULL);
    if (error)
      pthread_mutex_destroy(&q->lock);
  }
  if (error) {
    free(q);
    return -error;
  }
  errands_start(&q->inbox);
  gpr_set_log_function(log_nothing);
  /* The system's resolver knows what users expect (nsswitch, /etc/hosts); the one that gRPC prefers does not, and leaks
   * with each localhost. There is no other way to choose. */
  setenv("GRPC_DNS_RESOLVER", "native", 0);
  /* gRPC's threads may still be in a handshake when the program returns from main: what they use is not taken away. */
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
  deadlocks_ignore();
  grpc_init();
  q->nudge = rpc_nudge_find();
  q->cq = grpc_completion_queue_create_for_next(NULL);
  q->bell = grpc_lame_client_channel_create("bell", GRPC_STATUS_UNAVAILABLE, "");
  *out = q;
  return 0;
}

/* When a socket did not take what gRPC had to write, a thread of gRPC's sleeps in its epoll set for up to ten seconds
 * at a time, and looks only then whether that is still of use. The shutdown waits for it. A new descriptor in the set
 * wakes it. */
static void wake_sleepers(void)
{
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return;
  grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
  grpc_channel_destroy(grpc_channel_create_from_fd("alarm", fds[0], credentials, NULL)); /* closes it */
  grpc_channel_credentials_release(credentials);
  close(fds[1]);
}

void rpc_queue_free(struct rpc_queue *q)
{
  if (!q->stopping) /* never ran */
    grpc_completion_queue_shutdown(q->cq);
  grpc_completion_queue_destroy(q->cq);
  grpc_channel_destroy(q->bell);
  wake_sleepers();
  grpc_shutdown_blocking();
  rpc_timers_free(&q->timers);
  pthread_mutex_destroy(&q->home_lock);
  pthread_mutex_destroy(&q->lock);
  free(q);
}

grpc_completion_queue *rpc_queue_cq(struct rpc_queue *q)
{
  return q->cq;
}

uint32_t rpc_queue_mark(struct rpc_queue *q)
{
  return q->marks++ % RPC_MARK_MAX + 1;
}

/* ---- The inbox ---- */

static void wake_complete(struct rpc_tag *tag, bool ok);

/* Under the lock. Run queues. */
static void ring(struct rpc_queue *q)
{
  if (q->waking || q->stopping)
    return;
  q->waking = true;
  q->wake_tag.complete = wake_complete;
  rpc_tag_hand_over(&q->wake_tag);
  grpc_channel_watch_connectivity_state(q->bell, GRPC_CHANNEL_TRANSIENT_FAILURE, gpr_inf_past(GPR_CLOCK_MONOTONIC),
                                        q->cq, &q->wake_tag);
}

static int inbox_put(struct rpc_queue *q, struct errand *e)
{
  pthread_mutex_lock(&q->lock);
  bool stopping = q->stopping;
  if (!stopping && q->home != NULL) {
    home_send(q->home, e);
  } else if (!stopping) {
    errands_add(&q->inbox, e);
    ring(q);
  }
  pthread_mutex_unlock(&q->lock);
  return stopping ? -ECANCELED : 0;
}

static void inbox_serve(struct rpc_queue *q)
{
  pthread_mutex_lock(&q->lock);
  struct errand *first = errands_take(&q->inbox);
  q->waking = false;
  pthread_mutex_unlock(&q->lock);
  errands_run(first);
}

static void wake_complete(struct rpc_tag *tag, bool ok)
{
  (void)ok;
  inbox_serve((struct rpc_queue *)((char *)tag - offsetof(struct rpc_queue, wake_tag)));
}

static void tag_on_home(struct errand *e)
{
  struct rpc_tag *tag = (struct rpc_tag *)e;
  tag->on_home(tag, tag->ok);
}

void rpc_queue_deliver(struct rpc_queue *q, struct rpc_tag *tag, bool ok, void (*on_home)(struct rpc_tag *tag, bool ok))
{
  if (q->home == NULL) {
    on_home(tag, ok);
    return;
  }
  tag->on_home = on_home;
  tag->ok = ok;
  tag->errand.run = tag_on_home;
  home_send(q->home, &tag->errand);
}

static void post_on_home(struct errand *e)
{
  struct post post = *(struct post *)e;
  free(e);
  post.cb(post.arg);
}

int rpc_queue_post(struct rpc_queue *q, void (*cb)(void *arg), void *arg)
{
  struct post *post = malloc(sizeof *post);
  if (!post)
    return -ENOMEM;
  *post = (struct post){.errand.run = post_on_home, .cb = cb, .arg = arg};
  int error = inbox_put(q, &post->errand);
  if (error)
    free(post);
  return error;
}

/* ---- Timers ---- */

int rpc_timer_start(struct rpc_timer **out, struct rpc_queue *q, uint64_t ms, void (*cb)(void *arg), void *arg)
{
  uint64_t at = uv_hrtime() + ms * NS_PER_MS;
  int error = q->home != NULL ? -ENOTSUP : rpc_timers_add(&q->timers, out, at, cb, arg);
  if (error || at >= q->asleep_until)
    return error;
  pthread_mutex_lock(&q->lock);
  ring(q);
  pthread_mutex_unlock(&q->lock);
  return 0;
}

void rpc_timer_cancel(struct rpc_timer *t)
{
  rpc_timers_remove(t);
}

static void nudge_at_intervals(void *arg)
{
  struct rpc_queue *q = arg;
  struct rpc_timer *next;
  if (q->nudge == NULL)
    return;
  q->nudge();
  rpc_timer_start(&next, q, RPC_NUDGE_MS, nudge_at_intervals, q); /* without memory there is worse than late timers */
}

/* Runs what is due, and says until when the queue may sleep: gRPC does so in whole milliseconds. */
static gpr_timespec timers_serve(struct rpc_queue *q)
{
  uint64_t at = rpc_timers_serve(&q->timers, uv_hrtime), now = uv_hrtime();
  q->asleep_until = at;
  if (at == UINT64_MAX)
    return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  uint64_t ms = at > now ? (at - now) / NS_PER_MS + 1 : 0;
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)ms, GPR_TIMESPAN));
}

/* ---- Running and stopping ---- */

void rpc_queue_lock(struct rpc_queue *q)
{
  pthread_mutex_lock(&q->home_lock);
}

void rpc_queue_unlock(struct rpc_queue *q)
{
  pthread_mutex_unlock(&q->home_lock);
}

/* Waits without the lock. */
static grpc_event next_event(struct rpc_queue *q)
{
  gpr_timespec until = timers_serve(q);
  rpc_queue_unlock(q);
  grpc_event event = grpc_completion_queue_next(q->cq, until, NULL);
  rpc_queue_lock(q);
  q->asleep_until = 0;
  return event;
}

void rpc_queue_run(struct rpc_queue *q)
{
  rpc_queue_lock(q);
  nudge_at_intervals(q);
  for (;;) {
    grpc_event event = next_event(q);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      break;
    if (event.type == GRPC_OP_COMPLETE)
      rpc_tag_complete(event.tag, event.success != 0);
  }
  inbox_serve(q);
  rpc_queue_unlock(q);
  if (q->stopped)
    q->stopped(q->stopped_arg);
}

static void *take_completions(void *arg)
{
  struct rpc_queue *q = arg;
  for (;;) {
    grpc_event event = grpc_completion_queue_next(q->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    rpc_tag_complete(event.tag, event.success != 0);
  }
}

static void one_closed(struct rpc_queue *q)
{
  if (--q->open_handles == 0 && q->stopped)
    q->stopped(q->stopped_arg);
}

static void clock_closed(uv_handle_t *clock)
{
  one_closed(clock->data);
}

static void home_closed(void *arg)
{
  one_closed(arg);
}

static void nudge_time(uv_timer_t *timer)
{
  struct rpc_queue *q = timer->data;
  q->nudge();
}

int rpc_queue_attach(struct rpc_queue *q, struct uv_loop_s *loop)
{
  int error = pthread_create(&q->thread, NULL, take_completions, q);
  if (error)
    return -error;
  error = home_open(&q->home, loop);
  if (error) {
    q->stopping = true;
    grpc_completion_queue_shutdown(q->cq);
    pthread_join(q->thread, NULL);
    return error;
  }
  uv_timer_init(loop, &q->nudge_clock);
  q->nudge_clock.data = q;
  if (q->nudge != NULL)
    uv_timer_start(&q->nudge_clock, nudge_time, RPC_NUDGE_MS, RPC_NUDGE_MS);
  q->open_handles = 2;
  return 0;
}

struct home *rpc_queue_home(struct rpc_queue *q)
{
  return q->home;
}

void rpc_queue_stop(struct rpc_queue *q, void (*stopped)(void *arg), void *arg)
{
  pthread_mutex_lock(&q->lock);
  q->stopping = true;
  pthread_mutex_unlock(&q->lock);
  q->stopped = stopped;
  q->stopped_arg = arg;
  grpc_completion_queue_shutdown(q->cq);
  if (q->home == NULL)
    return;
  pthread_join(q->thread, NULL);
  uv_close((uv_handle_t *)&q->nudge_clock, clock_closed);
  home_close(q->home, home_closed, q);
}
