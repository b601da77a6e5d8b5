/* A message has one length, or it is refused: where two programs read two lengths, one of them takes a part of the body
 * for the next message.
 */
#include "framing.h"

#include <string.h>

static int refuse(struct http1_refusal *why, unsigned status, const char *phrase)
{
  *why = (struct http1_refusal){status, phrase};
  return -1;
}

static bool parse_length(struct http1_text t, uint64_t *out)
{
  *out = 0;
  for (size_t i = 0; i < t.size; i++) {
    if (t.at[i] < '0' || t.at[i] > '9' || *out > (uint64_t)INT64_MAX / 10)
      return false;
    *out = *out * 10 + (uint64_t)(t.at[i] - '0');
    if (*out > INT64_MAX)
      return false;
  }
  return t.size > 0;
}

static int find_length(const struct http1_head *h, struct http1_framing *out, struct http1_refusal *why)
{
  uint64_t length;
  for (unsigned i = http1_head_find(h, "content-length", 0); i < h->count;
       i = http1_head_find(h, "content-length", i + 1)) {
    if (!parse_length(http1_head_value(h, i), &length))
      return refuse(why, 400, "Content-Length is no length");
    if (out->has_length && out->length != length)
      return refuse(why, 400, "two lengths that differ");
    out->has_length = true;
    out->length = length;
  }
  return 0;
}

static int find_coding(const struct http1_head *h, bool *chunked, struct http1_refusal *why)
{
  unsigned at = http1_head_find(h, "transfer-encoding", 0);
  *chunked = at < h->count;
  if (!*chunked)
    return 0;
  if (h->minor == 0)
    return refuse(why, 400, "Transfer-Encoding in HTTP/1.0");
  if (http1_head_find(h, "transfer-encoding", at + 1) < h->count)
    return refuse(why, 400, "several Transfer-Encoding fields");
  struct http1_text value = http1_head_value(h, at);
  if (grammar_is_word(value, "chunked"))
    return 0;
  return refuse(why, grammar_is_token(value) ? 501 : 400, "a Transfer-Encoding other than chunked");
}

static bool connection_has(const struct http1_head *h, const char *word)
{
  for (unsigned i = http1_head_find(h, "connection", 0); i < h->count; i = http1_head_find(h, "connection", i + 1)) {
    struct http1_text list = http1_head_value(h, i), element;
    while (grammar_next(&list, &element))
      if (grammar_is_word(element, word))
        return true;
  }
  return false;
}

/* h2c would take the rest of the connection out of our sight, and lead past every rule; TLS is between neighbours. */
static bool may_upgrade(const struct http1_head *h)
{
  unsigned at = http1_head_find(h, "upgrade", 0);
  if (h->minor == 0 || at == h->count || http1_head_find(h, "upgrade", at + 1) < h->count)
    return false;
  struct http1_text value = http1_head_value(h, at), name = value;
  const char *slash = memchr(value.at, '/', value.size);
  if (slash != NULL)
    name.size = (size_t)(slash - value.at);
  return grammar_is_token(name) && !grammar_is_word(name, "h2c") && !grammar_is_word(name, "h2") &&
         !grammar_is_word(name, "http") && !grammar_is_word(name, "tls") && connection_has(h, "upgrade");
}

static bool is_persistent(const struct http1_head *h)
{
  if (connection_has(h, "close"))
    return false;
  return h->minor > 0 || connection_has(h, "keep-alive");
}

static int find_both(const struct http1_head *h, struct http1_framing *out, bool *chunked, struct http1_refusal *why)
{
  *out = (struct http1_framing){0};
  if (find_length(h, out, why) != 0 || find_coding(h, chunked, why) != 0)
    return -1;
  if (*chunked && out->has_length)
    return refuse(why, 400, "both Content-Length and Transfer-Encoding");
  out->persistent = is_persistent(h);
  out->upgrade = may_upgrade(h);
  return 0;
}

int http1_framing_of_request(const struct http1_head *h, struct http1_framing *out, struct http1_refusal *why)
{
  bool chunked;
  if (find_both(h, out, &chunked, why) != 0)
    return -1;
  if (chunked)
    out->body = HTTP1_CHUNKED;
  else if (out->has_length)
    out->body = out->length > 0 ? HTTP1_SIZED : HTTP1_NO_BODY;
  for (unsigned i = http1_head_find(h, "expect", 0); i < h->count; i = http1_head_find(h, "expect", i + 1)) {
    if (!grammar_is_word(http1_head_value(h, i), "100-continue"))
      return refuse(why, 417, "an Expect other than 100-continue");
    out->expects_continue = h->minor > 0;
  }
  return 0;
}

int http1_framing_of_answer(const struct http1_head *h, bool to_head, struct http1_framing *out,
                            struct http1_refusal *why)
{
  bool chunked;
  if (find_both(h, out, &chunked, why) != 0)
    return -1;
  out->upgrade = out->upgrade && h->status == 101;
  if (h->status < 200 || h->status == 204) {
    out->body = HTTP1_NO_BODY;
    out->has_length = false;
  } else if (to_head || h->status == 304) {
    out->body = HTTP1_NO_BODY;
  } else if (chunked) {
    out->body = HTTP1_CHUNKED;
  } else if (out->has_length) {
    out->body = out->length > 0 ? HTTP1_SIZED : HTTP1_NO_BODY;
  } else {
    out->body = HTTP1_TO_CLOSE;
    out->persistent = false;
  }
  return 0;
}
