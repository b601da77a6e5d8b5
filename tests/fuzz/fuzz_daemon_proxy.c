/* Three lines: a proxy's URL, a router's host, a list of exceptions. What is found is an address that can be written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *url, *list;

static char *get(const char *name)
{
  return strcmp(name, "http_proxy") == 0 ? url : strcmp(name, "no_proxy") == 0 ? list : NULL;
}

static char *next_line(char **text)
{
  char *line = *text;
  char *end = strchr(line, '\n');

  *text = end != NULL ? end + 1 : line + strlen(line);
  if (end != NULL)
    *end = '\0';
  return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1), *rest = text, written[ADDRESS_TEXT_MAX];
  struct address router, again;
  struct proxy proxy;
  const char *why;

  if (text == NULL)
    return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  url = next_line(&rest);
  const char *host = next_line(&rest);
  list = rest;
  if (address_parse_router(host, 443, &router, &why) == 0 && proxy_find(&proxy, &router, get) &&
      (proxy_list_has(list, router.host) ||
       address_parse_router(address_format(&proxy.address, written), 1, &again, &why) != 0 ||
       !address_equal(&proxy.address, &again)))
    abort();
  free(text);
  return 0;
}
