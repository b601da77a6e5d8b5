/* X-Forwarded-For grows at its end: what the last of several fronts wrote is believed because the gate knows it, what
 * the one before wrote because that one is known, and so on up to the first address that is nobody's of ours. What
 * stands before that one anybody may have written. */
#include "trust.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/http1/grammar.h"

int trust_add(struct trust *t, const char *list, const char **why)
{
  struct http1_text rest = {list, strlen(list)}, one;
  bool any = false;

  *why = "a network is wanted, as 10.0.0.0/8, or unix";
  for (; grammar_next(&rest, &one); any = true) {
    if (grammar_is_word(one, "unix")) {
      t->local = true;
      continue;
    }
    if (t->count == TRUST_MAX) {
      *why = "these are too many networks: 64 are possible";
      return -EINVAL;
    }
    if (network_parse(one.at, one.size, &t->all[t->count], why) != 0)
      return -EINVAL;
    t->count++;
  }
  return any ? 0 : -EINVAL;
}

static bool has(const struct trust *t, const struct network *address)
{
  for (size_t i = 0; i < t->count; i++) {
    if (network_has(&t->all[i], address))
      return true;
  }
  return false;
}

bool trust_has(const struct trust *t, const char *client)
{
  struct network address;
  if (strncmp(client, "unix:", 5) == 0)
    return t->local;
  return t->count > 0 && network_of_client(client, &address) && has(t, &address);
}

/* An address, as proxies write it: with a port or without, one of IPv6 in brackets or not. */
static bool read_address(struct http1_text text, struct network *out)
{
  const char *why;
  char copy[TRUST_CLIENT_SIZE];

  if (text.size == 0 || text.size >= sizeof copy)
    return false;
  memcpy(copy, text.at, text.size);
  copy[text.size] = '\0';
  if (memchr(copy, '/', text.size) == NULL && network_parse(copy, text.size, out, &why) == 0)
    return true;
  const char *last = strrchr(copy, ':');
  if (copy[0] == '[' && copy[text.size - 1] == ']')
    return network_parse(copy + 1, text.size - 2, out, &why) == 0;
  return last != NULL && (copy[0] == '[' || strchr(copy, ':') == last) && network_of_client(copy, out);
}

/* The list's last element, which is taken off. */
static bool last_of(struct http1_text *list, struct http1_text *element)
{
  while (list->size > 0) {
    size_t at = list->size;
    while (at > 0 && list->at[at - 1] != ',')
      at--;
    *element = grammar_trim((struct http1_text){list->at + at, list->size - at});
    list->size = at > 0 ? at - 1 : 0;
    if (element->size > 0)
      return true;
  }
  return false;
}

static void write_client(const struct network *address, char out[TRUST_CLIENT_SIZE])
{
  char text[NETWORK_TEXT_SIZE];
  network_format(address, text);
  snprintf(out, TRUST_CLIENT_SIZE, address->v4 ? "%s:0" : "[%s]:0", text);
}

bool trust_client(const struct trust *t, const struct http1_head *h, char out[TRUST_CLIENT_SIZE])
{
  bool found = false;

  for (unsigned i = h->count; i-- > 0;) {
    struct http1_text list = http1_head_value(h, i), element;
    if (h->fields[i].dropped || !grammar_is_word(http1_head_name(h, i), "x-forwarded-for"))
      continue;
    while (last_of(&list, &element)) {
      struct network address;
      if (!read_address(element, &address))
        return found;
      write_client(&address, out);
      found = true;
      if (!has(t, &address))
        return true;
    }
  }
  return found;
}

bool trust_https(const struct http1_head *h, bool otherwise)
{
  unsigned i = http1_head_find(h, "x-forwarded-proto", 0);
  if (i == h->count)
    return otherwise;
  struct http1_text value = grammar_trim(http1_head_value(h, i));
  return grammar_is_word(value, "https") || (otherwise && !grammar_is_word(value, "http"));
}
