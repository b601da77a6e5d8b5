/* The fields of a request become a head of HTTP/1, which the rules for such a head are applied to: both versions are
 * read in one way. The authority is the Host; if there is one, too, it stands in the target, as in the absolute form.
 */
#include <string.h>

#include "http2_internal.h"
#include "proto/http1/first_line.h"
#include "proto/http1/target.h"

enum {
  OVERHEAD = 4,      /* of a field in HTTP/1 */
  PATIENCE_HEADS = 4 /* so many limits of a head are decompressed, to answer; then it is meant ill */
};

static void refuse(struct http2_stream *t, unsigned status)
{
  if (t->refusal == 0)
    t->refusal = status;
}

static struct http1_span append(struct http2_stream *t, struct http1_head *h, struct http1_text text)
{
  struct http1_span span = {(uint32_t)h->size, (uint32_t)text.size};
  if (http1_head_append(h, text.at, text.size) != 0) {
    refuse(t, 500);
    return (struct http1_span){0, 0};
  }
  return span;
}

static void add_field(struct http2_stream *t, struct http1_head *h, struct http1_span name, struct http1_span value)
{
  if (t->refusal == 0 && http1_head_add_field(h, name, value) != 0)
    refuse(t, 500);
}

static void add(struct http2_stream *t, struct http1_head *h, struct http1_text name, struct http1_text value)
{
  struct http1_span name_span = append(t, h, name);
  add_field(t, h, name_span, append(t, h, value));
}

static void pseudo(struct http2_stream *t, struct http1_text name, struct http1_text value)
{
  if (grammar_is_word(name, ":method"))
    t->head.method = append(t, &t->head, value);
  else if (grammar_is_word(name, ":path"))
    t->path = append(t, &t->head, value);
  else if (grammar_is_word(name, ":authority"))
    t->authority = append(t, &t->head, value);
  else if (grammar_is_word(name, ":scheme") && grammar_is_word(value, "https"))
    t->https = true;
  else if (!grammar_is_word(name, ":scheme") || !grammar_is_word(value, "http"))
    refuse(t, 400);
  if (grammar_is_word(name, ":authority") && value.size == 0)
    refuse(t, 400);
}

/* Clients may send a cookie in crumbs, so that each is compressed by itself; in HTTP/1 there is one field of them. */
static void crumb(struct http2_stream *t, struct http1_text value)
{
  if (http1_out_waiting(&t->cookies) > 0)
    http1_out_puts(&t->cookies, "; ");
  http1_out_text(&t->cookies, value);
  if (t->cookies.failed)
    refuse(t, 500);
}

static bool is_value(struct http1_text value)
{
  for (size_t i = 0; i < value.size; i++)
    if (!grammar_is_value_character((unsigned char)value.at[i]))
      return false;
  return true;
}

/* Whether it is within bounds. What is beyond is read on, for the sake of the others' compression, but not for ever. */
static bool count(struct http2_stream *t, struct http1_text name, struct http1_text value)
{
  bool is_pseudo = name.size > 0 && name.at[0] == ':';
  t->bytes += name.size + value.size + OVERHEAD;
  t->fields += !is_pseudo;
  if (t->bytes > (size_t)PATIENCE_HEADS * HTTP1_HEAD_MAX || t->fields > PATIENCE_HEADS * HTTP1_FIELDS_MAX)
    http2_session_give_up(t->session, NGHTTP2_ENHANCE_YOUR_CALM);
  return t->bytes <= HTTP1_HEAD_MAX && t->fields <= HTTP1_FIELDS_MAX;
}

static bool trailer(struct http2_stream *t, struct http1_text name, struct http1_text value)
{
  if (t->refusal != 0)
    return true;
  add(t, &t->trailers, name, value);
  return t->refusal == 0;
}

bool http2_field_came(struct http2_stream *t, struct http1_text name, struct http1_text value)
{
  bool fits = count(t, name, value), is_pseudo = name.size > 0 && name.at[0] == ':';

  if (!is_value(value) || (!is_pseudo && !grammar_is_token(name)))
    return false;
  if (t->in_trailers)
    return fits && !is_pseudo && trailer(t, name, value);
  if (!fits)
    refuse(t, grammar_is_word(name, ":path") ? 414 : 431);
  else if (is_pseudo)
    pseudo(t, name, value);
  else if (grammar_is_word(name, "cookie"))
    crumb(t, value);
  else
    add(t, &t->head, name, value);
  return true;
}

/* ---- A whole head ---- */

static bool method_is(const struct http2_stream *t, const char *name)
{
  struct http1_text method = http1_head_text(&t->head, t->head.method);
  return method.size == strlen(name) && memcmp(method.at, name, method.size) == 0;
}

/* Of scheme, authority and path; of the target "*" there is no path. */
static void absolute_target(struct http2_stream *t, bool star)
{
  struct http1_head *h = &t->head;
  struct http1_out text = {0};

  http1_out_puts(&text, t->https ? "https://" : "http://");
  http1_out_text(&text, http1_head_text(h, t->authority));
  if (!star)
    http1_out_text(&text, http1_head_text(h, t->path));
  if (text.failed)
    refuse(t, 500);
  else
    h->target = append(t, h, (struct http1_text){text.bytes, text.size});
  http1_out_free(&text);
}

static unsigned settle_framing(struct http2_stream *t, bool ended)
{
  struct http1_framing *f = &t->framing;
  struct http1_refusal why;

  if (http1_head_find(&t->head, "transfer-encoding", 0) < t->head.count ||
      http1_head_find(&t->head, "connection", 0) < t->head.count)
    return 400;
  if (http1_framing_of_request(&t->head, f, &why) != 0)
    return why.status;
  if (ended && f->body == HTTP1_SIZED)
    return 400;
  if (!ended && !f->has_length)
    f->body = HTTP1_CHUNKED;
  /* In HTTP/1 a length of nothing is expected of these. */
  if (ended && (method_is(t, "POST") || method_is(t, "PUT") || method_is(t, "PATCH")))
    f->has_length = true;
  f->upgrade = false;
  return 0;
}

static unsigned settle(struct http2_stream *t, bool ended)
{
  struct http1_head *h = &t->head;
  struct http1_text host, port;
  struct http1_target target;
  struct http1_refusal why;

  h->minor = 1;
  h->target = t->path;
  if (http1_request_check(h, &why) != 0)
    return why.status;
  bool star = t->path.size == 1 && h->text[t->path.at] == '*';
  if (star ? !method_is(t, "OPTIONS") : h->text[t->path.at] != '/')
    return 400;
  if (t->authority.size > 0 && !http1_authority_check(http1_head_text(h, t->authority), &host, &port))
    return 400;
  if (t->authority.size > 0 && http1_head_find(h, "host", 0) == h->count)
    add_field(t, h, append(t, h, (struct http1_text){"host", 4}), t->authority);
  else if (t->authority.size > 0)
    absolute_target(t, star);
  if (t->refusal != 0)
    return t->refusal;
  if (http1_target_of(h, &target, &why) != 0)
    return why.status;
  return settle_framing(t, ended);
}

void http2_head_came(struct http2_stream *t, bool ended)
{
  if (t->refusal == 0 && http1_out_waiting(&t->cookies) > 0)
    add(t, &t->head, (struct http1_text){"cookie", 6},
        (struct http1_text){t->cookies.bytes, http1_out_waiting(&t->cookies)});
  http1_out_free(&t->cookies);
  unsigned status = t->refusal == 0 ? settle(t, ended) : t->refusal;
  refuse(t, status);
  t->fields = 0;
}
