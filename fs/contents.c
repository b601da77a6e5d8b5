/* What an entry looks like from outside: its rendering, its live bytes, its attributes.
 *
 * A size that is reported must be the size that is read right after. So there is one rendering per file, which getattr
 * and open share for a second, and getattr for as long as somebody has it open. Times move only when contents do, so
 * that who compares times (rsync, tar) sees what there is to see. */
#include "fs/fs_internal.h"

#include <errno.h>

/* FNV-1a */
static uint64_t digest(const struct fs_text *text)
{
  uint64_t hash = 0xcbf29ce484222325U;
  for (size_t i = 0; i < text->size; i++)
    hash = (hash ^ (unsigned char)text->bytes[i]) * 0x100000001b3U;
  return hash;
}

static void drop(struct fs_entry *entry)
{
  fs_text_release(entry->text);
  entry->text = NULL;
}

void fs_touch(struct fs_entry *entry)
{
  struct fs_entry *child = NULL;
  struct fs_entry *following = NULL;
  drop(entry);
  clock_gettime(CLOCK_REALTIME, &entry->changed);
  HASH_ITER(by_name, entry->children, child, following)
  {
    if (fs_entry_static(child))
      fs_touch(child);
  }
}

static bool will_do(const struct fs_entry *entry, uint64_t now, bool fresh)
{
  if (entry->text == NULL)
    return false;
  return now - entry->rendered < FS_TEXT_KEPT_MS || (!fresh && entry->text->references > 1);
}

int fs_entry_render(struct fs_entry *entry, uint64_t now, bool fresh, struct fs_text **out)
{
  if (will_do(entry, now, fresh)) {
    *out = entry->text;
    return 0;
  }
  struct fs_text *text = fs_text_new();
  if (text == NULL)
    return -ENOMEM;
  int error = 0;
  if (entry->row->render != NULL && fs_entry_alive(entry)) {
    fs_entry_hold(entry);
    error = entry->row->render(entry, text);
    entry->holds--; /* the caller holds it too, or it is in the tree */
  }
  if (error == 0 && text->failed)
    error = -ENOMEM;
  if (error != 0) {
    fs_text_release(text);
    return error;
  }
  uint64_t now_digest = digest(text);
  if (entry->digest != 0 && entry->digest != now_digest)
    clock_gettime(CLOCK_REALTIME, &entry->changed);
  entry->digest = now_digest;
  drop(entry);
  entry->text = text;
  entry->rendered = now;
  *out = text;
  return 0;
}

int fs_entry_live(struct fs_entry *entry, const char **bytes, size_t *size)
{
  *bytes = "";
  *size = 0;
  if (entry->row->live == NULL || !fs_entry_alive(entry))
    return 0;
  int error = entry->row->live(entry, bytes, size);
  if (error == 0 && *size != entry->live_size) {
    entry->live_size = *size;
    clock_gettime(CLOCK_REALTIME, &entry->changed);
  }
  return error;
}

mode_t fs_row_type(const struct fs_row *row)
{
  if (row->kind == FS_DIR)
    return S_IFDIR;
  return row->kind == FS_LINK ? S_IFLNK : S_IFREG;
}

int fs_entry_stat(struct fs_entry *entry, uint64_t now, struct stat *st)
{
  const struct fs_row *row = entry->row;
  struct fs_text *text = NULL;
  const char *bytes = NULL;
  size_t size = 0;
  int error = 0;
  if (row->kind == FS_LIVE) {
    error = fs_entry_live(entry, &bytes, &size);
  } else if (row->kind == FS_TEXT || row->kind == FS_LINK) {
    error = fs_entry_render(entry, now, false, &text);
    size = error == 0 ? text->size : 0;
  }
  if (error != 0)
    return error;
  *st = (struct stat){
      .st_ino = entry->ino,
      .st_mode = fs_row_type(row) | (entry->mode & 07777),
      .st_nlink = entry->removed ? 0 : 1, /* of a directory as well: then find does not count on it */
      .st_uid = entry->table->uid,
      .st_gid = entry->table->gid,
      .st_size = (off_t)size,
      .st_blksize = 4096,
      .st_blocks = (blkcnt_t)((size + 511) / 512),
      .st_atim = entry->changed,
      .st_mtim = entry->changed,
      .st_ctim = entry->changed,
  };
  return 0;
}
