/* The manager's socket is a path, or a name in the abstract namespace, which is written with "@". It is addressed by
 * each datagram anew, and not connected to, since a manager that was started again has another socket there.
 */
#include "notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plain.h"

enum { SAID_MAX = 1024 };

static int address_read(struct notify *n, const char *name)
{
  size_t size = strlen(name);

  if ((name[0] != '/' && name[0] != '@') || size < 2)
    return -EINVAL;
  if (size >= sizeof n->to.sun_path)
    return -ENAMETOOLONG;
  n->to = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(n->to.sun_path, name, size);
  if (name[0] == '@')
    n->to.sun_path[0] = '\0';
  n->to_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
  return 0;
}

/* A positive number without anything else, or 0. */
static uint64_t number_read(const char *text)
{
  char *end = NULL;

  if (text == NULL || text[0] < '0' || text[0] > '9')
    return 0;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  return errno == 0 && *end == '\0' ? number : 0;
}

/* Half of the time after which the manager gives us up. */
static uint64_t alive_read(void)
{
  const char *pid = getenv("WATCHDOG_PID");
  uint64_t us = number_read(getenv("WATCHDOG_USEC"));

  if (us == 0 || (pid != NULL && number_read(pid) != (uint64_t)getpid()))
    return 0;
  return us / 2000 > 0 ? us / 2000 : 1;
}

void notify_open(struct notify *n)
{
  const char *name = getenv("NOTIFY_SOCKET");

  *n = (struct notify){.fd = -1};
  if (name != NULL && address_read(n, name) == 0)
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (n->fd >= 0)
    n->alive_ms = alive_read();
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
}

void notify_say(const struct notify *n, const char *key, const char *format, ...)
{
  char said[SAID_MAX];
  va_list values;

  if (n == NULL || n->fd < 0)
    return;
  int size = snprintf(said, sizeof said, "%s=", key);
  va_start(values, format);
  vsnprintf(said + size, sizeof said - (size_t)size, format, values);
  va_end(values);
  /* A newline would begin another assignment, and some sentences quote what others sent. */
  plain_text(said + size);
  sendto(n->fd, said, strlen(said), MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_size);
}

void notify_close(struct notify *n)
{
  if (n->fd >= 0)
    close(n->fd);
  n->fd = -1;
}
