/* Both keys are padded to one length and compared in full. */
#include "secret.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

bool secret_equal(const void *a, const void *b, size_t size)
{
  const volatile uint8_t *x = a, *y = b;
  uint8_t differ = 0;
  for (size_t i = 0; i < size; i++)
    differ |= (uint8_t)(x[i] ^ y[i]);
  return differ == 0;
}

bool secret_shown(const char *key, const char *authorization)
{
  static const char scheme[] = "Bearer ";
  if (strncasecmp(authorization, scheme, strlen(scheme)) != 0)
    return false;
  /* Padded to one length, so that the key's own does not show either. */
  char wanted[SECRET_MAX + 1] = {0}, shown[SECRET_MAX + 1] = {0};
  memcpy(wanted, key, strnlen(key, SECRET_MAX));
  const char *value = authorization + strlen(scheme);
  size_t size = strlen(value);
  memcpy(shown, value, size < sizeof shown ? size : sizeof shown);
  bool equal = secret_equal(wanted, shown, sizeof wanted);
  explicit_bzero(wanted, sizeof wanted);
  explicit_bzero(shown, sizeof shown);
  return equal;
}
