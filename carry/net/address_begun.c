/* Whether the beginning of an address can still become one, so that a writer hears at once of a mistake that no further
 * byte could mend.
 *
 * There is no second grammar. The text so far is given to the parser with a few ends, one of which fits if any does: a
 * digit or a letter where a part is missing, a whole part where several are. The one exception is a number alone:
 * "70000" could begin a host name, but its writer meant a port.
 */
#include "address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef int (*parse_cb)(const char *text, struct address *out, const char **why);

enum { BEGUN_MAX = 400, END_MAX = 16 }; /* longer than any address */

static const char *const port_ends[] = {"", "1", NULL};
static const char *const path_ends[] = {"", "x", "/x", NULL};
/* In the middle of a label, at the end of one (which is not to be a number), and where there is no room in one. */
static const char *const host_ends[] = {":1", "z:1", ".z:1", NULL};
static const char *const v6_ends[] = {"]:1",     "0]:1",   ":]:1",      "::]:1",    ".0]:1",
                                      ".0.0]:1", "0.0]:1", ".0.0.0]:1", "0.0.0]:1", NULL};
static const char *const bracket_ends[] = {"", "1", ":1", NULL};

static const char *const *ends_of(const char *text)
{
  if (strncmp(text, "unix:", 5) == 0)
    return path_ends;
  if (text[0] == '[')
    return strchr(text, ']') == NULL ? v6_ends : bracket_ends;
  bool number = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';

  return number || strchr(text, ':') != NULL ? port_ends : host_ends;
}

static int begun(const char *text, parse_cb parse, const char **why)
{
  char whole[BEGUN_MAX + END_MAX];
  struct address address;
  size_t size = strlen(text);
  const char *reason;
  int error = -EINVAL;

  *why = "longer than any address";
  if (size > BEGUN_MAX)
    return -ENAMETOOLONG;
  /* Blanks at the end do not count if nothing follows. */
  memcpy(whole, text, size + 1);
  while (size > 0 && strchr(" \t\r", whole[size - 1]) != NULL)
    whole[--size] = '\0';
  if (parse(whole, &address, &reason) == 0)
    return 0;
  const char *const *ends = ends_of(text);

  for (size_t i = 0; ends[i] != NULL; i++) {
    snprintf(whole, sizeof whole, "%s%s", text, ends[i]);
    int result = parse(whole, &address, &reason);

    if (result == 0)
      return 0;
    if (i == 0) {
      error = result;
      *why = reason;
    }
  }
  return error;
}

int address_begun_target(const char *text, const char **why)
{
  return begun(text, address_parse_target, why);
}

int address_begun_listener(const char *text, const char **why)
{
  return begun(text, address_parse_listener, why);
}
