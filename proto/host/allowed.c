/* libuv knows what control groups of version 1 say. In those of version 2, the group of the process and each above it
 * may have a limit, of which the smallest counts. In a container the path of its group may be the host's, and then is
 * not there; what is its own stands at the top. */
#include "allowed.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

enum { GROUP_MAX = 4096, LIMIT_DIGITS = 32 };

static bool line_read(const char *path, const char *start, char *out, int size)
{
  bool found = false;
  FILE *f = fopen(path, "re");
  while (f && !found && fgets(out, size, f))
    found = strncmp(out, start, strlen(start)) == 0;
  if (f)
    fclose(f);
  out[found ? strcspn(out, "\n") : 0] = '\0';
  return found;
}

static uint64_t limit_of(const char *root, const char *group)
{
  char path[GROUP_MAX * 2], text[LIMIT_DIGITS], *end;
  snprintf(path, sizeof path, "%s/sys/fs/cgroup%s/memory.max", root, group);
  if (!line_read(path, "", text, sizeof text))
    return UINT64_MAX;
  unsigned long long limit = strtoull(text, &end, 10);
  return end == text || *end != '\0' ? UINT64_MAX : limit; /* "max" */
}

uint64_t allowed_by_groups(const char *root)
{
  static const char own[] = "0::";
  char path[GROUP_MAX], line[GROUP_MAX], *group = line + strlen(own);
  uint64_t least = limit_of(root, "");
  snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
  if (!line_read(path, own, line, sizeof line))
    return least;
  for (char *slash; (slash = strrchr(group, '/')) != NULL; *slash = '\0') {
    uint64_t limit = limit_of(root, group);
    if (limit < least)
      least = limit;
  }
  return least;
}

uint64_t allowed_memory(void)
{
  uint64_t all = uv_get_total_memory(), first = uv_get_constrained_memory(), second = allowed_by_groups("");
  if (first > 0 && first < all)
    all = first;
  return second < all ? second : all;
}
