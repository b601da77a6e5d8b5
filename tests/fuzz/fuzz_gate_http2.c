/* A client of HTTP/2 says anything. What is passed on of a request is read by the strict reader of HTTP/1, as one
 * request; no more than a window of a body is ever held. The other side is a stub: it takes bodies, and answers each
 * request in one of several ways, by its path.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/http2/session.h"
#include "gate/paths/rewrite.h"
#include "proto/http1/clean.h"
#include "proto/http1/parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT = 64 * 1024, OUT_MAX = 2 * OUT };

static void must(bool holds)
{
  if (!holds)
    abort();
}

/* One request, and nothing behind it. */
static void read_again(const struct http1_out *out, const struct http1_framing *f)
{
  struct http1_parser p;
  enum http1_event event;

  http1_parser_init(&p, false);
  size_t eaten = http1_parser_feed(&p, out->bytes + out->at, http1_out_waiting(out), &event);
  must(event == HTTP1_HEAD && eaten == http1_out_waiting(out));
  must(p.framing.body == f->body && p.framing.length == f->length && !p.framing.upgrade);
  http1_parser_free(&p);
}

static void pass_on(struct http2_stream *t)
{
  struct http1_out out = {0};
  struct http1_target target;
  struct http1_refusal why;

  must(http1_target_of(&t->head, &target, &why) == 0);
  rewrite_request(&out, &t->head, &t->framing, &target, &(struct rewrite_fields){0},
                  &(struct forwarded_by){.client = "127.0.0.1:1", .peer = "127.0.0.1:1"});
  read_again(&out, &t->framing);
  http1_out_free(&out);
}

static const char *answer_of(const struct http2_stream *t)
{
  static const char sized[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
  static const char chunked[] = "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                "chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
  static const char empty[] = "HTTP/1.1 204 No\r\nConnection: x\r\nX: y\r\n\r\n";
  static const char not_modified[] = "HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n";
  static const char *const answers[] = {sized, chunked, empty, not_modified};
  struct http1_text path = http1_head_text(&t->head, t->path);
  return answers[path.size % (sizeof answers / sizeof answers[0])];
}

/* All of it at once, as long as nothing of the answer waits. */
static void answer(struct http2_stream *t)
{
  const char *text = answer_of(t);
  size_t size = strlen(text);
  struct http1_parser p;
  enum http1_event event;

  http1_parser_init(&p, true);
  for (size_t at = 0; at < size;) {
    at += http1_parser_feed(&p, text + at, size - at, &event);
    if (event == HTTP1_HEAD)
      http1_clean_head(&p.head, false);
    if (event == HTTP1_HEAD && p.head.status < 200)
      http2_stream_interim(t, &p.head);
    else if (event == HTTP1_HEAD)
      http2_stream_head(t, &p.head, &p.framing);
    else if (event == HTTP1_BODY)
      http2_stream_put(t, p.piece);
    else if (event == HTTP1_END && p.head.status < 200)
      http1_parser_next(&p, true);
  }
  http1_parser_feed(&p, "", 0, &event);
  http2_stream_finish(t, &p.head, p.trailers);
  http1_parser_free(&p);
}

static void serve(struct http2_stream *t)
{
  if (t->closed) {
    http2_stream_free(t);
    return;
  }
  size_t waiting = http1_out_waiting(&t->body);
  must(waiting <= HTTP2_WINDOW && t->trailers.count <= HTTP1_FIELDS_MAX);
  if (t->user == NULL) {
    t->user = t;
    if (t->refusal == 0)
      pass_on(t);
    if (t->path.size % 7 == 5)
      http2_stream_reset(t, t->path.size % 2 == 0);
    else
      answer(t);
  }
  http1_out_drop(&t->body, waiting);
  if (t->path.size % 3 > 0) /* a target that takes nothing */
    http2_stream_took(t, waiting);
}

static void step(struct http2_session *s, const char *bytes, size_t size, uint64_t now)
{
  struct http2_stream *t;
  struct http1_out out = {0};
  char *copy = malloc(size);

  must(copy != NULL);
  memcpy(copy, bytes, size);
  http2_session_feed(s, copy, size, now);
  free(copy);
  while ((t = http2_session_next(s)) != NULL)
    serve(t);
  http2_session_pull(s, &out, OUT);
  must(http1_out_waiting(&out) < OUT_MAX);
  http1_out_free(&out);
}

/* The first byte says in what pieces the rest comes, and whether it ends in order. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct http2_session *s;
  uint64_t now = 1;

  if (size == 0 || http2_session_open(&s, now) != 0)
    return 0;
  size_t piece = (size_t)1 << (data[0] & 15);
  if (data[0] < 128)
    step(s, http2_preface, HTTP2_PREFACE_SIZE, now);
  for (size_t at = 1; at < size && !http2_session_is_over(s); at += piece)
    step(s, (const char *)data + at, size - at < piece ? size - at : piece, now += 10);
  if ((data[0] & 64) != 0) {
    http2_session_drain(s);
    step(s, "", 0, now);
    http2_session_drain_now(s);
  }
  step(s, "", 0, now);
  http2_session_free(s);
  return 0;
}
