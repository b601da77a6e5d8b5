/* mmrouter's command line: an argument per line, the first being PORT. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "router/options.h"

enum { ARGUMENTS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  const char *argv[ARGUMENTS] = {"mmrouter"};
  char *text = malloc(size + 1), *rest = text, why[256] = "";
  int argc = 1;
  struct options o;
  if (!text)
    return 0;
  memcpy(text, bytes, size);
  text[size] = '\0';
  const char *port = strsep(&rest, "\n");
  bool asked_open = false;
  while (rest && argc < ARGUMENTS) {
    argv[argc] = strsep(&rest, "\n");
    asked_open = asked_open || strcmp(argv[argc], "--open") == 0;
    argc++;
  }
  int result = router_options_parse(&o, argc, argv, port, why, sizeof why);
  if ((result == 0) != (why[0] == '\0'))
    abort();
  /* Nobody is let in by accident. */
  if (result == 0 && !o.help && !o.version && !o.key && !asked_open && !router_options_loopback(o.listen))
    abort();
  free(text);
  return 0;
}
