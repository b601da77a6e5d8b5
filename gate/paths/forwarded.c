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

/* NULL: the peer says nothing that counts. */
static const struct http1_field *told_host(const struct http1_head *h, const struct forwarded_by *by)
{
  for (unsigned i = 0; by->trusted && i < h->count; i++) {
    if (h->fields[i].value.size > 0 && grammar_is_word(http1_head_name(h, i), "x-forwarded-host"))
      return &h->fields[i];
  }
  return NULL;
}

static void write_for(struct http1_out *out, struct http1_text address)
{
  bool v6 = memchr(address.at, ':', address.size) != NULL;

  http1_out_puts(out, v6 ? "for=\"[" : "for=");
  http1_out_text(out, address);
  http1_out_puts(out, v6 ? "]\"" : "");
}

void forwarded_write(struct http1_out *out, const struct http1_head *h, const struct forwarded_by *by,
                     struct http1_text host)
{
  struct http1_text client = address_of(by->client), peer = address_of(by->peer);
  const struct http1_field *told = told_host(h, by);
  bool by_front = strcmp(by->client, by->peer) != 0;

  http1_out_puts(out, "X-Forwarded-For: ");
  http1_out_text(out, client);
  http1_out_puts(out, by_front ? ", " : "");
  http1_out_text(out, by_front ? peer : (struct http1_text){"", 0});
  http1_out_puts(out, by->https ? "\r\nX-Forwarded-Proto: https\r\n" : "\r\nX-Forwarded-Proto: http\r\n");
  if (told != NULL)
    http1_out_field(out, "X-Forwarded-Host", http1_head_text(h, told->value));
  else if (host.size > 0)
    http1_out_field(out, "X-Forwarded-Host", host);
  http1_out_puts(out, "Forwarded: ");
  write_for(out, client);
  if (by_front) {
    http1_out_puts(out, ", ");
    write_for(out, peer);
  }
  if (host.size > 0) {
    http1_out_puts(out, ";host=\"");
    http1_out_text(out, host);
    http1_out_puts(out, "\"");
  }
  http1_out_puts(out, by->https ? ";proto=https\r\n" : ";proto=http\r\n");
}
