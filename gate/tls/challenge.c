/* A token is no path: it has no dots and no slashes. A link is not followed: what is to be read lies there itself. */
#include "challenge.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char folder[] = "/.well-known/acme-challenge/";

static bool is_token_character(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool challenge_is(const char *path, size_t size, char token[CHALLENGE_TOKEN_MAX + 1])
{
  size_t start = sizeof folder - 1;

  if (size <= start || size - start > CHALLENGE_TOKEN_MAX || memcmp(path, folder, start) != 0)
    return false;
  for (size_t i = start; i < size; i++) {
    if (!is_token_character(path[i]))
      return false;
  }
  memcpy(token, path + start, size - start);
  token[size - start] = '\0';
  return true;
}

static int open_folder(const char *webroot)
{
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s%s", webroot, folder) >= (int)sizeof path)
    return -ENAMETOOLONG;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

static int read_file(int fd, char contents[CHALLENGE_SIZE_MAX], size_t *size)
{
  struct stat st;
  if (fstat(fd, &st) != 0)
    return -errno;
  if (!S_ISREG(st.st_mode))
    return -EINVAL;
  if (st.st_size > CHALLENGE_SIZE_MAX)
    return -EFBIG;
  ssize_t got = read(fd, contents, CHALLENGE_SIZE_MAX);
  if (got < 0)
    return -errno;
  *size = (size_t)got;
  return 0;
}

int challenge_read(const char *webroot, const char *token, char contents[CHALLENGE_SIZE_MAX], size_t *size)
{
  int dir = open_folder(webroot);
  if (dir < 0)
    return dir;
  int fd = openat(dir, token, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  int error = fd >= 0 ? read_file(fd, contents, size) : -errno;
  if (fd >= 0)
    close(fd);
  close(dir);
  return error;
}

int challenge_check(const char *webroot)
{
  struct stat st;
  if (stat(webroot, &st) != 0)
    return -errno;
  return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
