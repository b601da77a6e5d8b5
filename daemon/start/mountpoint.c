/* We look into /proc/self/mountinfo first, because stat of a mount whose server hangs does not return. So the path is
 * made canonical without touching its last component, unless nothing is mounted there. Only a mount of type fuse.mmfs
 * by the same user is touched at all, by a child process that can be left behind.
 */
#include "mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mountinfo.h"
#include "proto/host/plain.h"

#define MOUNTINFO "/proc/self/mountinfo"

enum { ANSWER_MS = 2000, MOUNTINFO_MAX = 16 * 1024 * 1024, LINKS_MAX = 40, STACKED_MAX = 16 };

static const char missing[] = "does not exist: mkdir -p it first";

static int explain(char why[MOUNTPOINT_WHY_MAX], int error, const char *path, const char *reason)
{
  snprintf(why, MOUNTPOINT_WHY_MAX, "%.600s %s", path, reason);
  plain_text(why);
  return error;
}

static int explain_errno(char why[MOUNTPOINT_WHY_MAX], int error, const char *path)
{
  char reason[128];

  snprintf(reason, sizeof(reason), "cannot be used: %s", strerror(-error));
  return explain(why, error, path, reason);
}

static void read_user(const char *options, struct mountpoint_mount *out)
{
  static const char key[] = "user_id=";

  for (; *options != '\0'; options += strcspn(options, ","), options += *options == ',') {
    if (strncmp(options, key, strlen(key)) != 0)
      continue;
    out->user = (uid_t)strtoul(options + strlen(key), NULL, 10);
    out->has_user = true;
  }
}

static bool read_line(char *line, const char *path, struct mountpoint_mount *out)
{
  struct mountpoint_mount found = {0};
  struct mountinfo mount;

  if (!mountinfo_parse(line, &mount) || strcmp(mount.path, path) != 0)
    return false;
  if (strlen(mount.type) < sizeof found.type)
    snprintf(found.type, sizeof found.type, "%s", mount.type);
  read_user(mount.options, &found);
  *out = found;
  return true;
}

bool mountpoint_find(char *text, const char *path, struct mountpoint_mount *out)
{
  bool found = false;

  while (text != NULL) {
    char *line = strsep(&text, "\n");

    /* The last one lies uppermost. */
    if (read_line(line, path, out))
      found = true;
  }
  return found;
}

static int read_mountinfo(const char *mountinfo, char **out)
{
  char *text = NULL;
  size_t capacity = 0;
  size_t size = 0;
  int rc = 0;
  int fd = open(mountinfo, O_RDONLY | O_CLOEXEC);

  if (fd < 0)
    return -errno;
  for (;;) {
    ssize_t n;

    if (capacity - size < 4096) {
      char *larger = capacity < MOUNTINFO_MAX ? realloc(text, capacity * 2 + 16384) : NULL;

      if (larger == NULL) {
        rc = -ENOMEM;
        break;
      }
      text = larger;
      capacity = capacity * 2 + 16384;
    }
    n = read(fd, text + size, capacity - size - 1);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      rc = -errno;
    if (n <= 0)
      break;
    size += (size_t)n;
  }
  close(fd);
  if (rc != 0) {
    free(text);
    return rc;
  }
  text[size] = '\0';
  *out = text;
  return 0;
}

int mountpoint_look_up(const char *mountinfo, const char *path, struct mountpoint_mount *out)
{
  char *text = NULL;
  int rc = read_mountinfo(mountinfo, &text);

  if (text == NULL)
    return rc;
  rc = mountpoint_find(text, path, out) ? 1 : 0;
  free(text);
  return rc;
}

/* What stat says of `path`, asked by a child: 0, or a negative errno; -ETIMEDOUT when nothing answers. */
static int ask_mount(const char *path)
{
  struct pollfd wait = {.events = POLLIN};
  int error = EIO;
  int fds[2];
  pid_t child;

  if (pipe2(fds, O_CLOEXEC) != 0)
    return -errno;
  child = fork();
  if (child < 0) {
    error = errno;
    close(fds[0]);
    close(fds[1]);
    return -error;
  }
  if (child == 0) {
    struct stat st;

    error = stat(path, &st) == 0 ? 0 : errno;
    if (write(fds[1], &error, sizeof(error)) != (ssize_t)sizeof(error))
      _exit(EXIT_FAILURE);
    _exit(EXIT_SUCCESS);
  }
  close(fds[1]);
  wait.fd = fds[0];
  if (poll(&wait, 1, ANSWER_MS) <= 0)
    error = ETIMEDOUT;
  else if (read(fds[0], &error, sizeof(error)) != (ssize_t)sizeof(error))
    error = EIO;
  close(fds[0]);
  kill(child, SIGKILL);
  waitpid(child, NULL, error == ETIMEDOUT ? WNOHANG : 0);
  return -error;
}

static int run_fusermount(const char *path)
{
  char program[] = "fusermount3";
  char flags[] = "-uz";
  char separator[] = "--";
  char *copy = strdup(path);
  char *argv[] = {program, flags, separator, copy, NULL};
  pid_t child;
  int status = 0;
  int rc;

  if (copy == NULL)
    return -ENOMEM;
  rc = -posix_spawnp(&child, program, NULL, NULL, argv, environ);
  free(copy);
  if (rc != 0)
    return rc;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return -errno;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int detach(const char *path)
{
  if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
    return 0;
  return errno == EPERM ? run_fusermount(path) : -errno;
}

/* Something is mounted at `path`: 0 when it was a dead mount of ours, and is gone. */
static int replace(const char *path, const struct mountpoint_mount *mount, char why[MOUNTPOINT_WHY_MAX])
{
  char reason[128];
  int rc;

  if (strcmp(mount->type, MOUNTPOINT_TYPE) != 0) {
    snprintf(reason, sizeof(reason), "is a mount point already, of type %s", mount->type);
    return explain(why, -EBUSY, path, reason);
  }
  if (!mount->has_user || mount->user != geteuid()) {
    snprintf(reason, sizeof(reason), "is a mount point already, of user %lu", (unsigned long)mount->user);
    return explain(why, -EBUSY, path, reason);
  }
  rc = ask_mount(path);
  if (rc == -ETIMEDOUT)
    return explain(why, -EBUSY, path, "is already mounted, by an mmfs that does not answer");
  if (rc != -ENOTCONN && rc != -ECONNABORTED)
    return explain(why, -EBUSY, path, "is already mounted");
  rc = detach(path);
  if (rc == 0)
    return 0;
  snprintf(reason, sizeof(reason), "has a dead mount that cannot be removed: %s", strerror(-rc));
  return explain(why, rc, path, reason);
}

/* The real path of all but the last component, for free(). */
static char *canonical(const char *path)
{
  size_t size = strlen(path);
  size_t base;
  char *copy;
  char *parent;
  char *joined = NULL;

  while (size > 1 && path[size - 1] == '/')
    size--;
  for (base = size; base > 0 && path[base - 1] != '/'; base--)
    ;
  if (base == size || (size - base == 1 && path[base] == '.') ||
      (size - base == 2 && strncmp(path + base, "..", 2) == 0))
    return realpath(path, NULL);
  copy = base > 0 ? strndup(path, base) : strdup(".");
  parent = copy != NULL ? realpath(copy, NULL) : NULL;
  free(copy);
  if (parent == NULL)
    return NULL;
  if (asprintf(&joined, "%s/%.*s", strcmp(parent, "/") == 0 ? "" : parent, (int)(size - base), path + base) < 0)
    joined = NULL;
  free(parent);
  return joined;
}

/* `path` is a symbolic link: what it names, for free(). */
static char *follow(const char *path)
{
  char target[PATH_MAX];
  char *joined = NULL;
  ssize_t size = readlink(path, target, sizeof(target) - 1);

  if (size < 0)
    return NULL;
  target[size] = '\0';
  if (target[0] == '/')
    return strdup(target);
  if (asprintf(&joined, "%.*s/%s", (int)(strrchr(path, '/') - path), path, target) < 0)
    return NULL;
  return joined;
}

/* Somebody wrote into the tree while it was not mounted. */
static int explain_stray(char why[MOUNTPOINT_WHY_MAX], const char *path, const char *name)
{
  char reason[400];

  snprintf(reason, sizeof(reason),
           "is not empty: \"%.20s\" was written there while the tree was not mounted. Move it away, start mmfs, and "
           "declare again what it has. Where the empty directory is immutable (chattr +i), this cannot happen",
           name);
  return explain(why, -ENOTEMPTY, path, reason);
}

static int check_empty(const char *path, char why[MOUNTPOINT_WHY_MAX])
{
  static const char *const ours[] = {"services", "forwards", "connections", "status", "events", "errors"};
  const struct dirent *entry;
  int rc = 0;
  DIR *dir = opendir(path);

  if (dir == NULL)
    return explain_errno(why, -errno, path);
  while ((entry = readdir(dir)) != NULL) {
    bool stray = false;
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
      stray = stray || strcmp(entry->d_name, ours[i]) == 0;
    /* A name that the tree does not have shows that this is some other directory. */
    if (!stray) {
      rc = explain(why, -ENOTEMPTY, path, "is not empty: mount on an empty directory");
      break;
    }
    rc = explain_stray(why, path, entry->d_name);
  }
  closedir(dir);
  return rc;
}

static int check_directory(const char *path, const struct stat *st, char why[MOUNTPOINT_WHY_MAX])
{
  if (!S_ISDIR(st->st_mode))
    return explain(why, -ENOTDIR, path, "is not a directory");
  if (geteuid() != 0 && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0)
    return explain(why, -EACCES, path, "is not writable by you, which mounting needs");
  return check_empty(path, why);
}

/* One look at `path`, which is canonical: 0, or a negative errno, or 1 with where to look next in *next. */
static int inspect(const char *path, char **next, char why[MOUNTPOINT_WHY_MAX])
{
  struct mountpoint_mount mount = {0};
  struct stat st;
  int rc = mountpoint_look_up(MOUNTINFO, path, &mount);

  if (rc < 0)
    return explain(why, rc, MOUNTINFO, "cannot be read");
  /* An automount point waits for just this mount, and looking into it would wait for it too. */
  if (rc > 0 && strcmp(mount.type, "autofs") == 0)
    return 0;
  if (rc > 0) {
    rc = replace(path, &mount, why);
    if (rc != 0)
      return rc;
    *next = strdup(path);
    return *next != NULL ? 1 : explain_errno(why, -ENOMEM, path);
  }
  if (lstat(path, &st) != 0)
    return errno == ENOENT ? explain(why, -ENOENT, path, missing) : explain_errno(why, -errno, path);
  if (!S_ISLNK(st.st_mode))
    return check_directory(path, &st, why);
  *next = follow(path);
  return *next != NULL ? 1 : explain_errno(why, -errno, path);
}

int mountpoint_prepare(const char *path, char **out, char why[MOUNTPOINT_WHY_MAX])
{
  char *current = strdup(path);
  int rc = current != NULL ? 1 : explain_errno(why, -ENOMEM, path);

  *out = NULL;
  for (int i = 0; rc == 1 && i < LINKS_MAX + STACKED_MAX; i++) {
    char *next = NULL;
    char *real = canonical(current);

    if (real == NULL) {
      rc = errno == ENOENT ? explain(why, -ENOENT, path, missing) : explain_errno(why, -errno, path);
      break;
    }
    rc = inspect(real, &next, why);
    free(current);
    current = rc == 1 ? next : real;
    if (rc == 1)
      free(real);
  }
  if (rc == 0) {
    *out = current;
    return 0;
  }
  if (rc == 1)
    rc = explain_errno(why, -ELOOP, path);
  free(current);
  return rc;
}
