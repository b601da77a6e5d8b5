/* The text is made line by line, and the version and the checksum are known at its end. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state_format.h"
#include "state_format_internal.h"

uint32_t state_checksum(const char *bytes, size_t size)
{
  uint32_t crc = UINT32_MAX;

  for (size_t i = 0; i < size; i++) {
    crc ^= (unsigned char)bytes[i];
    for (int bit = 0; bit < 8; bit++)
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
  }
  return ~crc;
}

__attribute__((format(printf, 2, 3))) static void add(struct state_text *text, const char *format, ...)
{
  va_list values;
  int size;

  if (text->failed)
    return;
  if (text->room - text->size < LINE_MAX_SIZE) {
    size_t room = text->room * 2 + LINE_MAX_SIZE;
    char *larger = realloc(text->bytes, room);

    if (larger == NULL) {
      text->failed = true;
      return;
    }
    text->bytes = larger;
    text->room = room;
  }
  va_start(values, format);
  size = vsnprintf(text->bytes + text->size, text->room - text->size, format, values);
  va_end(values);
  text->size += (size_t)size;
}

void state_text_begin(struct state_text *text)
{
  *text = (struct state_text){.version = PLAIN_VERSION};
  add(text, HEAD "%d\n", PLAIN_VERSION);
}

void state_text_service(struct state_text *text, const char *name, const struct address *target)
{
  char address[ADDRESS_TEXT_MAX];

  if (target == NULL)
    add(text, "service %s\n", name);
  else
    add(text, "service %s %s\n", name, address_format(target, address));
}

static void needs(struct state_text *text, int version)
{
  if (text->version < version)
    text->version = version;
}

const char *const state_public_words[STATE_PUBLIC_WORDS] = {
    [PUBLIC_HTTP] = "http", [PUBLIC_TLS] = "tls", [PUBLIC_PORT] = "port"};

void state_text_public(struct state_text *text, const char *service, const struct public_name *name)
{
  char written[PUBLIC_TEXT_SIZE];

  _Static_assert(PUBLIC_TEXT_SIZE + 64 + sizeof "http  \n" <= LINE_MAX_SIZE, "a line has room for a public name");
  needs(text, public_name_kind(name) == PUBLIC_PORT ? VERSION : PUBLIC_VERSION);
  add(text, "%s %s %s\n", state_public_words[public_name_kind(name)], service, public_name_format(name, written));
}

void state_text_proxy(struct state_text *text, const char *service, enum proxy_version proxy)
{
  if (proxy == PROXY_OFF)
    return;
  needs(text, VERSION);
  add(text, "proxy %s %s\n", service, proxy_version_name(proxy));
}

static void add_page(struct state_text *text, const char *service, const struct rules_text *page)
{
  char written[sodium_base64_ENCODED_LEN(PAGE_PART, BASE64)];

  for (size_t at = 0, size; at < page->size; at += size) {
    size = page->size - at < PAGE_PART ? page->size - at : PAGE_PART;
    sodium_bin2base64(written, sizeof written, (const unsigned char *)page->at + at, size, BASE64);
    add(text, "rule %s %s %s\n", service, rules_word(RULE_OFFLINE), written);
  }
}

void state_text_rules(struct state_text *text, const char *service, const struct rules *rules)
{
  _Static_assert(RULE_LINE_SIZE + 64 + 32 <= LINE_MAX_SIZE, "a line has room for one of these");
  if (rules_size(rules) > 0)
    needs(text, VERSION);
  for (enum rule_kind kind = 0; kind < RULE_OFFLINE; kind++) {
    const char *line;
    size_t at = 0, size;

    while ((line = rules_line(&rules->of[kind], &at, &size)) != NULL)
      add(text, "rule %s %s %.*s\n", service, rules_word(kind), (int)size, line);
  }
  add_page(text, service, &rules->of[RULE_OFFLINE]);
}

void state_text_forward(struct state_text *text, const char *name, const struct address *listener)
{
  char address[ADDRESS_TEXT_MAX];

  add(text, "forward %s %s\n", name, address_format(listener, address));
}

int state_text_end(struct state_text *text)
{
  /* An mmfs that does not know them must not take the file for damaged. */
  if (!text->failed)
    text->bytes[strlen(HEAD)] = (char)('0' + text->version);
  if (!text->failed)
    add(text, END " %08" PRIx32 "\n", state_checksum(text->bytes, text->size));
  if (!text->failed)
    return 0;
  free(text->bytes);
  *text = (struct state_text){0};
  return -ENOMEM;
}
