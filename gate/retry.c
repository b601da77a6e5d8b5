/* A request that got no answer is taken to another connection where that is safe:
 *
 *   - Its target could not be dialled, so nothing of the request has arrived anywhere. It goes to another backend,
 *     whatever it is.
 *   - It may be made twice (RFC 9110, 9.2.2), has no body, and nothing of an answer came. On a connection that was
 *     used before, that is how a target closes what it finds idle: a fresh connection follows. On a fresh one the
 *     target may have ended because of it: it goes to another backend, once.
 *
 * A backend gets a request anew only in the second case, and only once, and no more than EXCHANGE_FAILURES_MAX may fail
 * it; so it ends.
 */
#include "gate_internal.h"

static bool may_be_made_twice(const struct exchange *x)
{
  static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};

  for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
    if (exchange_method_is(x, safe[i]))
      return x->framing->body == HTTP1_NO_BODY;
  }
  return false;
}

/* The backend is not to have it again. False: too many have failed it. */
static bool leave_out(struct exchange *x, const struct backend *b)
{
  if (x->failures == EXCHANGE_FAILURES_MAX)
    return false;
  x->failed_by[x->failures++] = b->id;
  return true;
}

/* All that the former one was given. */
static void give_again(struct exchange *x, const struct upstream *former)
{
  struct upstream *u = x->upstream;
  u->parser.to_head = x->to_head;
  http1_out_put(&u->socket.out, former->kept.bytes + former->kept.at, http1_out_waiting(&former->kept));
  upstream_given(u, 0);
}

/* To a fresh connection. The former one is closed, if there is another one. */
static bool move(struct exchange *x, bool unreached)
{
  struct upstream *former = x->upstream;

  if (!exchange_connect(x, true)) {
    x->upstream = former;
    return false;
  }
  if (unreached)
    give_again(x, former);
  else
    exchange_write_head(x);
  upstream_close(former, true);
  return true;
}

bool exchange_retry(struct exchange *x)
{
  struct upstream *u = x->upstream;

  if (x->answer_begun || !http1_parser_is_idle(&u->parser))
    return false;
  if (upstream_is_unreached(u) && !u->reached)
    return !u->kept.failed && leave_out(x, u->backend) && move(x, true);
  if (!may_be_made_twice(x))
    return false;
  if (u->reused)
    return move(x, false);
  if (x->repeated || !leave_out(x, u->backend))
    return false;
  x->repeated = true;
  return move(x, false);
}
