/* Whatever the address parsers take, they write again in a form that they read as the same address; and nothing that
 * it begins with is refused as what cannot become one, unless it is a number alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse_router(const char *text, struct address *out, const char **why)
{
  return address_parse_router(text, 443, out, why);
}

static void try(const char *text, int (*parse)(const char *, struct address *, const char **))
{
  char again[ADDRESS_TEXT_MAX];
  const char *why = NULL;
  struct address a;
  struct address b;

  if (parse(text, &a, &why) != 0) {
    if (why == NULL || why[0] == '\0')
      abort();
    return;
  }
  if (parse(address_format(&a, again), &b, &why) != 0 || !address_equal(&a, &b) ||
      address_is_loopback(&a) != address_is_loopback(&b))
    abort();
}

static void begin(char *text, int (*parse)(const char *, struct address *, const char **),
                  int (*begun)(const char *, const char **))
{
  const char *why = NULL;
  struct address a;
  size_t size = strlen(text);
  int good = parse(text, &a, &why) == 0;

  for (size_t i = 0; i <= size && i < 512; i++) {
    char kept = text[i];

    text[i] = '\0';
    if (begun(text, &why) != 0 && (why[0] == '\0' || (good && text[strspn(text, "0123456789")] != '\0')))
      abort();
    text[i] = kept;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *why = NULL;
  char *text = malloc(size + 1);

  if (text == NULL)
    return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  try(text, address_parse_target);
  try(text, address_parse_listener);
  try(text, parse_router);
  begin(text, address_parse_target, address_begun_target);
  begin(text, address_parse_listener, address_begun_listener);
  if (service_name_check(text, &why) != 0 && (why == NULL || why[0] == '\0'))
    abort();
  free(text);
  return 0;
}
