/* The variables are those of gRPC, which read them before we did. */
#include "proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ENTRY_MAX = 256, PORT_DEFAULT = 80 };

static const char *first_set(char *(*get)(const char *name), const char *const *names, const char **name)
{
  for (; *names != NULL; names++) {
    const char *value = get(*names);

    *name = *names;
    if (value != NULL)
      return value;
  }
  return "";
}

/* ---- Whom it is not for. ---- */

/* 4 or 16 bytes; 0: it is no address. */
static size_t parse_ip(const char *text, uint8_t out[16])
{
  return inet_pton(AF_INET, text, out) == 1 ? 4 : inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static bool in_network(const uint8_t *ip, const uint8_t *network, size_t size, unsigned long bits)
{
  if (bits > 8 * size)
    return false;
  for (size_t i = 0; i < size && 8 * i < bits; i++) {
    uint8_t mask = bits - 8 * i >= 8 ? 0xff : (uint8_t)(0xff << (8 - (bits - 8 * i)));

    if ((ip[i] & mask) != (network[i] & mask))
      return false;
  }
  return true;
}

static bool ip_matches(char *entry, const uint8_t *ip, size_t size)
{
  char *slash = strchr(entry, '/');
  uint8_t network[16];
  unsigned long bits = 8 * size;

  if (slash != NULL) {
    *slash = '\0';
    bits = strtoul(slash + 1, NULL, 10);
  }
  return parse_ip(entry, network) == size && in_network(ip, network, size, bits);
}

static bool name_matches(const char *entry, const char *host)
{
  entry += entry[0] == '*' && entry[1] == '.' ? 2 : entry[0] == '.' ? 1 : 0;
  size_t want = strlen(entry), size = strlen(host);

  if (want == 0 || size < want || strcasecmp(host + size - want, entry) != 0)
    return false;
  return size == want || host[size - want - 1] == '.';
}

static bool matches(char *entry, const char *host)
{
  uint8_t ip[16];
  size_t size = parse_ip(host, ip);

  if (strcmp(entry, "*") == 0)
    return true;
  return size > 0 ? ip_matches(entry, ip, size) : name_matches(entry, host);
}

bool proxy_list_has(const char *list, const char *host)
{
  char entry[ENTRY_MAX];

  while (*list != '\0') {
    size_t size = strcspn(list, ", \t");

    if (size > 0 && size < sizeof entry) {
      memcpy(entry, list, size);
      entry[size] = '\0';
      if (matches(entry, host))
        return true;
    }
    list += size;
    list += strspn(list, ", \t");
  }
  return false;
}

/* ---- Which it is. ---- */

static int hex(char c)
{
  const char *digits = "0123456789abcdef", *found = c != '\0' ? strchr(digits, c | (c > '9' ? 0x20 : 0)) : NULL;

  return found != NULL ? (int)(found - digits) : -1;
}

/* As in a URL: %40 is @. */
static bool decode(char *out, size_t room, const char *text, size_t size)
{
  size_t used = 0;

  for (size_t i = 0; i < size && used + 1 < room; used++) {
    if (text[i] != '%') {
      out[used] = text[i++];
      continue;
    }
    int high = i + 2 < size ? hex(text[i + 1]) : -1;
    int low = high >= 0 ? hex(text[i + 2]) : -1;
    if (low < 0)
      return false;
    out[used] = (char)(high << 4 | low);
    i += 3;
  }
  out[used] = '\0';
  return used + 1 < room;
}

static bool parse(struct proxy *out, const char *url)
{
  static const char scheme[] = "http://";
  char where[ADDRESS_TEXT_MAX];
  const char *why, *login;
  size_t size;

  if (strncasecmp(url, scheme, sizeof scheme - 1) == 0)
    url += sizeof scheme - 1;
  else if (strstr(url, "://") != NULL)
    return false;
  size = strcspn(url, "/?#");
  login = memrchr(url, '@', size);
  if (login != NULL) {
    if (!decode(out->login, sizeof out->login, url, (size_t)(login - url)))
      return false;
    size -= (size_t)(login + 1 - url);
    url = login + 1;
  }
  if (size == 0 || size >= sizeof where)
    return false;
  memcpy(where, url, size);
  where[size] = '\0';
  return address_parse_router(where, PORT_DEFAULT, &out->address, &why) == 0;
}

bool proxy_find(struct proxy *out, const struct address *router, char *(*get)(const char *name))
{
  static const char *const proxies[] = {"grpc_proxy", "https_proxy", "http_proxy", NULL};
  static const char *const exceptions[] = {"no_grpc_proxy", "no_proxy", NULL};
  const char *ignored;

  memset(out, 0, sizeof *out);
  const char *url = first_set(get, proxies, &out->variable);
  return url[0] != '\0' && !address_is_loopback(router) && !address_is_localhost(router) &&
         !proxy_list_has(first_set(get, exceptions, &ignored), router->host) && parse(out, url);
}
