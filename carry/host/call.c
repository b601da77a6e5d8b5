/* A call has a carrier of its own, with one tunnel, whose socket stands for the two descriptors. It is over when the
 * tunnel is, and all that came from it has been written.
 */
#include "call.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "carrier.h"
#include "carry/net/joined.h"
#include "carry/tunnel/tunnels.h"

struct call {
  struct carrier *carrier;
  struct joined *joined;
  struct tunnel *tunnel;
  uv_timer_t told; /* it is told that it is over when no part is in the middle of something */
  bool written;
  char why[CALL_WHY_MAX]; /* "": nothing has failed */
  void (*over)(const char *why, void *arg);
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* The first sentence says why; the others follow from it. */
static void fail(struct call *c, const char *why)
{
  if (c->why[0] == '\0')
    snprintf(c->why, sizeof c->why, "%s", why);
}

static void tell(uv_timer_t *timer)
{
  struct call *c = timer->data;
  void (*over)(const char *, void *) = c->over;

  c->over = NULL;
  if (over != NULL)
    over(c->why[0] != '\0' ? c->why : NULL, c->arg);
}

static void tell_over(struct call *c)
{
  if (!uv_is_closing((uv_handle_t *)&c->told))
    uv_timer_start(&c->told, tell, 0, 0);
}

static void tell_if_over(struct call *c)
{
  if (c->tunnel == NULL && c->written)
    tell_over(c);
}

/* Nobody waits for a better key. */
static void refused(const char *why, void *arg)
{
  fail(arg, why);
  tell_over(arg);
}

static void tunnel_opened(struct tunnel *t, void *arg)
{
  ((struct call *)arg)->tunnel = t;
}

static void tunnel_failed(struct tunnel *t, const char *what, void *arg)
{
  (void)t;
  fail(arg, what);
}

static void tunnel_closed(struct tunnel *t, void *arg)
{
  struct call *c = arg;

  if (!tunnel_info(t).orderly)
    fail(c, "the connection was reset");
  c->tunnel = NULL;
  tell_if_over(c);
}

static void written(void *arg)
{
  struct call *c = arg;

  c->written = true;
  tell_if_over(c);
}

static void copy_failed(bool reading, int error, void *arg)
{
  struct call *c = arg;
  char why[CALL_WHY_MAX];

  snprintf(why, sizeof why, "cannot %s: %s", reading ? "read the input" : "write the output", strerror(-error));
  fail(c, why);
  tell_over(c);
}

static const struct joined_events joined_news = {.written = written, .failed = copy_failed};
static const struct tunnels_events tunnel_news = {
    .opened = tunnel_opened, .closed = tunnel_closed, .failed = tunnel_failed};
static const struct carrier_events carrier_news = {.tunnels = &tunnel_news, .refused = refused};

static void told_closed(uv_handle_t *handle)
{
  struct call *c = handle->data;
  void (*closed)(void *) = c->closed;
  void *arg = c->closed_arg;

  free(c);
  if (closed != NULL)
    closed(arg);
}

static void close_next(void *arg)
{
  struct call *c = arg;
  struct call open = *c;

  if (open.carrier != NULL) {
    c->carrier = NULL;
    carrier_close(open.carrier, close_next, c);
  } else if (open.joined != NULL) {
    c->joined = NULL;
    joined_close(open.joined, close_next, c);
  } else {
    uv_close((uv_handle_t *)&c->told, told_closed);
  }
}

void call_close(struct call *c, void (*closed)(void *arg), void *arg)
{
  uv_timer_stop(&c->told);
  c->closed = closed;
  c->closed_arg = arg;
  close_next(c);
}

int call_open(struct call **out, struct uv_loop_s *loop, const struct settings *settings, const char *service, int from,
              int to, void (*over)(const char *why, void *arg), void *arg, char why[CALL_WHY_MAX])
{
  struct call *c = calloc(1, sizeof *c);
  int fd, error = c != NULL ? 0 : -ENOMEM;

  _Static_assert((int)CALL_WHY_MAX >= (int)CARRIER_WHY_MAX, "one buffer for both");
  why[0] = '\0';
  if (error == 0) {
    *c = (struct call){.over = over, .arg = arg};
    uv_timer_init(loop, &c->told);
    c->told.data = c;
    error = carrier_open(&c->carrier, loop, settings, NULL, &carrier_news, c, why);
  }
  if (error == 0)
    error = joined_open(&c->joined, loop, from, to, &fd, &joined_news, c);
  if (error == 0) {
    tunnels_forward(carrier_tunnels(c->carrier), service, fd, "here", NULL);
    error = c->tunnel != NULL ? 0 : -ENOMEM;
  }
  if (error == 0) {
    *out = c;
    return 0;
  }
  if (why[0] == '\0')
    snprintf(why, CALL_WHY_MAX, "%s", strerror(-error));
  if (c != NULL)
    call_close(c, NULL, NULL);
  return error;
}

void call_run(struct call *c)
{
  carrier_run(c->carrier);
}
