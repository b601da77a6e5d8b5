#include "written.h"

#include <errno.h>
#include <string.h>

#include "proto/http1/parser.h"

/* The head with its lines ended as they should be. How many bytes it was; 0: it has no end. */
static size_t mend_head(const char *bytes, size_t size, struct http1_out *head)
{
  for (size_t at = 0; at < size;) {
    const char *lf = memchr(bytes + at, '\n', size - at);
    if (lf == NULL)
      return 0;
    size_t line = (size_t)(lf - bytes) - at;
    size_t text = line > 0 && bytes[at + line - 1] == '\r' ? line - 1 : line;
    http1_out_put(head, bytes + at, text);
    http1_out_puts(head, "\r\n");
    at += line + 1;
    if (text == 0)
      return at;
  }
  return 0;
}

/* 0, or -EINVAL. */
static int check_chunks(struct http1_parser *p, const char *body, size_t size, const char **why)
{
  enum http1_event event = HTTP1_BODY;
  while (event == HTTP1_BODY) {
    size_t eaten = http1_parser_feed(p, body, size, &event);
    body += eaten;
    size -= eaten;
  }
  if (event == HTTP1_END && size == 0)
    return 0;
  *why = event == HTTP1_REFUSED ? p->refusal.why
         : event == HTTP1_END   ? "more follows behind the last chunk"
                                : "the last chunk is missing";
  return -EINVAL;
}

static int write_out(struct http1_parser *p, const char *body, size_t size, struct http1_out *out, const char **why)
{
  struct http1_head *h = &p->head;
  unsigned fields = h->count;
  http1_out_text(out, http1_head_text(h, h->method));
  http1_out_puts(out, " ");
  http1_out_text(out, http1_head_text(h, h->target));
  http1_out_puts(out, h->minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  if (p->framing.body != HTTP1_CHUNKED)
    http1_head_drop(h, "content-length");
  http1_write_fields(out, h, 0, fields);
  if (p->framing.body != HTTP1_CHUNKED)
    http1_write_framing(out, HTTP1_SIZED, size > 0 || p->framing.has_length, size);
  http1_out_puts(out, "\r\n");
  http1_out_put(out, body, size);
  return p->framing.body == HTTP1_CHUNKED ? check_chunks(p, body, size, why) : 0;
}

static int read_head(struct http1_parser *p, const struct http1_out *head, const char **why)
{
  enum http1_event event;
  size_t eaten = http1_parser_feed(p, head->bytes, head->size, &event);
  if (event == HTTP1_HEAD && eaten == head->size)
    return 0;
  *why = event == HTTP1_REFUSED ? p->refusal.why : "it is no request";
  return -EINVAL;
}

int written_request(const char *bytes, size_t size, struct http1_out *out, const char **why)
{
  struct http1_out head = {0};
  struct http1_parser p;
  size_t body_at = mend_head(bytes, size, &head);
  *out = (struct http1_out){0};
  *why = "an empty line is missing, which ends the head of a request";
  http1_parser_init(&p, false);
  int error = head.failed ? -ENOMEM : body_at == 0 ? -EINVAL : read_head(&p, &head, why);
  if (error == 0)
    error = write_out(&p, bytes + body_at, size - body_at, out, why);
  if (error == 0 && out->failed)
    error = -ENOMEM;
  if (error == -ENOMEM)
    *why = "memory is short";
  if (error != 0)
    http1_out_free(out);
  http1_parser_free(&p);
  http1_out_free(&head);
  return error;
}
