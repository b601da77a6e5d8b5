/* Both families are compared as 16 bytes; but a network of v6 has no address of v4. */
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { V4_BITS = 32, V6_BITS = 128, MAPPED_BITS = 96 };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static void mask(struct network *n)
{
  for (unsigned i = 0; i < sizeof n->address; i++) {
    unsigned kept = n->bits > i * 8 ? n->bits - i * 8 : 0;
    if (kept < 8)
      n->address[i] &= (uint8_t)(0xff00U >> kept);
  }
}

static bool address_read(const char *text, size_t size, struct network *n)
{
  char copy[INET6_ADDRSTRLEN];

  if (size >= sizeof copy)
    return false;
  memcpy(copy, text, size);
  copy[size] = '\0';
  memcpy(n->address, mapped, sizeof mapped);
  n->v4 = inet_pton(AF_INET, copy, n->address + sizeof mapped) == 1;
  n->bits = V6_BITS;
  return n->v4 || inet_pton(AF_INET6, copy, n->address) == 1;
}

/* -1: it is no number from 0 to `most`, written as numbers are. */
static int prefix_read(const char *text, size_t size, int most)
{
  int bits = 0;

  if (size < 1 || size > 3 || (size > 1 && text[0] == '0'))
    return -1;
  for (size_t i = 0; i < size; i++) {
    if (text[i] < '0' || text[i] > '9')
      return -1;
    bits = bits * 10 + (text[i] - '0');
  }
  return bits <= most ? bits : -1;
}

static void take_v4_out_of_v6(struct network *n)
{
  n->v4 = n->bits >= MAPPED_BITS && memcmp(n->address, mapped, sizeof mapped) == 0;
}

int network_parse(const char *text, size_t size, struct network *out, const char **why)
{
  const char *slash = memchr(text, '/', size);
  size_t length = slash != NULL ? (size_t)(slash - text) : size;

  *why = "an address or a network is wanted, as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32";
  if (memchr(text, '\0', size) != NULL || !address_read(text, length, out))
    return -EINVAL;
  if (slash != NULL) {
    int bits = prefix_read(slash + 1, size - length - 1, out->v4 ? V4_BITS : V6_BITS);
    *why = out->v4 ? "behind the / stands how many bits count, 0 to 32"
                   : "behind the / stands how many bits count, 0 to 128";
    if (bits < 0)
      return -EINVAL;
    out->bits = (uint8_t)(bits + (out->v4 ? MAPPED_BITS : 0));
  }
  if (!out->v4)
    take_v4_out_of_v6(out);
  mask(out);
  return 0;
}

const char *network_format(const struct network *n, char out[NETWORK_TEXT_SIZE])
{
  int family = n->v4 ? AF_INET : AF_INET6;
  unsigned bits = n->v4 ? (unsigned)n->bits - MAPPED_BITS : n->bits;

  inet_ntop(family, n->address + (n->v4 ? sizeof mapped : 0), out, NETWORK_TEXT_SIZE);
  if (n->bits < V6_BITS)
    snprintf(out + strlen(out), NETWORK_TEXT_SIZE - strlen(out), "/%u", bits);
  return out;
}

bool network_of_client(const char *client, struct network *out)
{
  const char *colon = strrchr(client, ':');

  if (colon == NULL || strncmp(client, "unix:", 5) == 0)
    return false;
  const char *end = colon;
  if (client[0] == '[') {
    client++;
    end = memchr(client, ']', (size_t)(colon - client));
    if (end == NULL)
      return false;
  }
  const char *zone = memchr(client, '%', (size_t)(end - client));
  if (!address_read(client, (size_t)((zone != NULL ? zone : end) - client), out))
    return false;
  if (!out->v4)
    take_v4_out_of_v6(out);
  return true;
}

bool network_has(const struct network *n, const struct network *address)
{
  unsigned whole = n->bits / 8, rest = n->bits % 8;

  if (n->v4 != address->v4 || memcmp(n->address, address->address, whole) != 0)
    return false;
  return rest == 0 || ((n->address[whole] ^ address->address[whole]) & (0xff00U >> rest) & 0xff) == 0;
}
