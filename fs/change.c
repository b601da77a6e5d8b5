/* Answers that wait for the program.
 *
 * A change may have to be brought to safety before its caller is told that it is done. The program says so when it is
 * asked, and again when it is ready; until then the answer stays here. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

void fs_change_tell(struct fs *fs, const struct fs_change *told)
{
  struct fs_change *change = NULL;
  if (fs->options.changed != NULL)
    change = calloc(1, sizeof(*change));
  if (change == NULL) {
    told->answer(told, 0);
    return;
  }
  *change = *told;
  change->fs = fs;
  if (change->entry != NULL)
    fs_entry_hold(change->entry);
  DL_APPEND(fs->changes, change);
  if (!fs->options.changed(change, fs->options.arg))
    fs_change_done(change);
}

/* Out of the list, answered, and its entry let go. */
static void answer(struct fs_change *change, int error)
{
  DL_DELETE(change->fs->changes, change);
  change->fs = NULL;
  change->answer(change, error);
  if (change->entry != NULL)
    fs_entry_let(change->entry);
}

void fs_change_done(struct fs_change *change)
{
  if (change->fs != NULL)
    answer(change, 0);
  free(change);
}

void fs_changes_abandon(struct fs *fs)
{
  struct fs_change *change = NULL;
  struct fs_change *following = NULL;
  DL_FOREACH_SAFE(fs->changes, change, following)
  {
    answer(change, -ECANCELED);
  }
}
