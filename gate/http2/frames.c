#include "frames.h"

enum { DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PING = 6, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PREFACE = 24, HEADER = 9, EARNING = 1024 };

void http2_frames_init(struct http2_frames *f, uint64_t now)
{
  *f = (struct http2_frames){.preface = PREFACE, .budget = HTTP2_BUDGET, .at = now};
}

static void fill(struct http2_frames *f, uint64_t now)
{
  uint64_t earned = now > f->at ? (now - f->at) * HTTP2_BUDGET_A_SECOND / 1000 : 0;
  if (earned == 0)
    return;
  f->budget = earned < HTTP2_BUDGET - f->budget ? f->budget + (unsigned)earned : HTTP2_BUDGET;
  f->at = now;
}

bool http2_frames_spend(struct http2_frames *f, unsigned cost)
{
  bool enough = f->budget >= cost;
  f->budget = enough ? f->budget - cost : 0;
  return enough;
}

void http2_frames_earn(struct http2_frames *f, size_t bytes)
{
  if (bytes >= EARNING && f->budget < HTTP2_BUDGET)
    f->budget++;
}

bool http2_frames_in_head(const struct http2_frames *f)
{
  return f->preface > 0 || f->open || (f->fields && f->left > 0);
}

static uint32_t number(const uint8_t bytes[4])
{
  return ((uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3]) & INT32_MAX;
}

static bool may_pass(struct http2_frames *f, unsigned type, unsigned flags)
{
  switch (type) {
  case DATA:
    http2_frames_earn(f, f->left);
    return f->left > 0 || (flags & END_STREAM) != 0 || http2_frames_spend(f, 1);
  case RST_STREAM:
    return http2_frames_spend(f, HTTP2_COST_RESET);
  case SETTINGS:
  case PING:
  case CONTINUATION:
    return http2_frames_spend(f, 1);
  default:
    return true;
  }
}

static enum http2_verdict begin(struct http2_frames *f)
{
  unsigned type = f->header[3], flags = f->header[4];

  f->left = (size_t)f->header[0] << 16 | (size_t)f->header[1] << 8 | f->header[2];
  f->fields = type == HEADERS || type == CONTINUATION;
  f->open = f->fields && (flags & END_HEADERS) == 0;
  if (type == PRIORITY && number(f->header + 5) == 0)
    return HTTP2_FRAMES_WRONG;
  return may_pass(f, type, flags) ? HTTP2_FRAMES_FINE : HTTP2_FRAMES_TOO_MANY;
}

static bool depends_on_itself(const struct http2_frames *f)
{
  return f->header[3] == PRIORITY && f->have == sizeof f->header && number(f->header + 5) == number(f->header + HEADER);
}

static size_t least(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* A header, or what is looked at of a payload. */
static enum http2_verdict take_byte(struct http2_frames *f, uint8_t byte)
{
  f->header[f->have++] = byte;
  if (f->have == HEADER)
    return begin(f);
  if (f->have < HEADER)
    return HTTP2_FRAMES_FINE;
  f->left--;
  return depends_on_itself(f) ? HTTP2_FRAMES_WRONG : HTTP2_FRAMES_FINE;
}

static bool looks_at_payload(const struct http2_frames *f)
{
  return f->have >= HEADER && f->left > 0 && f->header[3] == PRIORITY && f->have < sizeof f->header;
}

enum http2_verdict http2_frames_see(struct http2_frames *f, const char *bytes, size_t size, uint64_t now)
{
  enum http2_verdict verdict = HTTP2_FRAMES_FINE;
  size_t at = least(f->preface, size);

  fill(f, now);
  f->preface -= at;
  while (at < size && verdict == HTTP2_FRAMES_FINE) {
    if (f->have < HEADER || looks_at_payload(f)) {
      verdict = take_byte(f, (uint8_t)bytes[at++]);
    } else {
      size_t payload = least(f->left, size - at);
      f->left -= payload;
      at += payload;
    }
    if (f->have >= HEADER && f->left == 0)
      f->have = 0;
  }
  return verdict;
}
