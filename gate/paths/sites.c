/* A list in order of hosts would be faster with thousands of names; each look-up passes over all. Paths are compared as
 * they are written: only whole segments count, and what comes behind "?" does not.
 */
#include "sites.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct site {
  char *host, *path, *service;
};

struct sites {
  struct site *all;
  size_t count, room;
  char *domain;
};

struct sites *sites_create(void)
{
  return calloc(1, sizeof(struct sites));
}

void sites_clear(struct sites *r)
{
  for (size_t i = 0; i < r->count; i++) {
    free(r->all[i].host);
    free(r->all[i].path);
    free(r->all[i].service);
  }
  r->count = 0;
}

void sites_free(struct sites *r)
{
  if (r == NULL)
    return;
  sites_clear(r);
  free(r->all);
  free(r->domain);
  free(r);
}

int sites_set_domain(struct sites *r, const char *domain)
{
  char *copy = strdup(domain);
  if (copy == NULL)
    return -ENOMEM;
  free(r->domain);
  r->domain = copy;
  return 0;
}

int sites_add(struct sites *r, const char *host, const char *path, const char *service)
{
  if (r->count == r->room) {
    size_t room = r->room > 0 ? 2 * r->room : 16;
    struct site *all = realloc(r->all, room * sizeof *all);
    if (all == NULL)
      return -ENOMEM;
    r->all = all;
    r->room = room;
  }
  struct site *new = &r->all[r->count];
  *new = (struct site){.host = strdup(host), .path = strdup(path), .service = strdup(service)};
  if (new->host != NULL &&new->path != NULL &&new->service != NULL) {
    r->count++;
    return 0;
  }
  free(new->host);
  free(new->path);
  free(new->service);
  return -ENOMEM;
}

int sites_add_text(struct sites *r, const char *text)
{
  const char *sign = strrchr(text, '=');
  if (sign == NULL || sign == text || sign[1] == '\0' || text[0] == '/')
    return -EINVAL;
  char *host = strndup(text, (size_t)(sign - text));
  if (host == NULL)
    return -ENOMEM;
  char *slash = strchr(host, '/');
  char *path = slash != NULL ? strdup(slash) : strdup("");
  if (slash != NULL)
    *slash = '\0';
  size_t size = path != NULL ? strlen(path) : 0;
  if (size > 0 && path[size - 1] == '/')
    path[size - 1] = '\0';
  int error = path != NULL ? sites_add(r, host, path, sign + 1) : -ENOMEM;
  free(path);
  free(host);
  return error;
}

static bool begins_with(struct http1_text path, const char *start)
{
  size_t size = strlen(start);
  if (path.size < size || memcmp(path.at, start, size) != 0)
    return false;
  return path.size == size || path.at[size] == '/' || path.at[size] == '?';
}

static bool is_label_character(unsigned char c)
{
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* "app.tun.example.com" below "tun.example.com" is "app". */
static bool label_of(const char *domain, struct http1_text host, char label[SITES_LABEL_SIZE])
{
  size_t below = strlen(domain) + 1;
  if (host.size <= below || host.size - below >= SITES_LABEL_SIZE || host.at[host.size - below] != '.' ||
      !grammar_is_word((struct http1_text){host.at + host.size - below + 1, below - 1}, domain))
    return false;
  size_t size = host.size - below;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)host.at[i];
    label[i] = (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
    if (!is_label_character((unsigned char)label[i]))
      return false;
  }
  label[size] = '\0';
  return true;
}

size_t sites_find(const struct sites *r, struct http1_text host, struct http1_text path, const char **services,
                  size_t most, char label[SITES_LABEL_SIZE])
{
  size_t longest = 0, found = 0;
  for (size_t i = 0; i < r->count; i++) {
    const struct site *one = &r->all[i];
    size_t size = strlen(one->path);
    if ((found > 0 && size < longest) || !grammar_is_word(host, one->host) || !begins_with(path, one->path))
      continue;
    if (size > longest)
      found = 0;
    longest = size;
    if (found < most)
      services[found++] = one->service;
  }
  if (found == 0 && r->domain != NULL && most > 0 && label_of(r->domain, host, label))
    services[found++] = label;
  return found;
}
