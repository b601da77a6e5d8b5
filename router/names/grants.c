/* Below the domain everybody may have a name of one label, but for those that visitors take for the operator's. Other
 * hosts are had where a pattern says so. Which identity asks does not matter yet: a host is its first one's. */
#include "grants.h"

#include <stdbool.h>
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
