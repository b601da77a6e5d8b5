/* A request that is made again: a connection of its own to the target, on which it is sent, and the answer read. It is
 * looked at as other connections are, so that it is in the log and among what is kept.
 *
 *     DIALLING --connected--> TALKING --answered, broken off, or REPLAY_MS--> over
 *        \--no connection--> over
 *
 * Whoever asked is told when it is over, or after VERDICT_MS that it goes on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#include "carry/net/dial.h"
#include "carry/net/lookups.h"
#include "carry/tunnel/tunnels.h"
#include "proto/wire/end_address.h"
#include "taps_internal.h"
#include "written.h"

enum { DIAL_MS = 10000, VERDICT_MS = 10000, REPLAY_MS = 60000, READ_SIZE = 16 * 1024 };

struct replay {
  struct watched watched; /* with its tap, as long as that is there */
  struct taps *owner;
  struct replay *prev, *next;
  enum proxy_version proxy;
  struct http1_out out;
  struct dial *dial; /* NULL: it has called back */
  int fd;
  bool polls, over;
  uv_poll_t poll;
  uv_timer_t timer;
  unsigned holds;          /* what still calls back */
  taps_verdict_cb verdict; /* NULL: it was told */
  void *arg;
};

static void release(struct replay *r)
{
  if (--r->holds > 0)
    return;
  struct taps *ts = r->owner;
  http1_out_free(&r->out);
  free(r);
  ts->replay_count--;
  taps_close_if_done(ts);
}

static void closed(uv_handle_t *handle)
{
  release(handle->data);
}

static void tell(struct replay *r, int error, const char *why)
{
  taps_verdict_cb verdict = r->verdict;
  r->verdict = NULL;
  if (verdict != NULL)
    verdict(error, why, r->arg);
}

static void finish(struct replay *r, int error, const char *why)
{
  if (r->over)
    return;
  r->over = true;
  watched_close(&r->watched);
  DL_DELETE(r->owner->replays, r);
  if (r->dial != NULL)
    dial_cancel(r->dial);
  uv_close((uv_handle_t *)&r->timer, closed);
  if (r->polls)
    uv_close((uv_handle_t *)&r->poll, closed);
  if (r->fd >= 0)
    close(r->fd);
  tell(r, error, why);
}

/* ---- Talking ---- */

static void ready(uv_poll_t *poll, int status, int events);

static void wait_for(struct replay *r)
{
  uv_poll_start(&r->poll, UV_READABLE | (http1_out_waiting(&r->out) > 0 ? UV_WRITABLE : 0), ready);
}

/* A target that takes no more may have answered all the same. */
static void write_some(struct replay *r)
{
  ssize_t n = send(r->fd, r->out.bytes + r->out.at, http1_out_waiting(&r->out), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n > 0)
    http1_out_drop(&r->out, (size_t)n);
  else if (n < 0 && errno != EAGAIN && errno != EINTR)
    http1_out_free(&r->out);
}

static void read_some(struct replay *r)
{
  char bytes[READ_SIZE];
  ssize_t n = recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  watched_see(&r->watched, DIALOGUE_ANSWER, bytes, n > 0 ? (size_t)n : 0);
  if (n <= 0 || !r->watched.dialogue.begun)
    finish(r, 0, "");
}

static void ready(uv_poll_t *poll, int status, int events)
{
  struct replay *r = poll->data;
  (void)status;
  if (http1_out_waiting(&r->out) > 0 && (status != 0 || events & UV_WRITABLE))
    write_some(r);
  if (status != 0 || events & UV_READABLE)
    read_some(r);
  if (!r->over)
    wait_for(r);
}

static void late(uv_timer_t *timer)
{
  struct replay *r = timer->data;
  if (r->verdict == NULL) {
    finish(r, 0, "");
    return;
  }
  tell(r, 0, "");
  uv_timer_start(timer, late, REPLAY_MS - VERDICT_MS, 0);
}

/* A socket that has just been connected takes so little at once. */
static int introduce(struct replay *r, int fd)
{
  char header[PROXY_HEADER_MAX];
  const struct end_addresses unknown = {0};
  size_t size = proxy_header_write(r->proxy, &unknown, header);
  if (size > 0 && send(fd, header, size, MSG_NOSIGNAL) != (ssize_t)size)
    return -ECONNRESET;
  return uv_poll_init_socket(r->owner->lookups->loop, &r->poll, fd);
}

static void connected(struct replay *r, int fd)
{
  struct tap *tap = r->watched.tap;
  r->fd = fd;
  int error = introduce(r, fd);
  if (error != 0) {
    finish(r, error, "the connection to the target cannot be used");
    return;
  }
  r->poll.data = r;
  r->polls = true;
  r->holds++;
  watched_see(&r->watched, DIALOGUE_REQUEST, r->out.bytes + r->out.at, http1_out_waiting(&r->out));
  tap->replayed = r->watched.record.id;
  uv_timer_start(&r->timer, late, VERDICT_MS, 0);
  wait_for(r);
}

static void dialled(int fd, const char *why, void *arg)
{
  struct replay *r = arg;
  r->dial = NULL;
  if (r->over && fd >= 0)
    close(fd);
  else if (!r->over && fd >= 0)
    connected(r, fd);
  else if (!r->over)
    finish(r, fd, why);
  release(r);
}

/* ---- Beginning and end ---- */

void replays_end(struct taps *ts, const struct tap *tap, int error, const char *why)
{
  struct replay *r, *next;
  DL_FOREACH_SAFE(ts->replays, r, next)
  {
    if (r->watched.tap == tap)
      finish(r, error, why);
  }
}

void replay_forget(struct replay *r)
{
  r->verdict = NULL;
}

static struct replay *create(struct tap *tap, const struct tunnels_target *target, struct http1_out *out)
{
  struct taps *ts = tap->owner;
  struct replay *r = calloc(1, sizeof *r);
  if (r == NULL)
    return NULL;
  r->owner = ts;
  r->proxy = target->proxy;
  r->fd = -1;
  watched_open(&r->watched, tap, NULL);
  if (dial_start(&r->dial, ts->lookups, target->address, DIAL_MS, dialled, r) != 0) {
    free(r);
    return NULL;
  }
  uv_timer_init(ts->lookups->loop, &r->timer);
  r->timer.data = r;
  r->holds = 2;
  r->out = *out;
  *out = (struct http1_out){0};
  ts->replay_count++;
  DL_APPEND(ts->replays, r);
  return r;
}

int taps_replay(struct taps *ts, const char *service, const struct tunnels_target *target, const char *bytes,
                size_t size, taps_verdict_cb verdict, void *arg, struct replay **out, const char **why)
{
  struct http1_out request;
  int error = written_request(bytes, size, &request, why);
  if (error != 0)
    return error;
  error = -ENOTCONN;
  *why = "the service has no target";
  if (target->address != NULL) {
    error = ts->replay_count < TAPS_REPLAYS_MAX ? taps_start_log(ts, service) : -EBUSY;
    *why = error == -EBUSY ? "too many requests are being made again" : "memory is short";
  }
  if (error == 0) {
    *out = create(taps_find(ts, service), target, &request);
    error = *out != NULL ? 0 : -ENOMEM;
  }
  http1_out_free(&request);
  if (error != 0)
    return error;
  (*out)->verdict = verdict;
  (*out)->arg = arg;
  return 1;
}

uint64_t taps_replayed(const struct taps *ts, const char *service)
{
  const struct tap *tap = taps_find(ts, service);
  return tap != NULL ? tap->replayed : 0;
}
