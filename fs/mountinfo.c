#include "fs/mountinfo.h"

#include <stddef.h>
#include <string.h>

enum { FIELDS_MAX = 6 };

static bool is_octal(char c)
{
  return c >= '0' && c <= '7';
}

/* The kernel writes blanks, newlines and backslashes as \040 and the like. */
static void unescape(char *text)
{
  char *to = text;
  for (; *text != '\0'; text++) {
    char c = *text;
    if (c == '\\' && text[1] >= '0' && text[1] <= '3' && is_octal(text[2]) && is_octal(text[3])) {
      c = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
      text += 3;
    }
    *to++ = c;
  }
  *to = '\0';
}

/* ID PARENT DEVICE ROOT PATH OPTIONS [OPTIONAL...] - TYPE SOURCE FILE-SYSTEM'S-OPTIONS */
bool mountinfo_parse(char *line, struct mountinfo *out)
{
  char *fields[FIELDS_MAX], *rest = NULL;
  for (int i = 0; i < FIELDS_MAX; i++) {
    fields[i] = strtok_r(i == 0 ? line : NULL, " \n", &rest);
    if (fields[i] == NULL)
      return false;
  }
  const char *field;
  do {
    field = strtok_r(NULL, " \n", &rest);
    if (field == NULL)
      return false;
  } while (strcmp(field, "-") != 0);
  const char *type = strtok_r(NULL, " \n", &rest);
  const char *source = strtok_r(NULL, " \n", &rest);
  const char *options = source != NULL ? strtok_r(NULL, " \n", &rest) : NULL;
  if (type == NULL)
    return false;
  unescape(fields[4]);
  *out = (struct mountinfo){
      .device = fields[2], .path = fields[4], .type = type, .options = options != NULL ? options : ""};
  return true;
}
