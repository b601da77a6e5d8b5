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

/* What came under this name, field after field, with commas between; nothing unless it is trusted. Whether there was
 * any. */
static bool write_former(struct http1_out *out, const struct http1_head *h, const struct forwarded_by *by,
                         const char *name)
{
  bool any = false;

  for (unsigned i = 0; by->adds && i < h->count; i++) {
    struct http1_text value = grammar_trim(http1_head_value(h, i));
    if (value.size == 0 || !grammar_is_word(http1_head_name(h, i), name))
      continue;
    http1_out_puts(out, any ? ", " : "");
    http1_out_text(out, value);
    any = true;
  }
  return any;
}

static void write_host(struct http1_out *out, const struct http1_head *h, const struct forwarded_by *by,
                       struct http1_text host)
{
  size_t begun = out->size;

  http1_out_puts(out, "X-Forwarded-Host: ");
  bool former = write_former(out, h, by, "x-forwarded-host");
  if (!former && host.size == 0) {
    out->size = begun;
    return;
  }
  if (!former)
    http1_out_text(out, host);
  http1_out_puts(out, "\r\n");
}

void forwarded_write(struct http1_out *out, const struct http1_head *h, const struct forwarded_by *by,
                     struct http1_text host)
{
  struct http1_text address = address_of(by->peer);
  bool v6 = memchr(address.at, ':', address.size) != NULL;

  http1_out_puts(out, "X-Forwarded-For: ");
  http1_out_puts(out, write_former(out, h, by, "x-forwarded-for") ? ", " : "");
  http1_out_text(out, address);
  http1_out_puts(out, by->https ? "\r\nX-Forwarded-Proto: https\r\n" : "\r\nX-Forwarded-Proto: http\r\n");
  write_host(out, h, by, host);
  http1_out_puts(out, "Forwarded: ");
  http1_out_puts(out, write_former(out, h, by, "forwarded") ? ", " : "");
  http1_out_puts(out, v6 ? "for=\"[" : "for=");
  http1_out_text(out, address);
  http1_out_puts(out, v6 ? "]\"" : "");
  if (host.size > 0) {
    http1_out_puts(out, ";host=\"");
    http1_out_text(out, host);
    http1_out_puts(out, "\"");
  }
  http1_out_puts(out, by->https ? ";proto=https\r\n" : ";proto=http\r\n");
}
