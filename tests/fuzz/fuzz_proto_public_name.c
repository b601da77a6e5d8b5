/* Whatever is taken for a public name is written again in a form that is read as the same; what is refused has a
 * phrase. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/public_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(const char *text, bool tls)
{
  char again[PUBLIC_TEXT_SIZE];
  const char *why = NULL;
  struct public_name a, b;
  if (public_name_parse(text, tls, &a, &why) != 0) {
    if (why == NULL || why[0] == '\0')
      abort();
    return;
  }
  if (!public_host_valid(a.host, strlen(a.host)) || (tls && a.path[0] != '\0'))
    abort();
  if (public_name_parse(public_name_format(&a, again), tls, &b, &why) != 0 || !public_name_equal(&a, &b))
    abort();
}

static void try_port(const char *text)
{
  char again[PUBLIC_TEXT_SIZE];
  const char *why = NULL;
  struct public_name a, b;
  if (public_port_parse(text, &a, &why) != 0)
    return;
  if (public_port_parse(public_name_format(&a, again), &b, &why) != 0 || !public_name_equal(&a, &b))
    abort();
  if (public_name_told(a.host, false, &b, &why) != 0 || !public_name_equal(&a, &b))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1);
  if (text == NULL)
    return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  try(text, false);
  try(text, true);
  try_port(text);
  free(text);
  return 0;
}
