/* The files and directories that the kernel has open. A file is read from the rendering of the moment at which it was
 * opened, and a directory from the names that it had then, so that changes do not shift the offsets. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

int fs_handle_open(struct fs_entry *entry, int flags, uint64_t now, struct fs_handle **list, struct fs_handle **out)
{
  bool reads = (flags & O_ACCMODE) != O_WRONLY;
  bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (!fs_entry_alive(entry))
    return -ENOENT;
  if (entry->row->kind != FS_DIR && (writes || (flags & O_TRUNC) != 0) && entry->row->line == NULL)
    return -EPERM;
  struct fs_handle *handle = calloc(1, sizeof(*handle));
  if (handle == NULL)
    return -ENOMEM;
  handle->entry = entry;
  handle->life = entry->life;
  handle->writable = writes;
  handle->append = (flags & O_APPEND) != 0;
  int error = 0;
  if (entry->row->kind == FS_TEXT && reads) {
    struct fs_text *text = NULL;
    error = fs_entry_render(entry, now, true, &text);
    if (error == 0)
      handle->text = fs_text_hold(text);
  }
  if (error != 0) {
    fs_handle_free(handle);
    return error;
  }
  fs_entry_hold(entry);
  entry->opens++;
  handle->list = list;
  DL_APPEND(*list, handle);
  *out = handle;
  if (entry->row->opened != NULL)
    entry->row->opened(entry);
  return 0;
}

bool fs_handle_alive(const struct fs_handle *handle)
{
  return handle->life == handle->entry->life && fs_entry_alive(handle->entry);
}

int fs_handle_list(struct fs_handle *handle)
{
  size_t count = 0;
  size_t size = 0;
  struct fs_entry *dir = handle->entry;
  if (fs_handle_alive(handle)) {
    for (struct fs_entry *child = dir->children; child != NULL; child = child->by_name.next) {
      count++;
      size += strlen(child->name) + 1;
    }
  }
  struct fs_name *names = calloc(count + 1, sizeof(*names));
  char *bytes = malloc(size + 1);
  if (names == NULL || bytes == NULL) {
    free(names);
    free(bytes);
    return -ENOMEM;
  }
  size_t visible = 0;
  size_t at = 0;
  if (count > 0) {
    for (struct fs_entry *child = dir->children; child != NULL; child = child->by_name.next) {
      if (!fs_entry_visible(child))
        continue;
      size_t length = strlen(child->name) + 1;
      memcpy(bytes + at, child->name, length);
      names[visible++] = (struct fs_name){.ino = child->ino, .type = fs_row_type(child->row), .at = at};
      at += length;
    }
  }
  free(handle->names);
  free(handle->name_bytes);
  handle->names = names;
  handle->name_count = visible;
  handle->name_bytes = bytes;
  return 0;
}

const char *fs_handle_name(const struct fs_handle *handle, const struct fs_name *name)
{
  return handle->name_bytes + name->at;
}

int fs_handle_bytes(struct fs_handle *handle, const char **bytes, size_t *size)
{
  *bytes = "";
  *size = 0;
  if (handle->text != NULL && handle->text->size > 0) {
    *bytes = handle->text->bytes;
    *size = handle->text->size;
  }
  if (handle->entry->row->kind != FS_LIVE || !fs_handle_alive(handle))
    return 0;
  return fs_entry_live(handle->entry, bytes, size);
}

void fs_handle_end(struct fs_handle *handle)
{
  const struct fs_row *row = handle->entry->row;
  bool told = handle->going_on && row->over != NULL && fs_handle_alive(handle);
  handle->going_on = false;
  if (told)
    row->over(handle->entry);
}

void fs_handle_free(struct fs_handle *handle)
{
  fs_text_release(handle->text);
  fs_lines_clear(&handle->lines);
  free(handle->names);
  free(handle->name_bytes);
  free(handle);
}

void fs_handle_release(struct fs_handle *handle)
{
  handle->released = true;
  if (handle->waiting != NULL)
    return;
  fs_handle_end(handle);
  struct fs_entry *entry = handle->entry;
  bool alive = fs_handle_alive(handle);
  bool last = handle->life == entry->life && --entry->opens == 0;
  DL_DELETE(*handle->list, handle);
  fs_handle_free(handle);
  if (last && alive && entry->row->released != NULL)
    entry->row->released(entry);
  if (last && entry->detached)
    fs_remove(entry);
  fs_entry_let(entry);
}
