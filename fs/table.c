/* The tree of entries.
 *
 *                  fs_add                      fs_remove, and something holds it
 *     (nothing) ------------> in the tree ---------------------------------------> ghost
 *         ^                        ^  |                                              |  |
 *         |                        |  | fs_remove, nothing holds it     fs_add, same |  | let go
 *         |                        |  v                                 row and name |  v
 *         +------------------------|--freed                                          | freed
 *                                  +-------------------------------------------------+
 *
 * A ghost keeps its inode number, so that who stands in a directory that went and came back stands well. An orphan is a
 * ghost that cannot come back: the kernel saw it die, or so many went after it that it was abandoned. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void stamp(struct fs_entry *entry)
{
  clock_gettime(CLOCK_REALTIME, &entry->changed);
}

static const struct fs_shape *shape_of(const struct fs_table *table, const struct fs_row *row)
{
  return &table->shapes[row - table->rows];
}

static struct fs_entry *find_named(struct fs_entry *head, const char *name)
{
  struct fs_entry *found = NULL;
  HASH_FIND(by_name, head, name, strlen(name), found);
  return found;
}

static bool add_named(struct fs_entry **head, struct fs_entry *entry)
{
  HASH_ADD_KEYPTR(by_name, *head, entry->name, strlen(entry->name), entry);
  return entry->by_name.tbl != NULL;
}

static struct fs_entry *new_entry(struct fs_table *table, struct fs_entry *parent, const struct fs_row *row,
                                  const char *name)
{
  size_t size = strlen(name);
  struct fs_entry *entry = calloc(1, sizeof(*entry) + size + 1);
  if (entry == NULL)
    return NULL;
  entry->table = table;
  entry->row = row;
  entry->mode = row->mode;
  entry->parent = parent;
  entry->ino = table->next_ino;
  memcpy(entry->name, name, size + 1);
  HASH_ADD(by_number, table->by_ino, ino, sizeof(entry->ino), entry);
  if (entry->by_number.tbl == NULL) {
    free(entry);
    return NULL;
  }
  table->next_ino++;
  if (parent != NULL)
    parent->dependants++;
  return entry;
}

static void free_entry(struct fs_entry *entry)
{
  fs_numbers_drop(entry);
  fs_text_release(entry->text);
  free(entry);
}

/* Frees it if nothing holds it, and then what above was held by it alone. */
static void collect(struct fs_entry *entry)
{
  while (entry != NULL && entry->removed && entry->lookups == 0 && entry->holds == 0 && entry->dependants == 0) {
    struct fs_entry *parent = entry->parent;
    if (parent != NULL) {
      if (find_named(parent->ghosts, entry->name) == entry)
        HASH_DELETE(by_name, parent->ghosts, entry);
      parent->dependants--;
    }
    free_entry(entry);
    entry = parent;
  }
}

/* The kernel keeps what it was told for as long as it has memory for it. We do not press it: the call that makes it let
 * go waits for the directory's lock, and the process that holds the lock may wait for an answer of ours. For an
 * abandoned entry the answer is ESTALE, and names are looked up each time. */
static void abandon(struct fs_entry *entry)
{
  struct fs_entry *child = NULL;
  struct fs_entry *following = NULL;
  entry->lookups = 0;
  entry->holds++;
  HASH_ITER(by_name, entry->ghosts, child, following)
  {
    abandon(child);
  }
  if (find_named(entry->parent->ghosts, entry->name) == entry)
    HASH_DELETE(by_name, entry->parent->ghosts, entry);
  fs_entry_let(entry);
}

static void bury(struct fs_entry *entry)
{
  struct fs_entry *parent = entry->parent;
  struct fs_entry *before = find_named(parent->ghosts, entry->name);
  if (before != NULL)
    abandon(before);
  add_named(&parent->ghosts, entry);
}

static void limit_ghosts(struct fs_entry *dir)
{
  while (HASH_CNT(by_name, dir->ghosts) > FS_GHOSTS_MAX)
    abandon(dir->ghosts);
}

static void remove_below(struct fs_entry *entry)
{
  entry->holds++;
  struct fs_entry *child = NULL;
  struct fs_entry *following = NULL;
  HASH_ITER(by_name, entry->children, child, following)
  {
    remove_below(child);
  }
  limit_ghosts(entry);
  entry->holds--;

  struct fs_entry *parent = entry->parent;
  entry->removed = true;
  entry->life++;
  entry->opens = 0;
  fs_text_release(entry->text);
  entry->text = NULL;
  if (entry->detached)
    entry->lookups = 0; /* nobody can come to it any more */
  else
    HASH_DELETE(by_name, parent->children, entry);
  if (!entry->detached && !entry->dead)
    bury(entry);
  collect(entry);
}

void fs_remove(struct fs_entry *entry)
{
  if (entry->removed || entry->parent == NULL)
    return;
  struct fs_entry *parent = entry->parent;
  fs_entry_hold(parent);
  stamp(parent);
  remove_below(entry);
  limit_ghosts(parent);
  fs_entry_let(parent);
}

static int attach(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object, struct fs_entry **out)
{
  struct fs_entry *entry = find_named(dir->ghosts, name);
  bool revived = entry != NULL && entry->row == row;
  if (revived)
    HASH_DELETE(by_name, dir->ghosts, entry);
  else
    entry = new_entry(dir->table, dir, row, name);
  if (entry == NULL)
    return -ENOMEM;
  entry->removed = false;
  entry->mode = row->mode;
  entry->object = object;
  stamp(entry);
  if (!add_named(&dir->children, entry)) {
    entry->removed = true;
    collect(entry);
    return -ENOMEM;
  }
  *out = entry;
  return 0;
}

/* The static rows below. On failure what was made stays, for the caller to remove. */
static int furnish(struct fs_entry *dir)
{
  struct fs_table *table = dir->table;
  for (size_t i = 1; i < table->row_count; i++) {
    const struct fs_shape *shape = &table->shapes[i];
    if (shape->parent != dir->row || shape->star)
      continue;
    struct fs_entry *child = NULL;
    int error = attach(dir, &table->rows[i], shape->name, dir->object, &child);
    if (error == 0)
      error = furnish(child);
    if (error != 0)
      return error;
  }
  return 0;
}

static int check_addition(const struct fs_entry *dir, const struct fs_row *row, const char *name)
{
  const struct fs_table *table = dir->table;
  if (row < table->rows || row >= table->rows + table->row_count)
    return -EINVAL;
  const struct fs_shape *shape = shape_of(table, row);
  if (!shape->star || shape->parent == NULL || strcmp(shape->parent->path, dir->row->path) != 0)
    return -EINVAL;
  if (name[0] == '\0' || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return -EINVAL;
  if (strlen(name) > FS_NAME_MAX)
    return -ENAMETOOLONG;
  return dir->removed ? -ENOENT : 0;
}

int fs_add(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object, struct fs_entry **out)
{
  int error = check_addition(dir, row, name);
  if (error != 0)
    return error;
  if (find_named(dir->children, name) != NULL)
    return -EEXIST;
  struct fs_entry *entry = NULL;
  error = attach(dir, row, name, object, &entry);
  if (error != 0)
    return error;
  error = furnish(entry);
  if (error != 0) {
    remove_below(entry);
    return error;
  }
  stamp(dir);
  if (out != NULL)
    *out = entry;
  return 0;
}

int fs_add_detached(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object,
                    struct fs_entry **out)
{
  int error = check_addition(dir, row, name);
  if (error != 0)
    return error;
  struct fs_entry *entry = new_entry(dir->table, dir, row, name);
  if (entry == NULL)
    return -ENOMEM;
  entry->detached = true;
  entry->object = object;
  stamp(entry);
  *out = entry;
  return 0;
}

int fs_table_init(struct fs_table *table, const struct fs_row *rows, size_t row_count, void *root_object)
{
  *table = (struct fs_table){.rows = rows, .row_count = row_count, .next_ino = FS_ROOT_INO};
  table->shapes = calloc(row_count + 1, sizeof(*table->shapes));
  if (table->shapes == NULL)
    return -ENOMEM;
  int error = fs_shapes_fill(table->shapes, rows, row_count);
  if (error == 0) {
    table->root = new_entry(table, NULL, &rows[0], "");
    error = table->root == NULL ? -ENOMEM : 0;
  }
  if (error == 0) {
    table->root->object = root_object;
    stamp(table->root);
    error = furnish(table->root);
  }
  if (error != 0)
    fs_table_free(table);
  return error;
}

void fs_table_free(struct fs_table *table)
{
  struct fs_entry *entry = NULL;
  struct fs_entry *following = NULL;
  HASH_ITER(by_number, table->by_ino, entry, following)
  {
    HASH_CLEAR(by_name, entry->children);
    HASH_CLEAR(by_name, entry->ghosts);
  }
  HASH_ITER(by_number, table->by_ino, entry, following)
  {
    free_entry(entry);
  }
  free(table->shapes);
  *table = (struct fs_table){0};
}

bool fs_entry_static(const struct fs_entry *entry)
{
  return !shape_of(entry->table, entry->row)->star;
}

bool fs_entry_visible(struct fs_entry *entry)
{
  return !entry->removed && (entry->row->visible == NULL || entry->row->visible(entry));
}

struct fs_entry *fs_entry_find(struct fs_entry *dir, const char *name)
{
  struct fs_entry *entry = find_named(dir->children, name);
  return entry != NULL && fs_entry_visible(entry) ? entry : NULL;
}

bool fs_entry_alive(const struct fs_entry *entry)
{
  for (; entry != NULL; entry = entry->parent)
    if (entry->removed)
      return false;
  return true;
}

void fs_entry_hold(struct fs_entry *entry)
{
  entry->holds++;
}

void fs_entry_let(struct fs_entry *entry)
{
  entry->holds--;
  collect(entry);
}

void fs_entry_forget(struct fs_entry *entry, uint64_t lookups)
{
  entry->lookups -= lookups < entry->lookups ? lookups : entry->lookups;
  collect(entry);
}

struct fs_entry *fs_root(struct fs *fs)
{
  return fs->table.root;
}

struct fs_entry *fs_find(struct fs_entry *dir, const char *name)
{
  return find_named(dir->children, name);
}

const char *fs_name(const struct fs_entry *entry)
{
  return entry->name;
}

void *fs_object(const struct fs_entry *entry)
{
  return entry->object;
}

struct fs_entry *fs_parent(const struct fs_entry *entry)
{
  return entry->parent;
}

void fs_set_object(struct fs_entry *entry, void *object)
{
  entry->object = object;
  struct fs_entry *child = NULL;
  struct fs_entry *following = NULL;
  HASH_ITER(by_name, entry->children, child, following)
  {
    if (fs_entry_static(child))
      fs_set_object(child, object);
  }
}

struct fs *fs_of(const struct fs_entry *entry)
{
  return entry->table->fs;
}
