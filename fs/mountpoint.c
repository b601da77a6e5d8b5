/* Whether a mount is still the one that we made.
 *
 * Somebody may have detached ours while it was busy, and may have mounted something else in its place, which is not
 * ours to unmount. The tree itself must not be touched to find out, since we would have to answer: so it is looked up
 * in the kernel's list. */
#include "fs/fs_internal.h"
#include "fs/mountinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_mounted_on(char *line, const char *path, char *device, size_t device_size)
{
  struct mountinfo mount;
  if (!mountinfo_parse(line, &mount) || strcmp(mount.path, path) != 0)
    return false;
  snprintf(device, device_size, "%s", mount.device);
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
