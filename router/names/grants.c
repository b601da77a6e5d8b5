/* Below the domain everybody may have a name of one label, but for those that visitors take for the operator's. Other
 * hosts are had where a pattern says so. Which identity asks does not matter yet: a host is its first one's. */
#include "grants.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/public_name.h"

static const char *const reserved[] = {
    "abuse", "account", "accounts",  "admin",      "administrator", "auth",      "autoconfig", "autodiscover",
    "auto",  "billing", "cdn",       "dns",        "ftp",           "gate",      "help",       "hostmaster",
    "imap",  "isatap",  "localhost", "login",      "mail",          "mta-sts",   "mx",         "ns",
    "ns1",   "ns2",     "pop",       "postmaster", "root",          "router",    "security",   "smtp",
    "ssl",   "sso",     "status",    "support",    "webmail",       "webmaster", "wpad",       "www",
};

/* Up to a comma, or the end. */
static size_t pattern_size(const char *pattern)
{
  return strcspn(pattern, ",");
}

/* "*" is every host, "*.example.com" each one below example.com. */
static bool pattern_takes(const char *pattern, size_t size, const char *host)
{
  size_t host_size = strlen(host);
  if (pattern[0] != '*')
    return host_size == size && memcmp(pattern, host, size) == 0;
  pattern++;
  size--;
  return host_size > size && memcmp(host + host_size - size, pattern, size) == 0;
}

int grants_check_domain(const char *domain, const char **why)
{
  *why = "it is a host in lower case with a dot, as tun.example.com";
  return public_host_valid(domain, strlen(domain)) && strchr(domain, '.') != NULL ? 0 : -1;
}

int grants_check_own(const char *patterns, const char **why)
{
  *why = "it is hosts in lower case with commas between, as app.example.com,*.example.org; * alone is every host";
  for (;;) {
    size_t size = pattern_size(patterns);
    bool all = size == 1 && patterns[0] == '*';
    size_t star = size > 2 && memcmp(patterns, "*.", 2) == 0 ? 2 : 0;
    if (!all && (!public_host_valid(patterns + star, size - star) || memchr(patterns, '.', size) == NULL))
      return -1;
    if (patterns[size] == '\0')
      return 0;
    patterns += size + 1;
  }
}

/* Up to `end`, which is a hyphen or the NUL. 0: it is none. */
static uint16_t port_read(const char *text, const char *end)
{
  size_t size = (size_t)(end - text);
  if (size < 1 || size > 5 || strspn(text, "0123456789") != size)
    return 0;
  unsigned long port = strtoul(text, NULL, 10);
  return port <= UINT16_MAX ? (uint16_t)port : 0;
}

int grants_read_ports(struct grants *g, const char *range, const char **why)
{
  const char *hyphen = range + strcspn(range, "-"), *end = range + strlen(range);
  *why = "it is a port from 1 to 65535, or a range of them, as 20000-20999";
  g->first_port = port_read(range, hyphen);
  g->last_port = *hyphen != '\0' ? port_read(hyphen + 1, end) : g->first_port;
  return g->first_port != 0 && g->first_port <= g->last_port ? 0 : -1;
}

enum rpc_status grants_port(const struct grants *g, const uint8_t identity[IDENTITY_SIZE], uint16_t port,
                            const char **why)
{
  (void)identity;
  *why = "this router has no public ports: its operator names them by --ports";
  if (g->first_port == 0)
    return RPC_PERMISSION_DENIED;
  *why = "this router does not grant that port: its operator names those that it grants by --ports";
  return port >= g->first_port && port <= g->last_port ? RPC_OK : RPC_PERMISSION_DENIED;
}

static bool owned(const char *patterns, const char *host)
{
  while (patterns != NULL) {
    size_t size = pattern_size(patterns);
    if (pattern_takes(patterns, size, host))
      return true;
    patterns = patterns[size] != '\0' ? patterns + size + 1 : NULL;
  }
  return false;
}

/* The label before the domain, or NULL: the host is not below it. */
static const char *below(const char *domain, const char *host, size_t *size)
{
  size_t domain_size = domain != NULL ? strlen(domain) : 0, host_size = strlen(host);
  if (domain_size == 0 || host_size < domain_size + 2 || host[host_size - domain_size - 1] != '.' ||
      strcmp(host + host_size - domain_size, domain) != 0)
    return NULL;
  *size = host_size - domain_size - 1;
  return host;
}

enum rpc_status grants_host(const struct grants *g, const uint8_t identity[IDENTITY_SIZE], const char *host,
                            const char **why)
{
  size_t size;
  const char *label = below(g->domain, host, &size);
  (void)identity;
  if (label == NULL && owned(g->own, host) && (g->domain == NULL || strcmp(host, g->domain) != 0))
    return RPC_OK;
  *why = "this router does not grant that host: its operator names such hosts by --own-domains";
  if (label == NULL)
    return RPC_PERMISSION_DENIED;
  *why = "below the router's domain a name is one label: write it without inner dots";
  if (memchr(label, '.', size) != NULL)
    return RPC_PERMISSION_DENIED;
  *why = "that name is reserved, as www, mail, admin and the like are: choose another one, or auto";
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
    if (strlen(reserved[i]) == size && memcmp(reserved[i], label, size) == 0)
      return RPC_PERMISSION_DENIED;
  }
  return RPC_OK;
}
