/* An identity's file: whatever is taken is written again to the last byte. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/start/identity_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct identity_text text;
  const uint8_t *bytes = (const uint8_t *)&text;
  char again[IDENTITY_TEXT_MAX];

  if (identity_text_read((const char *)data, size, &text) != 0) {
    for (size_t i = 0; i < sizeof text; i++)
      if (bytes[i] != 0)
        abort();
  } else if (identity_text_write(&text, again) != size || memcmp(again, data, size) != 0) {
    abort();
  }
  return 0;
}
