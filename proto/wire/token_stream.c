/* Collects length and Header from whatever pieces come, then looks for the token in the Header. It is parsed by hand: a
 * NUL inside would pass unseen through a C string. */
#include "token_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "wire.h"

enum { LENGTH_SIZE = 4, FIELD_TOKEN = 1 };

static size_t header_size(const struct token_stream *t)
{
  return (size_t)t->bytes[0] | (size_t)t->bytes[1] << 8 | (size_t)t->bytes[2] << 16 | (size_t)t->bytes[3] << 24;
}

/* How many bytes the sequence at `s` has, 0 when it is not UTF-8 (overlong and surrogates are not). */
static size_t utf8_sequence(const uint8_t *s, size_t size)
{
  if (s[0] < 0x80)
    return 1;
  size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
  if (n == 0 || n > size)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
  bool outside = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
  return overlong || outside ? 0 : n;
}

static bool is_text(const uint8_t *s, size_t size)
{
  while (size > 0) {
    size_t n = utf8_sequence(s, size);
    if (n == 0 || *s == '\0')
      return false;
    s += n;
    size -= n;
  }
  return true;
}

static int take_token(struct token_stream *t)
{
  struct iovec header = {.iov_base = t->bytes + LENGTH_SIZE, .iov_len = header_size(t)};
  struct wire w = wire_open(&header, 1);
  struct wire_field field;
  const uint8_t *token = NULL;
  size_t size = 0;
  int result;
  while ((result = wire_next(&w, &field)) > 0) {
    if (field.number != FIELD_TOKEN || field.type != WIRE_BYTES)
      continue;
    token = t->bytes + LENGTH_SIZE + field.at;
    size = field.size;
  }
  if (result < 0)
    return result;
  if (size == 0 || size > TOKEN_MAX || !is_text(token, size))
    return -EBADMSG;
  memcpy(t->token, token, size);
  t->token[size] = '\0';
  return 0;
}

int token_stream_feed(struct token_stream *t, const void *bytes, size_t size, bool *done)
{
  size_t used = 0;
  *done = false;
  for (;;) {
    size_t want = LENGTH_SIZE;
    if (t->have >= LENGTH_SIZE) {
      want += header_size(t);
      if (want == LENGTH_SIZE || want > sizeof t->bytes)
        return -EBADMSG;
    }
    if (t->have == want) {
      *done = true;
      int error = t->token[0] == '\0' ? take_token(t) : 0;
      return error ? error : (int)used;
    }
    size_t piece = want - t->have < size - used ? want - t->have : size - used;
    if (piece == 0)
      return (int)used;
    memcpy(t->bytes + t->have, (const uint8_t *)bytes + used, piece);
    t->have += piece;
    used += piece;
  }
}

int token_stream_write(uint8_t *out, size_t size, const char *token)
{
  size_t length = strlen(token);
  size_t varint = length < 0x80 ? 1 : 2;
  size_t header = 1 + varint + length;
  if (length > TOKEN_MAX || LENGTH_SIZE + header > size)
    return -E2BIG;
  *out++ = (uint8_t)header;
  *out++ = (uint8_t)(header >> 8);
  *out++ = 0;
  *out++ = 0;
  *out++ = FIELD_TOKEN << 3 | WIRE_BYTES;
  if (varint == 2)
    *out++ = (uint8_t)(length | 0x80);
  *out++ = (uint8_t)(varint == 2 ? length >> 7 : length);
  memcpy(out, token, length);
  return (int)(LENGTH_SIZE + header);
}
