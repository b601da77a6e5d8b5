/* The key is refused rather than used when others on the machine can read it, or when it could not be sent in a header.
 */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

bool secret_equal(const void *a, const void *b, size_t size)
{
  const volatile uint8_t *x = a, *y = b;
  uint8_t differ = 0;
  for (size_t i = 0; i < size; i++)
    differ |= (uint8_t)(x[i] ^ y[i]);
  return differ == 0;
}

bool secret_shown(const char *key, const char *authorization)
{
  static const char scheme[] = "Bearer ";
  if (strncasecmp(authorization, scheme, strlen(scheme)) != 0)
    return false;
  /* Padded to one length, so that the key's own does not show either. */
  char wanted[SECRET_MAX + 1] = {0}, shown[SECRET_MAX + 1] = {0};
  memcpy(wanted, key, strnlen(key, SECRET_MAX));
  const char *value = authorization + strlen(scheme);
  size_t size = strlen(value);
  memcpy(shown, value, size < sizeof shown ? size : sizeof shown);
  bool equal = secret_equal(wanted, shown, sizeof wanted);
  explicit_bzero(wanted, sizeof wanted);
  explicit_bzero(shown, sizeof shown);
  return equal;
}

/* A platform mounts its secrets read-only, and readable for all in the container; nobody could change that there. */
static bool cannot_be_changed(int fd, const char *path)
{
  struct statvfs fs;
  return (fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_RDONLY)) || (access(path, W_OK) != 0 && errno == EROFS);
}

static int refuse(char *why, size_t why_size, const char *path, const char *reason)
{
  snprintf(why, why_size, "the key file %s %s", path, reason);
  return -1;
}

static ssize_t read_all(int fd, char *out, size_t size)
{
  size_t have = 0;
  while (have < size) {
    ssize_t got = read(fd, out + have, size - have);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -1;
    if (got == 0)
      break;
    have += (size_t)got;
  }
  return (ssize_t)have;
}

static const char *key_trim(char *text)
{
  static const char blank[] = " \t\r";
  size_t skip = strspn(text, blank);
  size_t size = strlen(text + skip);
  memmove(text, text + skip, size + 1);
  while (size > 0 && strchr(blank, text[size - 1]))
    text[--size] = '\0';
  if (size == 0)
    return "has an empty first line";
  for (size_t i = 0; i < size; i++) {
    if (text[i] < ' ' || text[i] > '~')
      return "holds something else than printable ASCII in its first line";
  }
  return NULL;
}

static int secret_read_fd(int fd, const char *path, char out[SECRET_MAX + 1], char *why, size_t why_size)
{
  struct stat st;
  if (fstat(fd, &st) != 0)
    return refuse(why, why_size, path, strerror(errno));
  if (S_ISDIR(st.st_mode))
    return refuse(why, why_size, path, "is a directory");
  if ((st.st_mode & (S_IRWXG | S_IRWXO)) && !cannot_be_changed(fd, path))
    return refuse(why, why_size, path, "is open to others: chmod 600 it");
  ssize_t size = read_all(fd, out, SECRET_MAX + 1);
  if (size < 0)
    return refuse(why, why_size, path, strerror(errno));
  const char *end = memchr(out, '\n', (size_t)size);
  if (!end && size > SECRET_MAX)
    return refuse(why, why_size, path, "has a first line of more than 4096 bytes");
  if (end)
    size = end - out;
  if (memchr(out, '\0', (size_t)size))
    return refuse(why, why_size, path, "is not text");
  out[size] = '\0';
  const char *reason = key_trim(out);
  return reason ? refuse(why, why_size, path, reason) : 0;
}

int secret_read(const char *path, char out[SECRET_MAX + 1], char *why, size_t why_size)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    snprintf(why, why_size, "the key file %s cannot be read: %s", path, strerror(errno));
    return -1;
  }
  int result = secret_read_fd(fd, path, out, why, why_size);
  close(fd);
  if (result != 0)
    explicit_bzero(out, SECRET_MAX + 1);
  return result;
}
