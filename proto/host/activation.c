#include "activation.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 4096 };

/* A whole number without a sign, as the protocol has it; 0: it is none, or too large for `most`. */
static unsigned long number_of(const char *text, unsigned long most)
{
  unsigned long value = 0;
  if (text == NULL || *text == '\0')
    return 0;
  for (; *text != '\0'; text++) {
    if (*text < '0' || *text > '9' || value > most)
      return 0;
    value = 10 * value + (unsigned long)(*text - '0');
  }
  return value <= most ? value : 0;
}

/* The names are in the order of the sockets, with colons between. */
static bool is_called(const char *names, unsigned index, const char *name)
{
  size_t size = strlen(name);
  for (; names != NULL && index > 0; index--) {
    names = strchr(names, ':');
    names = names != NULL ? names + 1 : NULL;
  }
  return names != NULL && strncmp(names, name, size) == 0 && (names[size] == '\0' || names[size] == ':');
}

unsigned activation_take(const char *name, bool others, int *fds, unsigned max)
{
  const char *names = getenv("LISTEN_FDNAMES");
  unsigned long count = number_of(getenv("LISTEN_FDS"), MOST);
  unsigned taken = 0;

  if (number_of(getenv("LISTEN_PID"), 1UL << 31) != (unsigned long)getpid())
    return 0;
  for (unsigned i = 0; i < count && taken < max; i++) {
    int fd = FIRST + (int)i;
    if (is_called(names, i, name) != others && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
      fds[taken++] = fd;
  }
  return taken;
}
