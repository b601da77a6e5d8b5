/* gRPC writes what is not allowed in a URI as %XX. */
#include "peer_name.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 80 };

static int hex_digit(char c)
{
  static const char digits[] = "0123456789abcdef";
  const char *found = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
  return found ? (int)(found - digits) : -1;
}

/* %5B is a bracket. False: it is too long, or malformed. */
static bool decode(char out[TEXT_MAX], const char *text)
{
  size_t used = 0;
  while (*text != '\0' && used < TEXT_MAX - 1) {
    if (*text != '%') {
      out[used++] = *text++;
      continue;
    }
    int high = hex_digit(text[1]);
    int low = high >= 0 ? hex_digit(text[2]) : -1;
    if (low < 0)
      return false;
    out[used++] = (char)(high << 4 | low);
    text += 3;
  }
  out[used] = '\0';
  return *text == '\0';
}

static bool port_parse(uint16_t *out, const char *text)
{
  char *end;
  if (*text < '0' || *text > '9')
    return false;
  unsigned long port = strtoul(text, &end, 10);
  *out = (uint16_t)port;
  return *end == '\0' && port <= UINT16_MAX;
}

void peer_name_map(uint8_t out[16], const struct in_addr *v4)
{
  memset(out, 0, 10);
  memset(out + 10, 0xff, 2);
  memcpy(out + 12, v4, 4);
}

static bool ipv4_parse(struct peer_name *out, const char *host)
{
  struct in_addr address;
  if (inet_pton(AF_INET, host, &address) != 1)
    return false;
  peer_name_map(out->address, &address);
  return true;
}

/* The scope of a link-local address is left out: the port tells such peers apart. */
static bool ipv6_parse(struct peer_name *out, char *host)
{
  size_t size = strlen(host);
  if (size < 2 || host[0] != '[' || host[size - 1] != ']')
    return false;
  host[size - 1] = '\0';
  host++;
  host[strcspn(host, "%")] = '\0';
  return inet_pton(AF_INET6, host, out->address) == 1;
}

bool peer_name_parse(struct peer_name *out, const char *text)
{
  char decoded[TEXT_MAX];
  if (!decode(decoded, text))
    return false;
  char *host = strchr(decoded, ':');
  char *port = strrchr(decoded, ':');
  if (!host || host == port || !port_parse(&out->port, port + 1))
    return false;
  *host++ = *port = '\0';
  if (strcmp(decoded, "ipv4") == 0)
    return ipv4_parse(out, host);
  return strcmp(decoded, "ipv6") == 0 && ipv6_parse(out, host);
}

size_t peer_name_host_size(const char *text)
{
  const char *colon = strrchr(text, ':');
  return colon != NULL && strchr(text, ':') != colon ? (size_t)(colon - text) : strlen(text);
}
