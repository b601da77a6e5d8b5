#include "chunk.h"

enum { DIGITS_MAX = 16 };

static size_t spaces(struct http1_text t, size_t at)
{
  while (at < t.size && (t.at[at] == ' ' || t.at[at] == '\t'))
    at++;
  return at;
}

static size_t token(struct http1_text t, size_t at)
{
  while (at < t.size && grammar_is_token_character((unsigned char)t.at[at]))
    at++;
  return at;
}

/* Behind the closing quote, or 0. */
static size_t quoted(struct http1_text t, size_t at)
{
  for (at++; at < t.size; at++) {
    if (t.at[at] == '"')
      return at + 1;
    if (t.at[at] == '\\')
      at++;
  }
  return 0;
}

/* *( ";" name [ "=" value ] ), with spaces around the signs, but none at the end. */
static bool are_extensions(struct http1_text t, size_t at)
{
  while (at < t.size) {
    at = spaces(t, at);
    if (at == t.size || t.at[at] != ';')
      return false;
    size_t name = spaces(t, at + 1);
    at = token(t, name);
    if (at == name)
      return false;
    size_t sign = spaces(t, at);
    if (sign == t.size || t.at[sign] != '=')
      continue;
    size_t value = spaces(t, sign + 1);
    at = value < t.size && t.at[value] == '"' ? quoted(t, value) : token(t, value);
    if (at <= value)
      return false;
  }
  return true;
}

bool http1_chunk_parse(struct http1_text line, uint64_t *size)
{
  size_t at = 0;
  int digit;

  *size = 0;
  for (; at < line.size && (digit = grammar_hex_digit((unsigned char)line.at[at])) >= 0; at++) {
    if (at == DIGITS_MAX || *size > (uint64_t)INT64_MAX >> 4)
      return false;
    *size = *size << 4 | (unsigned)digit;
  }
  return at > 0 && are_extensions(line, at);
}

size_t http1_chunk_write(char out[HTTP1_CHUNK_HEAD_MAX], uint64_t size)
{
  unsigned digits = 1;
  while (digits < DIGITS_MAX && size >> (4 * digits) != 0)
    digits++;
  for (unsigned i = 0; i < digits; i++)
    out[i] = "0123456789abcdef"[size >> (4 * (digits - 1 - i)) & 15];
  out[digits] = '\r';
  out[digits + 1] = '\n';
  return digits + 2;
}
