/* Whether a mount is still the one that we made.
 *
 * Somebody may have detached ours while it was busy, and may have mounted something else in its place, which is not
 * ours to unmount. The tree itself must not be touched to find out, since we would have to answer: so it is looked up
 * in the kernel's list. */
#include "fs/fs_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_octal(char c)
{
  return c >= '0' && c <= '7';
}

/* Undoes \040 and the like, in place. */
static void unescape(char *text)
{
  char *to = text;
  for (; *text != '\0'; text++) {
    char c = *text;
    if (c == '\\' && is_octal(text[1]) && is_octal(text[2]) && is_octal(text[3])) {
      c = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
      text += 3;
    }
    *to++ = c;
  }
  *to = '\0';
}

/* The fields are: id, parent, device, root, mountpoint, ... */
static bool is_mounted_on(char *line, const char *path, char *device, size_t device_size)
{
  char *rest = NULL;
  char *field = strtok_r(line, " \n", &rest);
  for (int i = 0; i < 2 && field != NULL; i++)
    field = strtok_r(NULL, " \n", &rest);
  char *found = field;
  for (int i = 0; i < 2 && field != NULL; i++)
    field = strtok_r(NULL, " \n", &rest);
  if (field == NULL)
    return false;
  unescape(field);
  if (strcmp(field, path) != 0)
    return false;
  snprintf(device, device_size, "%s", found);
  return true;
}

bool fs_mountpoint_device(const char *path, char *device, size_t device_size)
{
  FILE *list = fopen("/proc/self/mountinfo", "re");
  if (list == NULL)
    return false;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  while (getline(&line, &room, list) >= 0) /* the last one lies on top */
    found = is_mounted_on(line, path, device, device_size) || found;
  free(line);
  fclose(list);
  return found;
}
