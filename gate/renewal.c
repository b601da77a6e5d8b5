/* The directory is looked at every two seconds, in libuv's thread pool: it may lie on a file system that tells nobody
 * of changes, and a link in it may lead to a folder that is exchanged. What has changed is read when it has stayed the
 * same from one look to the next, for a writer may be at it.
 */
#include "renewal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "gate/tls/certs.h"
#include "gate/tls/tls.h"

enum { LOOK_MS = 2000, TICKETS_MS = 12 * 3600 * 1000 };

struct renewal {
  struct renewal_options options;
  uv_timer_t timer;
  uv_work_t work;
  uint64_t seen; /* the mark at the last look */
  uint64_t tickets_at;
  bool working, asked; /* `asked`: the next look reads, whatever it sees */
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
  /* The work's own. */
  bool anew;
  struct certs *loaded;
  char why[CERTS_WHY_MAX];
};

static void take(struct renewal *r, struct certs *certs)
{
  const char *line = certs_news(certs);
  char sentence[CERTS_WHY_MAX];

  while (*line != '\0') {
    size_t size = strcspn(line, "\n");
    snprintf(sentence, sizeof sentence, "%.*s", (int)size, line);
    r->options.says(sentence, r->options.arg);
    line += size + 1;
  }
  tls_context_use(r->options.tls, certs);
}

static void say_count(struct renewal *r)
{
  char sentence[CERTS_WHY_MAX];
  snprintf(sentence, sizeof sentence, "certificates in use: %u", certs_count(tls_context_certs(r->options.tls)));
  r->options.says(sentence, r->options.arg);
}

/* ---- In the pool ---- */

static void look(uv_work_t *work)
{
  struct renewal *r = work->data;
  const struct certs *now = tls_context_certs(r->options.tls);
  uint64_t mark = certs_look(r->options.dir);
  bool settled = mark == r->seen && mark != certs_mark(now);

  r->seen = mark;
  r->why[0] = '\0';
  if (r->anew || (settled && mark != 0))
    certs_load(&r->loaded, r->options.dir, now, r->anew, r->why);
}

/* ---- On the loop ---- */

static void on_closed(uv_handle_t *handle)
{
  struct renewal *r = handle->data;
  void (*closed)(void *) = r->closed;
  void *arg = r->closed_arg;
  free(r);
  if (closed != NULL)
    closed(arg);
}

static void start(struct renewal *r);

static void looked(uv_work_t *work, int status)
{
  struct renewal *r = work->data;
  struct certs *loaded = r->loaded;
  (void)status;

  r->working = false;
  r->loaded = NULL;
  if (r->closing) {
    certs_free(loaded);
    uv_close((uv_handle_t *)&r->timer, on_closed);
    return;
  }
  if (r->why[0] != '\0')
    r->options.says(r->why, r->options.arg);
  if (loaded != NULL) {
    take(r, loaded);
    say_count(r);
  }
  if (r->asked)
    start(r);
}

static void start(struct renewal *r)
{
  if (r->working)
    return;
  r->anew = r->asked;
  r->asked = false;
  r->working = uv_queue_work(r->timer.loop, &r->work, look, looked) == 0;
}

static void on_timer(uv_timer_t *timer)
{
  struct renewal *r = timer->data;
  uint64_t now = uv_now(timer->loop);

  if (now - r->tickets_at >= TICKETS_MS && tls_context_renew_tickets(r->options.tls) == 0)
    r->tickets_at = now;
  start(r);
}

void renewal_now(struct renewal *r)
{
  r->asked = true;
  start(r);
}

void renewal_close(struct renewal *r, void (*closed)(void *arg), void *arg)
{
  r->closed = closed;
  r->closed_arg = arg;
  r->closing = true;
  uv_timer_stop(&r->timer);
  if (!r->working)
    uv_close((uv_handle_t *)&r->timer, on_closed);
}

int renewal_open(struct renewal **out, struct uv_loop_s *loop, const struct renewal_options *options,
                 char why[RENEWAL_WHY_MAX])
{
  struct certs *certs;
  struct renewal *r = calloc(1, sizeof *r);

  _Static_assert((int)RENEWAL_WHY_MAX >= (int)CERTS_WHY_MAX, "one buffer for both");
  if (r == NULL) {
    snprintf(why, RENEWAL_WHY_MAX, "%s", strerror(ENOMEM));
    return -ENOMEM;
  }
  int error = certs_load(&certs, options->dir, NULL, true, why);
  if (error != 0) {
    free(r);
    return error;
  }
  *r = (struct renewal){.options = *options, .seen = certs_mark(certs), .tickets_at = uv_now(loop)};
  take(r, certs);
  if (certs_count(certs) == 0)
    r->options.says("there is no certificate yet: https is refused", r->options.arg);
  r->work.data = r->timer.data = r;
  uv_timer_init(loop, &r->timer);
  uv_timer_start(&r->timer, on_timer, LOOK_MS, LOOK_MS);
  *out = r;
  return 0;
}
