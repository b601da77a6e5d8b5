/* One table of bits says what a character may be. */
#include "grammar.h"

#include <stdint.h>
#include <string.h>

enum { TOKEN = 1, VALUE = 2, TARGET = 4 };

static const uint8_t classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 7, 6, 3, 7,
    7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
};

bool grammar_is_token_character(unsigned char c)
{
  return (classes[c] & TOKEN) != 0;
}

bool grammar_is_value_character(unsigned char c)
{
  return (classes[c] & VALUE) != 0;
}

bool grammar_is_target_character(unsigned char c)
{
  return (classes[c] & TARGET) != 0;
}

int grammar_hex_digit(unsigned char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool grammar_is_token(struct http1_text t)
{
  for (size_t i = 0; i < t.size; i++)
    if (!grammar_is_token_character((unsigned char)t.at[i]))
      return false;
  return t.size > 0;
}

static int lower(char c)
{
  return c >= 'A' && c <= 'Z' ? c | 32 : c;
}

bool grammar_equal(struct http1_text a, struct http1_text b)
{
  if (a.size != b.size)
    return false;
  for (size_t i = 0; i < a.size; i++)
    if (lower(a.at[i]) != lower(b.at[i]))
      return false;
  return true;
}

bool grammar_is_word(struct http1_text t, const char *word)
{
  return grammar_equal(t, (struct http1_text){word, strlen(word)});
}

static bool is_space(char c)
{
  return c == ' ' || c == '\t';
}

struct http1_text grammar_trim(struct http1_text t)
{
  while (t.size > 0 && is_space(t.at[0])) {
    t.at++;
    t.size--;
  }
  while (t.size > 0 && is_space(t.at[t.size - 1]))
    t.size--;
  return t;
}

bool grammar_next(struct http1_text *list, struct http1_text *element)
{
  while (list->size > 0) {
    const char *comma = memchr(list->at, ',', list->size);
    size_t size = comma != NULL ? (size_t)(comma - list->at) : list->size;
    *element = grammar_trim((struct http1_text){list->at, size});
    size += comma != NULL;
    list->at += size;
    list->size -= size;
    if (element->size > 0)
      return true;
  }
  return false;
}
