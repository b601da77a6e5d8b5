/* A name is copied in lower case, and checked as it stands then. What a URL spells in several ways (escapes, empty and
 * dotted segments) is refused in a path, so that a gate compares bytes. */
#include "public_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool label_valid(const char *label, size_t size)
{
  if (size < 1 || size > PUBLIC_LABEL_MAX || label[0] == '-' || label[size - 1] == '-')
    return false;
  for (size_t i = 0; i < size; i++) {
    if (label[i] == '\0' || strchr("abcdefghijklmnopqrstuvwxyz0123456789-", label[i]) == NULL)
      return false;
  }
  return true;
}

bool public_host_valid(const char *host, size_t size)
{
  if (size >= PUBLIC_HOST_SIZE)
    return false;
  for (;;) {
    const char *dot = memchr(host, '.', size);
    size_t length = dot != NULL ? (size_t)(dot - host) : size;
    if (!label_valid(host, length))
      return false;
    if (dot == NULL)
      return true;
    host += length + 1;
    size -= length + 1;
  }
}

/* Whether it looks like an IPv4 address, which no resolver takes for a name. */
static bool is_address(const char *host)
{
  const char *dot = strrchr(host, '.');
  return dot != NULL && strspn(dot + 1, "0123456789") == strlen(dot + 1);
}

static char lower(char c)
{
  static const char pairs[] = "AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz";
  if (c < 'A' || c > 'Z')
    return c;
  return strchr(pairs, c)[1];
}

static int host_read(const char *text, size_t size, char out[PUBLIC_HOST_SIZE], const char **why)
{
  if (memchr(text, ':', size) != NULL) {
    *why = "a public name has no scheme and no port: write a host, as app.example.com";
    return -EINVAL;
  }
  if (memchr(text, '*', size) != NULL) {
    *why = "a public name is one host, without a *";
    return -EINVAL;
  }
  *why = "a host is written as app or app.example.com, in letters a to z, digits, and hyphens within";
  if (size >= PUBLIC_HOST_SIZE)
    return -EINVAL;
  for (size_t i = 0; i < size; i++)
    out[i] = lower(text[i]);
  out[size] = '\0';
  if (!public_host_valid(out, size))
    return -EINVAL;
  if (!is_address(out))
    return 0;
  *why = "that is an address: a public name is a host, as app.example.com";
  return -EINVAL;
}

static bool segment_valid(const char *segment, size_t size)
{
  if (size == 0 || (size == 1 && segment[0] == '.') || (size == 2 && memcmp(segment, "..", 2) == 0))
    return false;
  for (size_t i = 0; i < size; i++) {
    if (segment[i] <= ' ' || segment[i] > '~' || strchr("\"#%<>?\\^`{|}", segment[i]) != NULL)
      return false;
  }
  return true;
}

/* `text` begins with a slash, or is empty. */
static int path_read(const char *text, char out[PUBLIC_PATH_SIZE], const char **why)
{
  size_t size = strlen(text);
  if (size > 0 && text[size - 1] == '/')
    size--;
  *why = "a path is at most 128 bytes, as /api: no query, no escapes, no empty or dotted segments";
  if (size >= PUBLIC_PATH_SIZE)
    return -EINVAL;
  for (size_t at = 0; at < size;) {
    const char *segment = text + at + 1;
    const char *slash = memchr(segment, '/', size - at - 1);
    size_t length = slash != NULL ? (size_t)(slash - segment) : size - at - 1;
    if (!segment_valid(segment, length))
      return -EINVAL;
    at += 1 + length;
  }
  memcpy(out, text, size);
  out[size] = '\0';
  return 0;
}

int public_name_parse(const char *text, bool tls, struct public_name *out, const char **why)
{
  size_t size = strcspn(text, "/");
  *out = (struct public_name){.tls = tls};
  if (tls && text[size] != '\0') {
    *why = "TLS that is passed on unread is known by its host alone: leave out the path";
    return -EINVAL;
  }
  int error = host_read(text, size, out->host, why);
  return error == 0 ? path_read(text + size, out->path, why) : error;
}

int public_port_parse(const char *text, struct public_name *out, const char **why)
{
  size_t size = strlen(text);
  *out = (struct public_name){.tls = false};
  *why = "a public port is a number from 1 to 65535, or 0 for one that the router chooses";
  if (size < 1 || size > 5 || strspn(text, "0123456789") != size || (size > 1 && text[0] == '0'))
    return -EINVAL;
  unsigned long number = strtoul(text, NULL, 10);
  if (number > UINT16_MAX)
    return -EINVAL;
  public_name_set_port(out, (uint16_t)number);
  return 0;
}

int public_name_told(const char *text, bool tls, struct public_name *out, const char **why)
{
  return text[0] == ':' ? public_port_parse(text + 1, out, why) : public_name_parse(text, tls, out, why);
}

static bool is_port(const struct public_name *name)
{
  return name->host[0] == ':';
}

const char *public_name_format(const struct public_name *name, char out[PUBLIC_TEXT_SIZE])
{
  snprintf(out, PUBLIC_TEXT_SIZE, "%s%s", name->host + is_port(name), name->path);
  return out;
}

enum public_kind public_name_kind(const struct public_name *name)
{
  if (is_port(name))
    return PUBLIC_PORT;
  return name->tls ? PUBLIC_TLS : PUBLIC_HTTP;
}

uint16_t public_name_port(const struct public_name *name)
{
  return (uint16_t)strtoul(name->host + 1, NULL, 10);
}

void public_name_set_port(struct public_name *name, uint16_t port)
{
  snprintf(name->host, sizeof name->host, ":%u", (unsigned)port);
}

bool public_name_equal(const struct public_name *a, const struct public_name *b)
{
  return a->tls == b->tls && strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0;
}

bool public_name_is_label(const struct public_name *name)
{
  return strchr(name->host, '.') == NULL && !is_port(name);
}

bool public_name_is_auto(const struct public_name *name)
{
  return strcmp(name->host, "auto") == 0;
}
