#include "rewrite.h"

#include "forwarded.h"
#include "gate/http1/clean.h"

void rewrite_request(struct http1_out *out, struct http1_parser *p, const struct http1_target *target,
                     const char *client, bool https)
{
  struct http1_head *h = &p->head;
  const struct http1_framing *f = &p->framing;

  http1_clean_head(h, f->upgrade);
  forwarded_clean(h);
  http1_head_drop(h, "host");
  if (!f->expects_continue)
    http1_head_drop(h, "expect");
  http1_write_request_line(out, http1_head_text(h, h->method), target->path);
  http1_out_field(out, "Host", target->authority);
  http1_write_fields(out, h, 0, h->count);
  forwarded_write(out, client, target->authority, https);
  http1_write_framing(out, f->body, f->has_length, f->length);
  if (f->upgrade)
    http1_out_puts(out, "Connection: Upgrade\r\n");
  http1_out_puts(out, "\r\n");
}

void rewrite_answer(struct http1_out *out, struct http1_parser *p)
{
  struct http1_head *h = &p->head;
  http1_clean_head(h, h->status == 101);
  http1_write_status_line(out, h->status, http1_head_text(h, h->reason));
  http1_write_fields(out, h, 0, h->count);
}

void rewrite_body(struct http1_out *out, struct http1_parser *p, enum http1_event event, bool chunked)
{
  if (event == HTTP1_BODY && chunked) {
    http1_write_chunk(out, p->piece);
  } else if (event == HTTP1_BODY) {
    http1_out_text(out, p->piece);
  } else if (event == HTTP1_END && chunked) {
    http1_clean_trailers(&p->head, p->trailers);
    http1_write_last_chunk(out, &p->head, p->trailers);
  }
}
