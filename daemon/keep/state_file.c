/* The lock is on FILE.lock, because FILE itself is another file after each rename. New contents go to FILE.tmp. They
 * get the name once they are on the disk, and then the directory is synced. All names are looked up in the directory
 * that was opened first, so that neither the working directory nor a later mount matters.
 */
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/host/plain.h"
#include "state_format.h"

enum { POLL_MS = 20, OPEN_FLAGS = O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK };

__attribute__((format(printf, 3, 4))) static int explain(char why[STATE_FILE_WHY_MAX], int error, const char *format,
                                                         ...)
{
  va_list values;

  va_start(values, format);
  vsnprintf(why, STATE_FILE_WHY_MAX, format, values);
  va_end(values);
  plain_text(why);
  return error;
}

/* ---- Taking it. ---- */

static int open_directory(struct state_file *f, const char *path, char why[STATE_FILE_WHY_MAX])
{
  const char *slash = strrchr(path, '/');
  const char *name = slash != NULL ? slash + 1 : path;
  char *directory = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
  int rc = 0;

  if (directory == NULL)
    return explain(why, -ENOMEM, "%.600s: %s", path, strerror(ENOMEM));
  if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    rc = explain(why, -EISDIR, "%.600s is a directory: name a file", path);
  else if (strlen(name) >= sizeof(f->name))
    rc = explain(why, -ENAMETOOLONG, "%.600s: %s", path, strerror(ENAMETOOLONG));
  if (rc == 0) {
    snprintf(f->name, sizeof(f->name), "%s", name);
    f->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->directory < 0)
      rc = explain(why, -errno, "%.600s: its directory cannot be used: %s", path, strerror(errno));
  }
  free(directory);
  return rc;
}

static int take_lock(struct state_file *f, const char *path, char why[STATE_FILE_WHY_MAX])
{
  const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
  char name[NAME_MAX];

  snprintf(name, sizeof(name), "%s.lock", f->name);
  f->lock = openat(f->directory, name, O_RDWR | O_CREAT | OPEN_FLAGS, 0600);
  if (f->lock < 0)
    return explain(why, -errno, "cannot create the lock file %.600s.lock: %s", path, strerror(errno));
  for (int waited = 0; flock(f->lock, LOCK_EX | LOCK_NB) != 0; waited += POLL_MS) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return explain(why, -errno, "%.600s.lock: %s", path, strerror(errno));
    if (waited >= STATE_FILE_WAIT_MS)
      return explain(why, -EBUSY, "%.600s is in use by another mmfs: give each mount a file of its own", path);
    nanosleep(&pause, NULL);
  }
  return 0;
}

/* ---- Reading. ---- */

static int check(const struct stat *st, const char *path, char why[STATE_FILE_WHY_MAX])
{
  if (!S_ISREG(st->st_mode))
    return explain(why, -EINVAL, "%.600s is not a regular file: name another one", path);
  if (st->st_uid != geteuid())
    return explain(why, -EPERM, "%.600s belongs to user %lu: chown it, or name another one", path,
                   (unsigned long)st->st_uid);
  if ((st->st_mode & 022) != 0)
    return explain(why, -EPERM, "%.600s: others may write it: look what is in it, and chmod 600 it", path);
  if (st->st_size > STATE_SIZE_MAX)
    return explain(why, -EFBIG, "%.600s is larger than any state file of mmfs: name another one", path);
  return 0;
}

static int read_all(int fd, char *bytes, size_t *size)
{
  size_t got = 0;

  while (got < *size) {
    ssize_t n = read(fd, bytes + got, *size - got);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    if (n == 0)
      break;
    got += (size_t)n;
  }
  *size = got;
  return 0;
}

static int read_contents(const struct state_file *f, const char *path, char **bytes, size_t *size,
                         char why[STATE_FILE_WHY_MAX])
{
  struct stat st;
  int rc;
  int fd = openat(f->directory, f->name, O_RDONLY | OPEN_FLAGS);

  if (fd < 0 && errno == ENOENT)
    return 0;
  if (fd < 0 && errno == ELOOP)
    return explain(why, -ELOOP, "%.600s is a symbolic link: name the file itself", path);
  if (fd < 0)
    return explain(why, -errno, "%.600s: %s", path, strerror(errno));
  if (fstat(fd, &st) != 0)
    rc = explain(why, -errno, "%.600s: %s", path, strerror(errno));
  else
    rc = check(&st, path, why);
  if (rc == 0) {
    *size = (size_t)st.st_size;
    *bytes = malloc(*size + 1);
    rc = *bytes != NULL ? read_all(fd, *bytes, size) : -ENOMEM;
    if (rc != 0)
      explain(why, rc, "%.600s: %s", path, strerror(-rc));
  }
  close(fd);
  return rc;
}

int state_file_open(struct state_file *f, const char *path, char **bytes, size_t *size, char why[STATE_FILE_WHY_MAX])
{
  int rc;

  *f = (struct state_file){.directory = -1, .lock = -1};
  *bytes = NULL;
  *size = 0;
  rc = open_directory(f, path, why);
  if (rc == 0)
    rc = take_lock(f, path, why);
  if (rc == 0)
    rc = read_contents(f, path, bytes, size, why);
  if (rc != 0) {
    free(*bytes);
    *bytes = NULL;
    state_file_close(f);
  }
  return rc;
}

/* ---- Writing. ---- */

static int write_all(int fd, const char *bytes, size_t size)
{
  while (size > 0) {
    ssize_t n = write(fd, bytes, size);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    bytes += n;
    size -= (size_t)n;
  }
  return 0;
}

/* Makes the file `name` with these contents, on the disk. */
static int write_new(int directory, const char *name, const char *bytes, size_t size, const char **doing)
{
  int rc;
  int fd;

  *doing = "make";
  if (unlinkat(directory, name, 0) != 0 && errno != ENOENT)
    return -errno;
  fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | OPEN_FLAGS, 0600);
  if (fd < 0)
    return -errno;
  *doing = "write";
  rc = write_all(fd, bytes, size);
  if (rc == 0 && fsync(fd) != 0)
    rc = -errno;
  if (close(fd) != 0 && rc == 0 && errno != EINTR)
    rc = -errno;
  return rc;
}

int state_file_write(const struct state_file *f, const char *bytes, size_t size, char why[STATE_FILE_WHY_MAX])
{
  char name[NAME_MAX];
  const char *doing;
  int rc;

  snprintf(name, sizeof(name), "%s.tmp", f->name);
  rc = write_new(f->directory, name, bytes, size, &doing);
  if (rc == 0 && renameat(f->directory, name, f->directory, f->name) != 0) {
    rc = -errno;
    doing = "rename";
  }
  if (rc != 0) {
    unlinkat(f->directory, name, 0);
    return explain(why, rc, "cannot %s %s: %s", doing, name, strerror(-rc));
  }
  /* EINVAL: a file system that has no such thing. */
  if (fsync(f->directory) != 0 && errno != EINVAL)
    return explain(why, -errno, "cannot bring the directory of %s to the disk: %s", f->name, strerror(errno));
  return 0;
}

void state_file_close(struct state_file *f)
{
  if (f->directory >= 0)
    close(f->directory);
  if (f->lock >= 0)
    close(f->lock);
  f->directory = f->lock = -1;
}
