/* The two processes share a socket pair. The child writes one byte, its exit status, which is 0 when it is ready, or
 * else is followed by a sentence. An end without that byte means that the child died. It is a socket and not a pipe, so
 * that a write to a process that is gone is an error and not a signal.
 */
#include "background.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/host/log_line.h"

enum { TEXT_MAX = 1024 };

static size_t read_all(int fd, char *bytes, size_t size)
{
  size_t got = 0;

  while (got < size) {
    ssize_t n = read(fd, bytes + got, size - got);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || bytes[0] == '\0')
      return n > 0 ? got + (size_t)n : got;
    got += (size_t)n;
  }
  return got;
}

static void tell_death(const char *program, pid_t child)
{
  int status = 0;

  if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
    fprintf(stderr, "%s: ended by signal %d (%s) before it was ready\n", program, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
  else
    fprintf(stderr, "%s: ended before it was ready\n", program);
}

__attribute__((noreturn)) static void wait_for(const char *program, int fd, pid_t child)
{
  char text[TEXT_MAX + 1];
  size_t size = read_all(fd, text, TEXT_MAX);

  if (size > 0 && text[0] == '\0')
    _exit(EXIT_SUCCESS);
  text[size] = '\0';
  if (size > 0)
    fprintf(stderr, "%s: %s\n", program, text + 1);
  else
    tell_death(program, child);
  _exit(size > 0 ? text[0] : EXIT_FAILURE);
}

static int redirect(const int *fds, size_t count)
{
  int rc = 0;
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);

  if (null < 0)
    return -errno;
  for (size_t i = 0; i < count && rc == 0; i++)
    if (dup2(null, fds[i]) < 0)
      rc = -errno;
  if (null > STDERR_FILENO)
    close(null);
  return rc;
}

static void close_if_inherited(int fd)
{
  int flags = fcntl(fd, F_GETFD);

  if (fd > STDERR_FILENO && flags >= 0 && (flags & FD_CLOEXEC) == 0)
    close(fd);
}

/* A lock, a pipe or a socket that the shell had open would be held as long as the daemon runs. All our own descriptors
 * are close-on-exec; those that are not were inherited. */
static int close_inherited(void)
{
  const struct dirent *entry;
  DIR *list = opendir("/proc/self/fd");

  if (list == NULL)
    return -errno;
  while ((entry = readdir(list)) != NULL)
    if (entry->d_name[0] != '.')
      close_if_inherited((int)strtol(entry->d_name, NULL, 10));
  closedir(list);
  return 0;
}

static int become_daemon(void)
{
  static const int fds[] = {STDIN_FILENO, STDOUT_FILENO};
  int rc;

  if (setsid() < 0 || chdir("/") != 0)
    return -errno;
  rc = close_inherited();
  return rc == 0 ? redirect(fds, sizeof(fds) / sizeof(fds[0])) : rc;
}

int background_start(struct background *b, const char *program)
{
  int fds[2];
  pid_t child;
  int rc;

  b->program = program;
  b->fd = -1;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return -errno;
  fflush(NULL);
  child = fork();
  if (child < 0) {
    rc = -errno;
    close(fds[0]);
    close(fds[1]);
    return rc;
  }
  if (child > 0) {
    close(fds[1]);
    wait_for(program, fds[0], child);
  }
  close(fds[0]);
  b->fd = fds[1];
  rc = become_daemon();
  if (rc != 0) {
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "cannot go to the background: %s", strerror(-rc));
    background_failed(b, EXIT_FAILURE, text);
    _exit(EXIT_FAILURE);
  }
  return 0;
}

static int tell(struct background *b, const char *bytes, size_t size)
{
  ssize_t sent = -1;

  if (b->fd < 0)
    return -EPIPE;
  do
    sent = send(b->fd, bytes, size, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  close(b->fd);
  b->fd = -1;
  return sent == (ssize_t)size ? 0 : -EPIPE;
}

int background_ready(struct background *b)
{
  static const int fds[] = {STDERR_FILENO};
  struct stat st;

  if (fstat(STDERR_FILENO, &st) != 0 || !(S_ISREG(st.st_mode) || log_line_is_journal(STDERR_FILENO)))
    redirect(fds, 1);
  return tell(b, "", 1);
}

void background_failed(struct background *b, int status, const char *text)
{
  char told[TEXT_MAX];
  int size = snprintf(told, sizeof told, "%c%s", status, text);

  tell(b, told, size < TEXT_MAX ? (size_t)size : TEXT_MAX - 1);
}
