#include "writer.h"

#include <stdlib.h>
#include <string.h>

#include "chunk.h"

enum { OUT_FIRST = 4096 };

/* ---- Bytes ---- */

static bool make_room(struct http1_out *out, size_t size)
{
  if (out->failed)
    return false;
  if (out->at == out->size)
    out->at = out->size = 0;
  if (out->size + size <= out->capacity)
    return true;
  size_t capacity = out->capacity > 0 ? out->capacity : OUT_FIRST;
  while (capacity < out->size + size)
    capacity *= 2;
  char *bytes = realloc(out->bytes, capacity);
  if (bytes == NULL) {
    out->failed = true;
    return false;
  }
  out->bytes = bytes;
  out->capacity = capacity;
  return true;
}

void http1_out_put(struct http1_out *out, const char *bytes, size_t size)
{
  if (size == 0 || !make_room(out, size))
    return;
  memcpy(out->bytes + out->size, bytes, size);
  out->size += size;
}

void http1_out_puts(struct http1_out *out, const char *text)
{
  http1_out_put(out, text, strlen(text));
}

void http1_out_text(struct http1_out *out, struct http1_text text)
{
  http1_out_put(out, text.at, text.size);
}

void http1_out_number(struct http1_out *out, uint64_t number)
{
  char digits[20];
  size_t at = sizeof digits;
  do
    digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  http1_out_put(out, digits + at, sizeof digits - at);
}

void http1_out_field(struct http1_out *out, const char *name, struct http1_text value)
{
  http1_out_puts(out, name);
  http1_out_puts(out, ": ");
  http1_out_text(out, value);
  http1_out_puts(out, "\r\n");
}

size_t http1_out_waiting(const struct http1_out *out)
{
  return out->size - out->at;
}

void http1_out_drop(struct http1_out *out, size_t size)
{
  out->at += size;
  if (out->at == out->size)
    out->at = out->size = 0;
}

void http1_out_free(struct http1_out *out)
{
  free(out->bytes);
  *out = (struct http1_out){0};
}

/* ---- Messages ---- */

const char *http1_reason(unsigned status)
{
  static const struct {
    unsigned status;
    const char *reason;
  } known[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {103, "Early Hints"},
      {200, "OK"},
      {204, "No Content"},
      {304, "Not Modified"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {414, "URI Too Long"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (known[i].status == status)
      return known[i].reason;
  return "";
}

void http1_write_request_line(struct http1_out *out, struct http1_text method, struct http1_text path)
{
  http1_out_text(out, method);
  http1_out_puts(out, " ");
  if (path.size > 0 && path.at[0] == '?') /* of http://HOST?QUERY */
    http1_out_puts(out, "/");
  http1_out_text(out, path);
  http1_out_puts(out, " HTTP/1.1\r\n");
}

void http1_write_status_line(struct http1_out *out, unsigned status, struct http1_text reason)
{
  http1_out_puts(out, "HTTP/1.1 ");
  http1_out_number(out, status);
  http1_out_puts(out, " ");
  if (reason.size > 0)
    http1_out_text(out, reason);
  else
    http1_out_puts(out, http1_reason(status));
  http1_out_puts(out, "\r\n");
}

void http1_write_fields(struct http1_out *out, const struct http1_head *h, unsigned from, unsigned to)
{
  for (unsigned i = from; i < to; i++) {
    if (h->fields[i].dropped)
      continue;
    http1_out_text(out, http1_head_name(h, i));
    http1_out_puts(out, ": ");
    http1_out_text(out, http1_head_value(h, i));
    http1_out_puts(out, "\r\n");
  }
}

void http1_write_framing(struct http1_out *out, enum http1_body body, bool has_length, uint64_t length)
{
  if (body == HTTP1_CHUNKED) {
    http1_out_puts(out, "Transfer-Encoding: chunked\r\n");
  } else if (has_length) {
    http1_out_puts(out, "Content-Length: ");
    http1_out_number(out, length);
    http1_out_puts(out, "\r\n");
  }
}

void http1_write_chunk(struct http1_out *out, struct http1_text piece)
{
  char head[HTTP1_CHUNK_HEAD_MAX];
  if (piece.size == 0)
    return;
  http1_out_put(out, head, http1_chunk_write(head, piece.size));
  http1_out_text(out, piece);
  http1_out_puts(out, "\r\n");
}

void http1_write_last_chunk(struct http1_out *out, const struct http1_head *h, unsigned trailers)
{
  http1_out_puts(out, "0\r\n");
  http1_write_fields(out, h, trailers, h->count);
  http1_out_puts(out, "\r\n");
}
