/* Whether the tree can be mounted at a path. Before anything starts: it may block for a few seconds, but never on a
 * mount that hangs. */
#ifndef DAEMON_MOUNTPOINT_H
#define DAEMON_MOUNTPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { MOUNTPOINT_WHY_MAX = 1024 };

/* An existing, empty directory on which nothing is mounted; a dead mount of ours there is taken away. *out is its
 * absolute path, for free(). 0 or a negative errno (-ENOENT, -ENOTDIR, -ENOTEMPTY, -EBUSY, -EACCES, ...) with a
 * sentence in `why`. Forks for a moment: no thread should exist. */
int mountpoint_prepare(const char *path, char **out, char why[MOUNTPOINT_WHY_MAX]);

/* What is mounted at a path, uppermost. Pure: `text` is as /proc/self/mountinfo has it, and is taken apart. */
struct mountpoint_mount {
  char type[64]; /* "ext4", "fuse.mmfs" */
  bool has_user; /* of FUSE: who mounted it */
  uid_t user;
};
bool mountpoint_find(char *text, const char *path, struct mountpoint_mount *out);
/* The same of such a file: 1: something is mounted there, 0: not, or a negative errno. */
int mountpoint_look_up(const char *mountinfo, const char *path, struct mountpoint_mount *out);
#define MOUNTPOINT_TYPE "fuse.mmfs"

#endif
