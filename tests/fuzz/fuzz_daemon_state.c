/* A state file: either it is refused with a sentence, or what it declares reads the same when it is written anew. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/forwards/forwards.h"
#include "daemon/keep/state_format.h"
#include "daemon/names/services.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct state_rules rules = {.services = SERVICES_MAX,
                                         .forwards = FORWARDS_MAX,
                                         .listeners = FORWARD_LISTENERS_MAX,
                                         .public_names = PUBLIC_NAMES_MAX,
                                         .check_name = service_name_check};

static void check(bool right)
{
  if (!right)
    abort();
}

static void write_rule(struct state_text *text, const struct state_declaration *d)
{
  struct rules r = {0};

  if (d->rule == RULE_OFFLINE)
    check(rules_set(&r, RULE_OFFLINE, d->text, d->text_size) == 0);
  else
    check(rules_add(&r, d->rule, d->text, false) == 0);
  state_text_rules(text, d->name, &r);
  rules_free(&r);
}

static void check_again(const struct state_declarations *declared)
{
  struct state_declarations again;
  struct state_text text;
  char why[STATE_WHY_MAX];

  state_text_begin(&text);
  for (size_t i = 0; i < declared->count; i++) {
    const struct state_declaration *d = &declared->items[i];

    check(d->has_address == (d->kind == STATE_FORWARD) || d->kind == STATE_SERVICE);
    if (d->kind == STATE_PUBLIC)
      state_text_public(&text, d->name, &d->public_name);
    else if (d->kind == STATE_RULE)
      write_rule(&text, d);
    else if (d->kind == STATE_FORWARD)
      state_text_forward(&text, d->name, &d->address);
    else
      state_text_service(&text, d->name, d->has_address ? &d->address : NULL);
  }
  check(state_text_end(&text) == 0);
  check(state_parse(text.bytes, text.size, &rules, &again, why) == 0);
  check(again.count == declared->count);
  for (size_t i = 0; i < again.count; i++) {
    const struct state_declaration *a = &declared->items[i], *b = &again.items[i];

    check(a->kind == b->kind && a->has_address == b->has_address && strcmp(a->name, b->name) == 0);
    check(a->kind != STATE_PUBLIC || public_name_equal(&a->public_name, &b->public_name));
    check(a->kind != STATE_RULE ||
          (a->rule == b->rule && a->text_size == b->text_size &&
           (a->rule == RULE_OFFLINE ? memcmp(a->text, b->text, a->text_size) : strcmp(a->text, b->text)) == 0));
    check(!a->has_address || address_equal(&a->address, &b->address));
  }
  state_declarations_free(&again);
  free(text.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct state_declarations declared;
  char why[STATE_WHY_MAX];
  int rc = state_parse((const char *)data, size, &rules, &declared, why);

  if (rc == 0) {
    check_again(&declared);
    state_declarations_free(&declared);
  } else {
    check(why[0] != '\0' && strlen(why) < STATE_WHY_MAX && declared.items == NULL);
  }
  return 0;
}
