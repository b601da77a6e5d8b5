/* A file is opened once, and everything is asked of the descriptor, so that it cannot be exchanged between the check
 * and the reading. Opened without blocking: a FIFO in its place is refused, not waited for.
 */
#include "secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* With room for the blanks around a key of full length. */
enum { KEY_READ_MAX = SECRET_FILE_KEY_MAX + 256, CERTIFICATES_MAX = 1024 * 1024 };

/* `option` is the one that names the file. */
static int explain(char why[SECRET_FILE_WHY_MAX], int error, const char *option, const char *path, const char *reason)
{
  snprintf(why, SECRET_FILE_WHY_MAX, "%s=%.300s: %s", option, path, reason);
  for (char *c = why; *c != '\0'; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      *c = '?';
  return error;
}

/* The descriptor, or a negative errno. */
static int open_regular(const char *option, const char *path, struct stat *st, char why[SECRET_FILE_WHY_MAX])
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  int rc = 0;

  if (fd < 0)
    return explain(why, -errno, option, path, strerror(errno));
  if (fstat(fd, st) != 0)
    rc = explain(why, -errno, option, path, strerror(errno));
  else if (!S_ISREG(st->st_mode))
    rc = explain(why, -EINVAL, option, path, "not a regular file");
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

static int take_key(const char *bytes, size_t size, const char *path, char **out, char why[SECRET_FILE_WHY_MAX])
{
  const char *end = memchr(bytes, '\n', size);

  if (end != NULL)
    size = (size_t)(end - bytes);
  while (size > 0 && strchr(" \t\r", bytes[size - 1]) != NULL && bytes[size - 1] != '\0')
    size--;
  while (size > 0 && (bytes[0] == ' ' || bytes[0] == '\t')) {
    bytes++;
    size--;
  }
  if (size == 0)
    return explain(why, -EINVAL, "key", path, "there is no key in its first line");
  if (size > SECRET_FILE_KEY_MAX)
    return explain(why, -EINVAL, "key", path, "the key in its first line is longer than 4096 bytes");
  for (size_t i = 0; i < size; i++)
    if (bytes[i] < 0x20 || bytes[i] > 0x7e)
      return explain(why, -EINVAL, "key", path, "the key in its first line has other bytes than printable ASCII");
  *out = strndup(bytes, size);
  return *out != NULL ? 0 : explain(why, -ENOMEM, "key", path, strerror(ENOMEM));
}

int secret_file_read_key(const char *path, char **out, char why[SECRET_FILE_WHY_MAX])
{
  char bytes[KEY_READ_MAX];
  struct stat st = {0};
  ssize_t size;
  int rc;
  int fd = open_regular("key", path, &st, why);

  *out = NULL;
  if (fd < 0)
    return fd;
  if (st.st_uid == geteuid() && (st.st_mode & 077) != 0) {
    close(fd);
    return explain(why, -EPERM, "key", path, "others may read it, or write it: chmod 600 it first");
  }
  size = read_up_to(fd, bytes, sizeof(bytes));
  close(fd);
  if (size < 0)
    rc = explain(why, (int)size, "key", path, strerror((int)-size));
  else
    rc = take_key(bytes, (size_t)size, path, out, why);
  explicit_bzero(bytes, sizeof(bytes));
  return rc;
}

void secret_file_free_key(char *key)
{
  if (key == NULL)
    return;
  explicit_bzero(key, strlen(key));
  free(key);
}

int secret_file_read_certificates(const char *path, char **out, char why[SECRET_FILE_WHY_MAX])
{
  struct stat st = {0};
  ssize_t size;
  char *bytes;
  int rc = 0;
  int fd = open_regular("cafile", path, &st, why);

  *out = NULL;
  if (fd < 0)
    return fd;
  bytes = malloc(CERTIFICATES_MAX + 1);
  if (bytes == NULL) {
    close(fd);
    return explain(why, -ENOMEM, "cafile", path, strerror(ENOMEM));
  }
  size = read_up_to(fd, bytes, CERTIFICATES_MAX + 1);
  close(fd);
  if (size < 0)
    rc = explain(why, (int)size, "cafile", path, strerror((int)-size));
  else if (size > CERTIFICATES_MAX)
    rc = explain(why, -EFBIG, "cafile", path, "larger than 1 MiB");
  else if (memmem(bytes, (size_t)size, "-----BEGIN ", strlen("-----BEGIN ")) == NULL)
    rc = explain(why, -EINVAL, "cafile", path, "there is no certificate in PEM form in it");
  else if (memchr(bytes, '\0', (size_t)size) != NULL)
    rc = explain(why, -EINVAL, "cafile", path, "not a text file");
  if (rc != 0) {
    free(bytes);
    return rc;
  }
  bytes[size] = '\0';
  *out = bytes;
  return 0;
}
