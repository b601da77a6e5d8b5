/* Where the router takes raw streams, as its watch tells. They are in the clear, and go straight there: so they are
 * used where the watch is and does the same. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"

/* HOST:PORT, where HOST is an address. */
static bool read_address(const char *text, struct endpoint *out)
{
  struct address address;
  struct endpoints one = {0};
  struct in_addr v4;
  struct in6_addr v6;
  const char *why;

  if (address_parse_target(text, &address, &why) != 0 || address.kind != ADDRESS_TCP)
    return false;
  if (inet_pton(AF_INET, address.host, &v4) == 1)
    endpoints_add_v4(&one, &v4, address.port);
  else if (inet_pton(AF_INET6, address.host, &v6) == 1)
    endpoints_add_v6(&one, &v6, 0, address.port);
  *out = one.at[0];
  return one.count == 1;
}

static bool read_port(const char *text, uint16_t *out)
{
  struct address address;
  const char *why;

  if (text[strspn(text, "0123456789")] != '\0' || address_parse_target(text, &address, &why) != 0)
    return false;
  *out = address.port;
  return true;
}

const char *link_streams_read(const Mindmeld__WatchServicesResponse *news, const struct endpoint *at,
                              struct link_streams *out)
{
  const char *text = news->stream_addr;
  struct endpoint to = *at;
  uint16_t port = 0;

  memset(out, 0, sizeof *out);
  if (text[0] == '\0')
    return "the router takes no raw streams";
  if (news->stream_watch.len != sizeof out->watch || news->stream_secret.len != sizeof out->secret)
    return "the router does not say how";
  if (text[0] != ':' ? !read_address(text, &to) : text[1] != '\0' && !read_port(text + 1, &port))
    return "the router says an address that cannot be read";
  if (text[0] == ':' && text[1] != '\0')
    endpoint_set_port(&to, port);
  out->address = to.bytes;
  memcpy(out->watch, news->stream_watch.data, sizeof out->watch);
  memcpy(out->secret, news->stream_secret.data, sizeof out->secret);
  return NULL;
}

void link_streams_take(struct link_path *p, const Mindmeld__WatchServicesResponse *first)
{
  const struct link *l = p->link;

  if (l->options.tls)
    p->no_streams = "TLS";
  else if (l->proxied)
    p->no_streams = "an HTTP proxy";
  else
    p->no_streams = link_streams_read(first, &p->at, &p->streams);
  if (first->stream_secret.len > 0)
    explicit_bzero(first->stream_secret.data, first->stream_secret.len);
}

const struct link_streams *link_streams(const struct link *l, const char **why)
{
  const struct link_path *p = l->path;

  if (p == NULL || p->state != PATH_WATCHED) {
    *why = p != NULL ? "the router speaks the first version" : "";
    return NULL;
  }
  *why = p->no_streams;
  return p->no_streams == NULL ? &p->streams : NULL;
}
