/* A file is opened once, and everything is asked of the descriptor, so that it cannot be exchanged between the check
 * and the reading. Opened without blocking: a FIFO in its place is refused, not waited for.
 */
#include "credential.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "plain.h"

/* With room for the blanks around a key of full length. */
enum { KEY_READ_MAX = CREDENTIAL_KEY_MAX + 256, PEM_MAX = 1024 * 1024 };

static int explain(char why[CREDENTIAL_WHY_MAX], int error, const char *what, const char *path, const char *reason)
{
  snprintf(why, CREDENTIAL_WHY_MAX, "the %s %.300s: %s", what, path, reason);
  plain_text(why);
  return error;
}

/* The descriptor, or a negative errno. */
static int open_regular(const char *what, const char *path, struct stat *st, char why[CREDENTIAL_WHY_MAX])
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  int rc = 0;

  if (fd < 0)
    return explain(why, -errno, what, path, strerror(errno));
  if (fstat(fd, st) != 0)
    rc = explain(why, -errno, what, path, strerror(errno));
  else if (!S_ISREG(st->st_mode))
    rc = explain(why, -EINVAL, what, path, "not a regular file");
  if (rc != 0) {
    close(fd);
    return rc;
  }
  return fd;
}

/* Up to `size` bytes; how many, or a negative errno. */
static ssize_t read_up_to(int fd, char *bytes, size_t size)
{
  size_t got = 0;

  while (got < size) {
    ssize_t n = read(fd, bytes + got, size - got);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    if (n == 0)
      break;
    got += (size_t)n;
  }
  return (ssize_t)got;
}

/* ---- Keys. ---- */

/* The kernel knows best whether we may set a mode, so it is asked to set the one that is there. */
static bool may_change_mode(int fd, const struct stat *st)
{
  return fchmod(fd, st->st_mode & 07777) == 0 || (errno != EROFS && st->st_uid == geteuid());
}

/* NULL, or what is wrong with it. */
static const char *exposure(int fd, const struct stat *st)
{
  struct statvfs fs;

  if ((st->st_mode & (S_IRWXG | S_IRWXO)) == 0 || (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0))
    return NULL;
  if (may_change_mode(fd, st))
    return "it is open to others: chmod 600 it first";
  return (st->st_mode & S_IWOTH) != 0 ? "everybody may write it: its owner should chmod 600 it first" : NULL;
}

/* What an editor puts at the beginning to say that a text is UTF-8. */
static size_t skip_mark(const char *bytes, size_t size)
{
  static const char mark[] = {'\xef', '\xbb', '\xbf'};

  return size >= sizeof mark && memcmp(bytes, mark, sizeof mark) == 0 ? sizeof mark : 0;
}

static const char *find_key(const char **bytes, size_t *size)
{
  size_t skip = skip_mark(*bytes, *size);
  const char *key = *bytes + skip;
  size_t left = *size - skip;
  const char *end = memchr(key, '\n', left);

  if (end != NULL)
    left = (size_t)(end - key);
  while (left > 0 && (key[left - 1] == ' ' || key[left - 1] == '\t' || key[left - 1] == '\r'))
    left--;
  while (left > 0 && (key[0] == ' ' || key[0] == '\t')) {
    key++;
    left--;
  }
  *bytes = key;
  *size = left;
  if (left == 0)
    return "the first line has no key";
  if (left > CREDENTIAL_KEY_MAX)
    return "the key in the first line is longer than 4096 bytes";
  for (size_t i = 0; i < left; i++)
    if (key[i] < 0x20 || key[i] > 0x7e)
      return "the key in the first line has a byte that is not printable ASCII";
  return NULL;
}

static int take_key(const char *bytes, size_t size, const char *path, char **out, char why[CREDENTIAL_WHY_MAX])
{
  const char *reason = find_key(&bytes, &size);

  if (reason != NULL)
    return explain(why, -EINVAL, "key file", path, reason);
  *out = strndup(bytes, size);
  return *out != NULL ? 0 : explain(why, -ENOMEM, "key file", path, strerror(ENOMEM));
}

int credential_read_key(const char *path, char **out, char why[CREDENTIAL_WHY_MAX])
{
  char bytes[KEY_READ_MAX];
  struct stat st = {0};
  const char *reason;
  ssize_t size;
  int rc;
  int fd = open_regular("key file", path, &st, why);

  *out = NULL;
  if (fd < 0)
    return fd;
  reason = exposure(fd, &st);
  if (reason != NULL) {
    close(fd);
    return explain(why, -EPERM, "key file", path, reason);
  }
  size = read_up_to(fd, bytes, sizeof(bytes));
  close(fd);
  if (size < 0)
    rc = explain(why, (int)size, "key file", path, strerror((int)-size));
  else
    rc = take_key(bytes, (size_t)size, path, out, why);
  explicit_bzero(bytes, sizeof(bytes));
  return rc;
}

/* ---- PEM. ---- */

static int check_pem(const char *bytes, ssize_t size, const char *path, char why[CREDENTIAL_WHY_MAX])
{
  static const char begin[] = "-----BEGIN ";

  if (size < 0)
    return explain(why, (int)size, "file", path, strerror((int)-size));
  if (size > PEM_MAX)
    return explain(why, -EFBIG, "file", path, "larger than 1 MiB");
  if (memmem(bytes, (size_t)size, begin, strlen(begin)) == NULL)
    return explain(why, -EINVAL, "file", path, "it has nothing in PEM form");
  if (memchr(bytes, '\0', (size_t)size) != NULL)
    return explain(why, -EINVAL, "file", path, "not a text file");
  return 0;
}

/* "PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY" and the like. */
static bool has_private_key(const char *pem)
{
  return strstr(pem, "PRIVATE KEY-----") != NULL;
}

static int read_pem(const char *path, bool guarded, char **out, char why[CREDENTIAL_WHY_MAX])
{
  const char *reason = NULL;
  struct stat st = {0};
  ssize_t size;
  char *bytes;
  int rc;
  int fd = open_regular("file", path, &st, why);

  *out = NULL;
  if (fd < 0)
    return fd;
  bytes = calloc(1, PEM_MAX + 2);
  if (bytes == NULL) {
    close(fd);
    return explain(why, -ENOMEM, "file", path, strerror(ENOMEM));
  }
  size = read_up_to(fd, bytes, PEM_MAX + 1);
  if (guarded && size > 0 && has_private_key(bytes))
    reason = exposure(fd, &st);
  close(fd);
  rc = reason != NULL ? explain(why, -EPERM, "file", path, reason) : check_pem(bytes, size, path, why);
  if (rc == 0)
    *out = strdup(bytes);
  if (rc == 0 && *out == NULL)
    rc = explain(why, -ENOMEM, "file", path, strerror(ENOMEM));
  credential_free(bytes);
  return rc;
}

int credential_read_pem(const char *path, char **out, char why[CREDENTIAL_WHY_MAX])
{
  return read_pem(path, false, out, why);
}

int credential_read_private_pem(const char *path, char **out, char why[CREDENTIAL_WHY_MAX])
{
  return read_pem(path, true, out, why);
}

void credential_free(char *text)
{
  if (text == NULL)
    return;
  explicit_bzero(text, strlen(text));
  free(text);
}

/* ---- Whether a file is another one since. ---- */

struct credential_mark credential_look(const char *path)
{
  struct stat st;

  if (path == NULL)
    return (struct credential_mark){0};
  if (stat(path, &st) != 0)
    return (struct credential_mark){.error = errno};
  return (struct credential_mark){.mode = st.st_mode,
                                  .owner = st.st_uid,
                                  .device = st.st_dev,
                                  .inode = st.st_ino,
                                  .size = (uint64_t)st.st_size,
                                  .modified = st.st_mtim.tv_sec,
                                  .modified_ns = st.st_mtim.tv_nsec};
}

bool credential_same(const struct credential_mark *a, const struct credential_mark *b)
{
  return a->error == b->error && a->mode == b->mode && a->owner == b->owner && a->device == b->device &&
         a->inode == b->inode && a->size == b->size && a->modified == b->modified && a->modified_ns == b->modified_ns;
}
