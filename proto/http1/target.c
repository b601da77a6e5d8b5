/* A request names its host in Host, in an absolute target, or in both; if they differ, programs behind each other would
 * serve different hosts.
 */
#include "target.h"

#include <string.h>

static bool is_host_character(unsigned char c)
{
  static const char others[] = "-._~!$&'()*+;=%";
  bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
  return letter || (c >= '0' && c <= '9') || (c != '\0' && strchr(others, c) != NULL);
}

static bool is_v6(struct http1_text t)
{
  if (t.size < 4 || t.at[0] != '[' || t.at[t.size - 1] != ']')
    return false;
  for (size_t i = 1; i + 1 < t.size; i++)
    if (grammar_hex_digit((unsigned char)t.at[i]) < 0 && t.at[i] != ':' && t.at[i] != '.')
      return false;
  return memchr(t.at, ':', t.size) != NULL;
}

static bool is_name(struct http1_text t)
{
  for (size_t i = 0; i < t.size; i++)
    if (!is_host_character((unsigned char)t.at[i]) || (t.at[i] == '.' && i + 1 < t.size && t.at[i + 1] == '.'))
      return false;
  return t.size > 0 && t.size <= 255 && t.at[0] != '.';
}

static bool is_port(struct http1_text t)
{
  unsigned port = 0;
  for (size_t i = 0; i < t.size; i++) {
    if (t.at[i] < '0' || t.at[i] > '9' || i >= 5)
      return false;
    port = port * 10 + (unsigned)(t.at[i] - '0');
  }
  return t.size > 0 && port > 0 && port < 65536;
}

bool http1_authority_check(struct http1_text text, struct http1_text *host, struct http1_text *port)
{
  size_t at = text.size;
  while (at > 0 && text.at[at - 1] >= '0' && text.at[at - 1] <= '9')
    at--;
  *host = text;
  *port = (struct http1_text){"", 0};
  if (at > 0 && text.at[at - 1] == ':') {
    *host = (struct http1_text){text.at, at - 1};
    *port = (struct http1_text){text.at + at, text.size - at};
    if (!is_port(*port))
      return false;
  }
  if (host->size > 0 && host->at[0] == '[')
    return is_v6(*host);
  if (!is_name(*host))
    return false;
  if (host->at[host->size - 1] == '.')
    host->size--;
  return true;
}

static int refuse(struct http1_refusal *why, unsigned status, const char *phrase)
{
  *why = (struct http1_refusal){status, phrase};
  return -1;
}

/* The one that its scheme has anyway says nothing. */
static struct http1_text real_port(struct http1_text port, bool https)
{
  return grammar_is_word(port, https ? "443" : "80") ? (struct http1_text){"", 0} : port;
}

static int absolute_form(struct http1_text target, struct http1_target *out, bool *https)
{
  struct http1_text scheme = {target.at, target.size < 7 ? target.size : 7}, port;
  *https = false;
  if (!grammar_is_word(scheme, "http://")) {
    scheme.size = target.size < 8 ? target.size : 8;
    *https = true;
    if (!grammar_is_word(scheme, "https://"))
      return -1;
  }
  target.at += scheme.size;
  target.size -= scheme.size;
  size_t size = 0;
  while (size < target.size && target.at[size] != '/' && target.at[size] != '?')
    size++;
  out->authority = (struct http1_text){target.at, size};
  out->path = (struct http1_text){target.at + size, target.size - size};
  return http1_authority_check(out->authority, &out->host, &port) ? 0 : -1;
}

static int one_host(const struct http1_head *h, struct http1_text *value, bool *there, struct http1_refusal *why)
{
  unsigned at = http1_head_find(h, "host", 0);
  *there = at < h->count;
  if (!*there)
    return h->minor > 0 ? refuse(why, 400, "no Host") : 0;
  *value = http1_head_value(h, at);
  return http1_head_find(h, "host", at + 1) < h->count ? refuse(why, 400, "several Host fields") : 0;
}

int http1_target_of(const struct http1_head *h, struct http1_target *out, struct http1_refusal *why)
{
  struct http1_text target = http1_head_text(h, h->target), method = http1_head_text(h, h->method);
  struct http1_text host, value = {"", 0}, port = {"", 0}, absolute_port;
  bool there, https, options = method.size == 7 && memcmp(method.at, "OPTIONS", 7) == 0;

  *out = (struct http1_target){.authority = {"", 0}, .host = {"", 0}, .path = target};
  if (one_host(h, &value, &there, why) != 0)
    return -1;
  if (there && !http1_authority_check(value, &host, &port))
    return refuse(why, 400, "Host is no host");
  if (there) {
    out->authority = value;
    out->host = host;
  }
  bool star = target.size == 1 && target.at[0] == '*';
  if (star && !options)
    return refuse(why, 400, "the target * without OPTIONS");
  if (star || target.at[0] == '/')
    return there ? 0 : refuse(why, 400, "no Host");
  struct http1_target absolute;
  if (absolute_form(target, &absolute, &https) != 0)
    return refuse(why, 400, "the target is neither a path nor an http URL");
  http1_authority_check(absolute.authority, &absolute.host, &absolute_port);
  if (there &&
      (!grammar_equal(absolute.host, host) || !grammar_equal(real_port(absolute_port, https), real_port(port, https))))
    return refuse(why, 400, "Host is not that of the target");
  if (absolute.path.size == 0)
    absolute.path = options ? (struct http1_text){"*", 1} : (struct http1_text){"/", 1};
  *out = absolute;
  return 0;
}
