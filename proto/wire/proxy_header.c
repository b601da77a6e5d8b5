/* Version 1 is a line of text, version 2 a signature, what follows, and addresses as they are on the wire. */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "end_address.h"

enum {
  SIGNATURE_SIZE = 12,
  V2_SIZE = 16, /* without addresses */
  V2_LOCAL = 0x20,
  V2_PROXY = 0x21,
  V2_TCP4 = 0x11,
  V2_TCP6 = 0x21,
  PORT_SIZE = 2,
};

static const char *const names[] = {[PROXY_OFF] = "off", [PROXY_V1] = "v1", [PROXY_V2] = "v2"};

int proxy_version_parse(const char *text, enum proxy_version *out)
{
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(text, names[i]) == 0) {
      *out = (enum proxy_version)i;
      return 0;
    }
  }
  return -EINVAL;
}

const char *proxy_version_name(enum proxy_version version)
{
  return names[version];
}

static size_t address_size(const struct end_address *e)
{
  return e->size - (size_t)PORT_SIZE;
}

static unsigned port_of(const struct end_address *e)
{
  const uint8_t *port = e->bytes + address_size(e);
  return (unsigned)port[0] << 8 | port[1];
}

static size_t write_text(const struct end_address *client, const struct end_address *at, char out[PROXY_HEADER_MAX])
{
  char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
  bool v4 = client->size == END_ADDRESS_V4;
  int family = v4 ? AF_INET : AF_INET6;
  if (client->size == 0 || inet_ntop(family, client->bytes, from, sizeof from) == NULL ||
      inet_ntop(family, at->bytes, to, sizeof to) == NULL)
    return (size_t)snprintf(out, PROXY_HEADER_MAX, "PROXY UNKNOWN\r\n");
  return (size_t)snprintf(out, PROXY_HEADER_MAX, "PROXY TCP%c %s %s %u %u\r\n", v4 ? '4' : '6', from, to,
                          port_of(client), port_of(at));
}

static size_t put(char *out, size_t at, const void *bytes, size_t size)
{
  memcpy(out + at, bytes, size);
  return at + size;
}

static size_t write_binary(const struct end_address *client, const struct end_address *at, char out[PROXY_HEADER_MAX])
{
  static const char signature[SIGNATURE_SIZE] = "\r\n\r\n\0\r\nQUIT\n";
  uint8_t family = client->size == END_ADDRESS_V4 ? V2_TCP4 : V2_TCP6, rest = 2 * client->size;
  const uint8_t known[] = {V2_PROXY, family, 0, rest}, unknown[] = {V2_LOCAL, 0, 0, 0};
  size_t size = put(out, 0, signature, sizeof signature);
  if (client->size == 0)
    return put(out, size, unknown, sizeof unknown);
  size = put(out, size, known, sizeof known);
  size = put(out, size, client->bytes, address_size(client));
  size = put(out, size, at->bytes, address_size(at));
  size = put(out, size, client->bytes + address_size(client), PORT_SIZE);
  return put(out, size, at->bytes + address_size(at), PORT_SIZE);
}

size_t proxy_header_write(enum proxy_version version, const struct end_addresses *ends, char out[PROXY_HEADER_MAX])
{
  const struct end_address none = {.size = ends->client.size};
  const struct end_address *at = ends->client_at.size == ends->client.size ? &ends->client_at : &none;
  if (version == PROXY_OFF)
    return 0;
  return (version == PROXY_V1 ? write_text : write_binary)(&ends->client, at, out);
}
