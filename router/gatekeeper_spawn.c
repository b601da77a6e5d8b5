/* The key is handed over in memory that has a descriptor, never as an argument. Our descriptors are closed by exec; the
 * child has 3, its end of the socket pair, and perhaps 4, the key.
 *
 * It is in a process group of its own: what a terminal says to all is said to it by the router, in order.
 */
#include "gatekeeper_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHILD_FD = 3, KEY_FD = 4, ARGUMENTS_MAX = 32, KEPT = 10 };

/* A descriptor from KEPT on, so that putting the child's in their places does not overwrite it; takes `fd`. */
static int move_up(int fd)
{
  int moved = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, KEPT) : -1;
  int error = errno;
  if (fd >= 0)
    close(fd);
  errno = error;
  return moved;
}

/* A file that only this user may read, as keys have to be. The descriptor, or -1 with errno. */
static int key_file(const char *key)
{
  size_t size = strlen(key);
  int fd = move_up(memfd_create("key", MFD_CLOEXEC));
  if (fd < 0)
    return -1;
  if (fchmod(fd, 0600) == 0 && write(fd, key, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0)
    return fd;
  close(fd);
  return -1;
}

/* Beside our own program, or else by its name alone. */
static const char *find(char room[PATH_MAX])
{
  ssize_t size = readlink("/proc/self/exe", room, PATH_MAX - sizeof "mmgate");
  char *slash = NULL;
  if (size > 0) {
    room[size] = '\0';
    slash = strrchr(room, '/');
  }
  if (slash == NULL)
    return "mmgate";
  memcpy(slash + 1, "mmgate", sizeof "mmgate");
  return access(room, X_OK) == 0 ? room : "mmgate";
}

static int spawn(pid_t *pid, char *const *argv, int child, int key)
{
  char room[PATH_MAX];
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none;
  int error = posix_spawn_file_actions_init(&files);
  if (error != 0)
    return -error;
  error = posix_spawnattr_init(&how);
  if (error == 0) {
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    error = posix_spawn_file_actions_adddup2(&files, child, CHILD_FD);
    if (error == 0 && key >= 0)
      error = posix_spawn_file_actions_adddup2(&files, key, KEY_FD);
    if (error == 0)
      error = posix_spawn_file_actions_addclosefrom_np(&files, key >= 0 ? KEY_FD + 1 : CHILD_FD + 1);
    if (error == 0)
      error = posix_spawnp(pid, find(room), &files, &how, argv, environ);
    posix_spawnattr_destroy(&how);
  }
  posix_spawn_file_actions_destroy(&files);
  return -error;
}

/* posix_spawn does not write to what argv points to. */
static char *text(const char *s)
{
  union {
    const char *in;
    char *out;
  } u = {.in = s};
  return u.out;
}

static int start(struct gate_process *out, char *const *argv, const char *key)
{
  int pair[2], key_fd = -1, error = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return -errno;
  pair[1] = move_up(pair[1]);
  if (pair[1] < 0 || (key != NULL && (key_fd = key_file(key)) < 0))
    error = -errno;
  pid_t pid = 0;
  if (error == 0)
    error = spawn(&pid, argv, pair[1], key_fd);
  if (pair[1] >= 0)
    close(pair[1]);
  if (key_fd >= 0)
    close(key_fd);
  if (error != 0) {
    close(pair[0]);
    return error;
  }
  *out = (struct gate_process){.pid = pid, .fd = pair[0]};
  return 0;
}

/* As an option of -o, in which a comma ends a value. False: it is too long. */
static bool write_cafile(char *out, size_t size, const char *file)
{
  size_t at = (size_t)snprintf(out, size, "cafile=");
  for (; *file != '\0' && at + 3 < size; file++) {
    if (*file == ',' || *file == '\\')
      out[at++] = '\\';
    out[at++] = *file;
  }
  out[at] = '\0';
  return *file == '\0';
}

int gate_process_start(struct gate_process *out, const char *const *arguments, const struct gatekeeper_order *order)
{
  char ca[2 * PATH_MAX];
  char *argv[ARGUMENTS_MAX] = {text("mmgate"), text("--child"), text("3"), text("--at"), text(order->at)};
  size_t count = 5;
  for (size_t i = 0; arguments[i] != NULL; i++) {
    if (count + 6 > ARGUMENTS_MAX)
      return -E2BIG;
    argv[count++] = text(arguments[i]);
  }
  if (order->key[0] != '\0') {
    argv[count++] = text("-o");
    argv[count++] = text("key=/proc/self/fd/4");
  }
  if (order->cafile[0] != '\0') {
    if (!write_cafile(ca, sizeof ca, order->cafile))
      return -ENAMETOOLONG;
    argv[count++] = text("-o");
    argv[count++] = ca;
  }
  argv[count++] = text(order->router);
  return start(out, argv, order->key[0] != '\0' ? order->key : NULL);
}
