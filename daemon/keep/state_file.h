/* The file of the declarations. One process at a time holds it, and it is replaced as a whole. */
#ifndef DAEMON_STATE_FILE_H
#define DAEMON_STATE_FILE_H

#include <limits.h>
#include <stddef.h>

enum { STATE_FILE_WHY_MAX = 1024, STATE_FILE_WAIT_MS = 2000 };

struct state_file {
  int directory; /* -1: closed */
  int lock;
  char name[NAME_MAX - 8]; /* in the directory, with room for what is appended */
};

/* Takes the file at `path` for this process, as long as the descriptors are open, and reads it. If another process has
 * it, waits up to STATE_FILE_WAIT_MS for that one to end. *bytes is for free(); NULL when there is no
 * file yet. 0 or a negative errno, with a sentence in `why`: -EBUSY (in use), -EPERM (somebody else's, or open to
 * others), -EINVAL (no regular file), -EFBIG, and those of open(2). May block. */
int state_file_open(struct state_file *f, const char *path, char **bytes, size_t *size, char why[STATE_FILE_WHY_MAX]);
/* Replaces the contents: they are on the disk when it returns 0. A negative errno, with a sentence in `why`: the file
 * has its former contents, or (only if the directory could not be brought to the disk) the new ones. Any thread, one at
 * a time; blocks. */
int state_file_write(const struct state_file *f, const char *bytes, size_t size, char why[STATE_FILE_WHY_MAX]);
/* Twice is fine. */
void state_file_close(struct state_file *f);

#endif
