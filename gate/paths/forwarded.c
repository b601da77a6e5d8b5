#include "forwarded.h"

#include <string.h>

void forwarded_clean(struct http1_head *h)
{
  static const char *const names[] = {"forwarded",        "x-forwarded-for",    "x-forwarded-host", "x-forwarded-proto",
                                      "x-forwarded-port", "x-forwarded-server", "x-forwarded-by",   "x-real-ip",
                                      "x_forwarded_for",  "x_forwarded_host",   "x_forwarded_proto"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    http1_head_drop(h, names[i]);
}

/* Without port and brackets. */
static struct http1_text address_of(const char *client)
{
  const char *colon = strrchr(client, ':');
  if (colon == NULL || strncmp(client, "unix:", 5) == 0)
    return (struct http1_text){"unknown", 7};
  if (client[0] == '[')
    return (struct http1_text){client + 1, (size_t)(colon - client) - 2};
  return (struct http1_text){client, (size_t)(colon - client)};
}

void forwarded_write(struct http1_out *out, const char *client, struct http1_text host, bool https)
{
  struct http1_text address = address_of(client);
  bool v6 = memchr(address.at, ':', address.size) != NULL;

  http1_out_field(out, "X-Forwarded-For", address);
  http1_out_puts(out, https ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n");
  if (host.size > 0)
    http1_out_field(out, "X-Forwarded-Host", host);
  http1_out_puts(out, v6 ? "Forwarded: for=\"[" : "Forwarded: for=");
  http1_out_text(out, address);
  http1_out_puts(out, v6 ? "]\"" : "");
  if (host.size > 0) {
    http1_out_puts(out, ";host=\"");
    http1_out_text(out, host);
    http1_out_puts(out, "\"");
  }
  http1_out_puts(out, https ? ";proto=https\r\n" : ";proto=http\r\n");
}
