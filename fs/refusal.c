/* Refusals that no handler of the program gave: where, and why, in words. */
#include "fs/fs_internal.h"

#include <string.h>

/* "services/web/target": `name` in `dir`. What does not fit is cut from the front. */
static const char *path_of(const struct fs_entry *dir, const char *name, char *path, size_t size)
{
  char *at = path + size - 1;
  *at = '\0';
  for (;;) {
    size_t length = strlen(name);
    if ((size_t)(at - path) <= length)
      return at;
    at -= length;
    memcpy(at, name, length);
    if (dir->parent == NULL)
      return at;
    *--at = '/';
    name = dir->name;
    dir = dir->parent;
  }
}

void fs_refusal_tell(const struct fs_entry *at, const char *name, const char *doing, const char *why, int error)
{
  const struct fs *fs = at->table->fs;
  char path[4 * FS_NAME_MAX];
  if (fs == NULL || fs->options.refused == NULL || fs->closing)
    return;
  if (name == NULL && at->parent != NULL)
    fs->options.refused(doing, path_of(at->parent, at->name, path, sizeof(path)), why, error, fs->options.arg);
  else
    fs->options.refused(doing, path_of(at, name != NULL ? name : "/", path, sizeof(path)), why, error, fs->options.arg);
}
