/* What the paths of the rows say about one another.
 *
 * A row belongs below the nearest row before it that is a directory and has the rest of its path. So two rows
 * with one path (a service of ours, and one of somebody else) each have the static rows that follow them. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <string.h>

static const struct fs_row *find_parent(const struct fs_row *rows, size_t before, const char *path, size_t size)
{
  for (size_t i = before; i-- > 0;)
    if (rows[i].kind == FS_DIR && strlen(rows[i].path) == size && memcmp(rows[i].path, path, size) == 0)
      return &rows[i];
  return NULL;
}

static bool is_taken(const struct fs_shape *shapes, size_t count, const struct fs_shape *shape)
{
  for (size_t i = 1; i < count; i++)
    if (shapes[i].parent == shape->parent && strcmp(shapes[i].name, shape->name) == 0)
      return true;
  return false;
}

int fs_shapes_fill(struct fs_shape *shapes, const struct fs_row *rows, size_t row_count)
{
  if (row_count == 0 || rows[0].path[0] != '\0' || rows[0].kind != FS_DIR)
    return -EINVAL;
  shapes[0] = (struct fs_shape){.name = rows[0].path};
  for (size_t i = 1; i < row_count; i++) {
    const char *path = rows[i].path;
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);
    const struct fs_row *parent = find_parent(rows, i, path, size);
    if (parent == NULL || name[0] == '\0' || strlen(name) > FS_NAME_MAX)
      return -EINVAL;
    shapes[i] = (struct fs_shape){.parent = parent, .name = name, .star = strcmp(name, "*") == 0};
    if (!shapes[i].star && is_taken(shapes, i, &shapes[i]))
      return -EINVAL;
  }
  return 0;
}
