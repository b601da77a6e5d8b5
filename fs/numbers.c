/* What the kernel calls an entry: its inode number. None is given twice.
 *
 * While a write waits for its answer, the kernel holds the lock of the inode that it was opened by. A process that
 * removes the file, or seeks to its end, waits for that lock, and one that removes it holds the lock of the directory
 * meanwhile. So one line that waits for a verdict would hold up every process that looks at its folder. Therefore an
 * entry gets a new number when a line of it begins to wait. A look-up by name then finds an inode that nobody has
 * locked. Descriptors that are open go on with the old number, which becomes an alias until the kernel forgets it. */
#include "fs/fs_internal.h"

#include <stdlib.h>
#include <utlist.h>

static struct fs_alias *find_alias(struct fs_table *table, uint64_t ino)
{
  struct fs_alias *found = NULL;
  HASH_FIND(by_number, table->aliases, &ino, sizeof(ino), found);
  return found;
}

static struct fs_entry *find_entry(struct fs_table *table, uint64_t ino)
{
  struct fs_entry *found = NULL;
  HASH_FIND(by_number, table->by_ino, &ino, sizeof(ino), found);
  return found;
}

struct fs_entry *fs_table_find(struct fs_table *table, uint64_t ino)
{
  struct fs_entry *found = find_entry(table, ino);
  const struct fs_alias *alias = found == NULL ? find_alias(table, ino) : NULL;
  return alias != NULL ? alias->entry : found;
}

static void free_alias(struct fs_alias *alias)
{
  LL_DELETE2(alias->entry->aliases, alias, following);
  HASH_DELETE(by_number, alias->entry->table->aliases, alias);
  free(alias);
}

void fs_table_forget(struct fs_table *table, uint64_t ino, uint64_t lookups)
{
  struct fs_entry *entry = find_entry(table, ino);
  struct fs_alias *alias = entry == NULL ? find_alias(table, ino) : NULL;
  if (entry != NULL)
    fs_entry_forget(entry, lookups);
  else if (alias != NULL && alias->lookups > lookups)
    alias->lookups -= lookups;
  else if (alias != NULL)
    free_alias(alias);
}

void fs_entry_renew(struct fs_entry *entry)
{
  struct fs_table *table = entry->table;
  HASH_DELETE(by_number, table->by_ino, entry);
  entry->ino = table->next_ino++;
  entry->lookups = 0; /* those of the old number are nobody's: the kernel forgets them, or gets ESTALE */
  UT_hash_table *numbers = table->root->by_number.tbl;
  unsigned noexpand = numbers->noexpand;
  numbers->noexpand = 1; /* which is all that could want memory, and fail */
  HASH_ADD(by_number, table->by_ino, ino, sizeof(entry->ino), entry);
  numbers->noexpand = noexpand;
}

void fs_entry_part(struct fs_entry *entry)
{
  struct fs_table *table = entry->table;
  if (entry->removed || entry->detached || entry->lookups == 0)
    return;
  struct fs_alias *alias = calloc(1, sizeof(*alias));
  if (alias == NULL)
    return;
  *alias = (struct fs_alias){.ino = entry->ino, .lookups = entry->lookups, .entry = entry};
  HASH_ADD(by_number, table->aliases, ino, sizeof(alias->ino), alias);
  if (alias->by_number.tbl == NULL) {
    free(alias);
    return;
  }
  LL_PREPEND2(entry->aliases, alias, following);
  fs_entry_renew(entry);
}

void fs_numbers_drop(struct fs_entry *entry)
{
  HASH_DELETE(by_number, entry->table->by_ino, entry);
  struct fs_alias *alias = NULL;
  struct fs_alias *following = NULL;
  LL_FOREACH_SAFE2(entry->aliases, alias, following, following)
  {
    HASH_DELETE(by_number, entry->table->aliases, alias);
    free(alias);
  }
}
