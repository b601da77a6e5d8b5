#include "rewrite.h"

#include <string.h>

#include "proto/http1/clean.h"

/* Host stands first. */
static void write_host(struct http1_out *out, const struct http1_target *target, const struct rewrite_fields *own)
{
  for (size_t i = 0; i < own->count; i++) {
    if (strcmp(own->all[i].lower, "host") == 0) {
      http1_out_field(out, "Host", own->all[i].value);
      return;
    }
  }
  http1_out_field(out, "Host", target->authority);
}

static void write_own(struct http1_out *out, const struct rewrite_fields *own)
{
  for (size_t i = 0; i < own->count; i++) {
    if (strcmp(own->all[i].lower, "host") != 0)
      http1_out_field(out, own->all[i].name, own->all[i].value);
  }
}

void rewrite_request(struct http1_out *out, struct http1_head *h, const struct http1_framing *f,
                     const struct http1_target *target, const struct rewrite_fields *own, const struct forwarded_by *by)
{
  http1_clean_head(h, f->upgrade);
  forwarded_clean(h);
  http1_head_drop(h, "host");
  for (size_t i = 0; i < own->count; i++)
    http1_head_drop(h, own->all[i].lower);
  if (!f->expects_continue)
    http1_head_drop(h, "expect");
  http1_write_request_line(out, http1_head_text(h, h->method), target->path);
  write_host(out, target, own);
  http1_write_fields(out, h, 0, h->count);
  write_own(out, own);
  forwarded_write(out, h, by, target->authority);
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

void rewrite_piece(struct http1_out *out, struct http1_text piece, bool chunked)
{
  if (chunked)
    http1_write_chunk(out, piece);
  else
    http1_out_text(out, piece);
}

void rewrite_trailers(struct http1_out *out, struct http1_head *h, unsigned from)
{
  http1_clean_trailers(h, from);
  http1_write_last_chunk(out, h, from);
}
