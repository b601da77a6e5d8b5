/* A command line, one argument per line: either it is refused with a sentence, or all that mounting needs is there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/start/options.h"

enum { ARGS_MAX = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int rc, const struct mmfs_options *out, const char *why)
{
  if (rc != 0) {
    if (why[0] == '\0' || strlen(why) >= OPTIONS_WHY_MAX)
      abort();
    return;
  }
  if (out->action == MMFS_HELP || out->action == MMFS_VERSION)
    return;
  if (out->source == NULL || out->mountpoint == NULL || out->carry.router.port == 0)
    abort();
  if (out->carry.window < 256 << 10 || out->carry.window > 64 << 20)
    abort();
  if (out->carry.budget < 1 << 20 || out->carry.budget > UINT64_C(64) << 30)
    abort();
  if (out->carry.dial_ms < 1000 || out->carry.dial_ms > 600000 || out->carry.hold_ms > 86400000)
    abort();
  if (out->carry.key_file != NULL && !out->carry.tls && !address_is_loopback(&out->carry.router))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const char *argv[ARGS_MAX];
  char why[OPTIONS_WHY_MAX];
  struct mmfs_options out;
  int argc = 0;
  char *copy = malloc(size + 1);
  char *rest = copy;

  if (copy == NULL)
    return 0;
  memcpy(copy, data, size);
  copy[size] = '\0';
  while (rest != NULL && argc < ARGS_MAX)
    argv[argc++] = strsep(&rest, "\n");
  check(options_parse(&out, argc, argv, why), &out, why);
  options_free(&out);
  free(copy);
  return 0;
}
