/* People write addresses by hand, into files and on command lines. So the parsers are strict, and a refusal says what
 * to write instead. A name whose last label is a number is refused unless it is a whole v4 address, because resolvers
 * read "127.1" or "0x7f000001" as one.
 */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <netinet/in.h>
#include <sys/un.h>

#include "proto/host/loopback.h"
#include "proto/host/plain.h"

_Static_assert(ADDRESS_PATH_MAX + 1 == sizeof(((struct sockaddr_un *)0)->sun_path), "a path fits a sockaddr_un");

enum { LABEL_MAX = 63, PORT_DIGITS = 5 };

static const char unix_prefix[] = "unix:";

static int refuse(int error, const char **why, const char *phrase)
{
  *why = phrase;
  return error;
}

/* By hand, since <ctype.h> depends on the locale. */
static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_lower(char c)
{
  return c >= 'a' && c <= 'z';
}

static bool is_host_byte(char c)
{
  return is_lower(c) || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

static bool all(const char *text, size_t size, bool (*test)(char))
{
  for (size_t i = 0; i < size; i++)
    if (!test(text[i]))
      return false;
  return true;
}

static int parse_port(const char *text, uint16_t least, uint16_t *out, const char **why)
{
  size_t size = strlen(text);
  unsigned value = 0;

  if (size == 0)
    return refuse(-EINVAL, why, "no port: write HOST:PORT");
  if (size <= PORT_DIGITS && all(text, size, is_digit))
    for (size_t i = 0; i < size; i++)
      value = value * 10 + (unsigned)(text[i] - '0');
  else
    value = UINT_MAX;
  if (value < least || value > UINT16_MAX)
    return refuse(-EINVAL, why,
                  least == 0 ? "the port is not a number from 0 to 65535" : "the port is not a number from 1 to 65535");
  *out = (uint16_t)value;
  return 0;
}

static bool label_is_number(const char *label, size_t size)
{
  if (size > 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
    return all(label + 2, size - 2, is_hex_digit);
  return size > 0 && all(label, size, is_digit);
}

static int check_label(const char *label, size_t size, const char **why)
{
  if (size == 0)
    return refuse(-EINVAL, why, "the host has an empty label");
  if (size > LABEL_MAX)
    return refuse(-ENAMETOOLONG, why, "the host has a label longer than 63 bytes");
  if (!all(label, size, is_host_byte))
    return refuse(-EINVAL, why, "the host has a character that host names cannot have");
  if (label[0] == '-' || label[size - 1] == '-')
    return refuse(-EINVAL, why, "the host has a label that begins or ends with a hyphen");
  return 0;
}

/* A name, or a v4 address. */
static int check_host(const char *host, const char **why)
{
  size_t size = strlen(host);
  const char *label = host;
  struct in_addr v4;

  if (size > 1 && host[size - 1] == '.')
    size--;
  for (;;) {
    size_t left = size - (size_t)(label - host);
    const char *dot = memchr(label, '.', left);
    size_t label_size = dot != NULL ? (size_t)(dot - label) : left;
    int rc = check_label(label, label_size, why);

    if (rc != 0)
      return rc;
    if (dot == NULL) {
      if (label_is_number(label, label_size) && inet_pton(AF_INET, host, &v4) != 1)
        return refuse(-EINVAL, why, "the host is neither a name nor a complete IPv4 address");
      return 0;
    }
    label = dot + 1;
  }
}

static int parse_host(const char *text, size_t size, struct address *out, const char **why)
{
  if (size > ADDRESS_HOST_MAX)
    return refuse(-ENAMETOOLONG, why, "the host is longer than 253 bytes");
  memcpy(out->host, text, size);
  out->host[size] = '\0';
  return check_host(out->host, why);
}

/* `text` is what stands between the brackets. The address is kept in its canonical form, so that equal ones are equal
 * as texts. */
static int parse_v6(const char *text, size_t size, struct address *out, const char **why)
{
  char copy[INET6_ADDRSTRLEN];
  struct in6_addr v6;

  if (memchr(text, '%', size) != NULL)
    return refuse(-EINVAL, why, "addresses with a zone (%eth0) are not supported");
  if (size >= sizeof(copy))
    return refuse(-EINVAL, why, "there is no IPv6 address between the brackets");
  memcpy(copy, text, size);
  copy[size] = '\0';
  if (inet_pton(AF_INET6, copy, &v6) != 1)
    return refuse(-EINVAL, why, "there is no IPv6 address between the brackets");
  inet_ntop(AF_INET6, &v6, out->host, sizeof(out->host));
  return 0;
}

static int parse_unix(const char *path, struct address *out, const char **why)
{
  size_t size = strlen(path);

  if (path[0] != '/')
    return refuse(-EINVAL, why, "the path is not absolute: write unix:/PATH");
  if (size > ADDRESS_PATH_MAX)
    return refuse(-ENAMETOOLONG, why, "the path of a unix socket is longer than 107 bytes");
  if (path[size - 1] == '/')
    return refuse(-EINVAL, why, "the path ends in a slash: write the path of the socket itself");
  for (size_t i = 0; i < size; i++)
    if (plain_is_control(path[i]))
      return refuse(-EINVAL, why, "the path has a control character");
  out->kind = ADDRESS_UNIX;
  memcpy(out->path, path, size + 1);
  return 0;
}

/* Splits HOST[:PORT] and [V6][:PORT]. *port_text is NULL when there is no colon. */
static int parse_tcp(const char *text, struct address *out, const char **port_text, const char **why)
{
  const char *colon;

  out->kind = ADDRESS_TCP;
  if (text[0] == '[') {
    const char *end = strchr(text, ']');

    if (end == NULL)
      return refuse(-EINVAL, why, "the bracket is not closed: write [V6]:PORT");
    if (end[1] != ':' && end[1] != '\0')
      return refuse(-EINVAL, why, "only :PORT may follow the bracket: write [V6]:PORT");
    *port_text = end[1] == ':' ? end + 2 : NULL;
    return parse_v6(text + 1, (size_t)(end - text) - 1, out, why);
  }
  if (strstr(text, "://") != NULL)
    return refuse(-EINVAL, why, "this is a URL: write HOST:PORT");
  colon = strchr(text, ':');
  if (colon != NULL && strchr(colon + 1, ':') != NULL)
    return refuse(-EINVAL, why, "there is more than one colon: write HOST:PORT, and an IPv6 address as [V6]:PORT");
  *port_text = colon != NULL ? colon + 1 : NULL;
  return parse_host(text, colon != NULL ? (size_t)(colon - text) : strlen(text), out, why);
}

static bool is_unix(const char *text)
{
  return strncmp(text, unix_prefix, sizeof(unix_prefix) - 1) == 0;
}

/* ":80", but not "::1". */
static bool lacks_host(const char *text)
{
  return text[0] == ':' && text[1] != ':';
}

static void begin(struct address *out, const char **why)
{
  memset(out, 0, sizeof(*out));
  *why = "";
}

/* What a port alone means, and what lacks its host. */
struct form {
  const char *host; /* of a port alone */
  uint16_t port_least;
  bool star; /* "*:80" lacks a host, too */
  const char *lacks_host;
};

static int parse_form(const struct form *form, const char *text, struct address *out, const char **why)
{
  const char *port = NULL;
  int rc;

  begin(out, why);
  if (text[0] == '\0')
    return refuse(-EINVAL, why, "empty: write PORT, HOST:PORT or unix:/PATH");
  if (is_unix(text))
    return parse_unix(text + sizeof(unix_prefix) - 1, out, why);
  if (text[0] == '/')
    return refuse(-EINVAL, why, "this is only a path: write unix:/PATH");
  if (lacks_host(text) || (form->star && text[0] == '*'))
    return refuse(-EINVAL, why, form->lacks_host);
  if (all(text, strlen(text), is_digit)) {
    strncpy(out->host, form->host, sizeof(out->host) - 1);
    return parse_port(text, form->port_least, &out->port, why);
  }
  rc = parse_tcp(text, out, &port, why);
  if (rc != 0)
    return rc;
  return parse_port(port != NULL ? port : "", form->port_least, &out->port, why);
}

int address_parse_target(const char *text, struct address *out, const char **why)
{
  static const struct form target = {
      .host = "localhost",
      .port_least = 1,
      .lacks_host = "the host is missing: write PORT for localhost, or HOST:PORT",
  };

  return parse_form(&target, text, out, why);
}

int address_parse_listener(const char *text, struct address *out, const char **why)
{
  static const struct form listener = {
      .host = "127.0.0.1",
      .port_least = 0,
      .star = true,
      .lacks_host =
          "the host is missing: write PORT for 127.0.0.1, 0.0.0.0:PORT for all v4 addresses, or [::]:PORT for "
          "all v6 ones",
  };

  return parse_form(&listener, text, out, why);
}

int address_parse_router(const char *text, uint16_t port, struct address *out, const char **why)
{
  const char *port_text = NULL;
  int rc;

  begin(out, why);
  if (text[0] == '\0' || lacks_host(text))
    return refuse(-EINVAL, why, "the host is missing: write HOST or HOST:PORT");
  /* A host named "unix" could not be written with its port. */
  if (is_unix(text) || strcmp(text, "unix") == 0 || text[0] == '/')
    return refuse(-EINVAL, why, "a router is reached by TCP: write HOST or HOST:PORT");
  if (strchr(text, '/') != NULL)
    return refuse(-EINVAL, why, "mmfs does not know this kind of URL: write HOST or HOST:PORT, or https://HOST");
  rc = parse_tcp(text, out, &port_text, why);
  if (rc != 0)
    return rc;
  out->port = port;
  return port_text != NULL ? parse_port(port_text, 1, &out->port, why) : 0;
}

const char *address_format(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
  if (a->kind == ADDRESS_UNIX)
    snprintf(out, ADDRESS_TEXT_MAX, "%s%s", unix_prefix, a->path);
  else if (strchr(a->host, ':') != NULL)
    snprintf(out, ADDRESS_TEXT_MAX, "[%s]:%u", a->host, a->port);
  else
    snprintf(out, ADDRESS_TEXT_MAX, "%s:%u", a->host, a->port);
  return out;
}

bool address_equal(const struct address *a, const struct address *b)
{
  if (a->kind != b->kind)
    return false;
  if (a->kind == ADDRESS_UNIX)
    return strcmp(a->path, b->path) == 0;
  return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

bool address_is_localhost(const struct address *a)
{
  static const char name[] = "localhost";
  size_t size = strlen(a->host), want = sizeof name - 1;

  if (a->kind != ADDRESS_TCP || size < want || strcasecmp(a->host + size - want, name) != 0)
    return false;
  return size == want || a->host[size - want - 1] == '.';
}

bool address_is_loopback(const struct address *a)
{
  return a->kind == ADDRESS_UNIX || loopback_is_host(a->host);
}

static bool v4_of(const char *host, struct in_addr *out)
{
  return inet_pton(AF_INET, strcasecmp(host, "localhost") == 0 ? "127.0.0.1" : host, out) == 1;
}

static bool v6_of(const char *host, struct in6_addr *out)
{
  return inet_pton(AF_INET6, strcasecmp(host, "localhost") == 0 ? "::1" : host, out) == 1;
}

/* To connect to no address in particular is to connect to this machine. */
static bool v4_leads_to(const char *target, const char *listener)
{
  struct in_addr to, at;

  if (!v4_of(target, &to) || !v4_of(listener, &at))
    return false;
  if (to.s_addr == htonl(INADDR_ANY))
    to.s_addr = htonl(INADDR_LOOPBACK);
  return to.s_addr == at.s_addr || (at.s_addr == htonl(INADDR_ANY) && loopback_is_v4(to));
}

static bool v6_leads_to(const char *target, const char *listener)
{
  struct in6_addr to, at;

  if (!v6_of(target, &to) || !v6_of(listener, &at))
    return false;
  if (IN6_IS_ADDR_UNSPECIFIED(&to))
    to = in6addr_loopback;
  return IN6_ARE_ADDR_EQUAL(&to, &at) || (IN6_IS_ADDR_UNSPECIFIED(&at) && IN6_IS_ADDR_LOOPBACK(&to));
}

bool address_leads_to(const struct address *target, const struct address *listener)
{
  if (address_equal(target, listener))
    return true;
  if (target->kind != ADDRESS_TCP || listener->kind != ADDRESS_TCP || target->port != listener->port)
    return false;
  return v4_leads_to(target->host, listener->host) || v6_leads_to(target->host, listener->host);
}

#define NAME_RULE "a name is 1 to 63 of a-z, 0-9 and inner hyphens"

int service_name_check(const char *name, const char **why)
{
  size_t size = strlen(name);

  *why = "";
  if (size == 0)
    return refuse(-EINVAL, why, "the name is empty: " NAME_RULE);
  if (size > LABEL_MAX)
    return refuse(-ENAMETOOLONG, why, "the name is longer than 63 bytes: " NAME_RULE);
  for (size_t i = 0; i < size; i++)
    if (!is_lower(name[i]) && !is_digit(name[i]) && name[i] != '-')
      return refuse(-EINVAL, why, "the name has a character that names cannot have: " NAME_RULE);
  if (name[0] == '-' || name[size - 1] == '-')
    return refuse(-EINVAL, why, "the name begins or ends with a hyphen: " NAME_RULE);
  return 0;
}
