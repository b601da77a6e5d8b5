/* Whatever a router tells of a service can be asked; each line that is taken is kept in a form that is taken as the
 * same; and what is packed is unpacked as it was. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/rules/ruleset.h"
#include "proto/rules/rule_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_line(enum rule_kind kind, const char *text)
{
  char once[RULE_LINE_SIZE], twice[RULE_LINE_SIZE];
  const char *why = NULL;

  if (rule_line_check(kind, text, once, &why) != 0) {
    if (why == NULL || why[0] == '\0')
      abort();
  } else if (rule_line_check(kind, once, twice, &why) != 0 || strcmp(once, twice) != 0 || strchr(once, '\n') != NULL) {
    abort();
  }
}

static void try_lines(const char *text)
{
  struct rules r = {0};
  char line[RULE_LINE_SIZE];
  const char *why;

  for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++) {
    try_line(kind, text);
    if (rule_line_check(kind, text, line, &why) == 0 && rules_add(&r, kind, line, false) == 0)
      rules_add(&r, kind, line, false);
  }
  if (rules_size(&r) > RULES_MAX)
    abort();
  rules_free(&r);
}

static void try_message(const uint8_t *data, size_t size)
{
  struct rules r, again;
  uint8_t *bytes;
  size_t packed;

  if (rules_unpack(&r, data, size) != 0)
    return;
  if (rules_pack(&r, &bytes, &packed) != 0 || (packed > 0 && rules_unpack(&again, bytes, packed) != 0))
    abort();
  if (packed > 0) {
    if (rules_size(&again) != rules_size(&r))
      abort();
    rules_free(&again);
  }
  free(bytes);
  rules_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1);
  struct ruleset *set = ruleset_create(data, size);

  if (text != NULL && set != NULL) {
    memcpy(text, data, size);
    text[size] = '\0';
    try_lines(text);
    try_message(data, size);
    ruleset_admits(set, "10.0.0.1:1");
    ruleset_admits(set, text);
    ruleset_fields(set);
  }
  ruleset_free(set);
  free(text);
  return 0;
}
