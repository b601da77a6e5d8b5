/* The kernel lists locks by the process that took them, and ours is taken before mmfs goes to the background, by a
 * process that is gone. So we look at all descriptors: fdinfo tells which locks each carries, without touching the
 * file.
 */
#include "identity_holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mountpoint.h"

enum { PATH_SIZE = 64 + 256, INFO_SIZE = 2048 };

typedef bool (*process_cb)(const char *pid, const void *arg);

/* The first process but us that is as it is wanted, or 0. */
static long find_process(process_cb wanted, const void *arg)
{
  const struct dirent *entry;
  long found = 0;
  DIR *all = opendir("/proc");

  if (all == NULL)
    return 0;
  while (found == 0 && (entry = readdir(all)) != NULL) {
    long pid = strtol(entry->d_name, NULL, 10);

    if (pid > 0 && pid != (long)getpid() && wanted(entry->d_name, arg))
      found = pid;
  }
  closedir(all);
  return found;
}

/* "lock:\t1: FLOCK  ADVISORY  WRITE 123 08:01:INODE 0 EOF". Of a device a file system may tell another number here than
 * stat does. */
static bool tells_lock(const char *info, ino_t inode)
{
  char end[48];

  snprintf(end, sizeof end, ":%llu 0 EOF", (unsigned long long)inode);
  return strstr(info, "FLOCK") != NULL && strstr(info, end) != NULL;
}

static bool descriptor_locks(int folder, const char *name, ino_t inode)
{
  char info[INFO_SIZE];
  ssize_t size = -1;
  int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);

  if (fd < 0)
    return false;
  size = read(fd, info, sizeof info - 1);
  close(fd);
  info[size > 0 ? size : 0] = '\0';
  return tells_lock(info, inode);
}

static bool holds(const char *pid, const void *arg)
{
  const struct stat *file = arg;
  const struct dirent *entry;
  char path[PATH_SIZE];
  bool found = false;

  snprintf(path, sizeof path, "/proc/%.20s/fdinfo", pid);
  DIR *all = opendir(path);
  if (all == NULL)
    return false;
  while (!found && (entry = readdir(all)) != NULL)
    found = entry->d_name[0] != '.' && descriptor_locks(dirfd(all), entry->d_name, file->st_ino);
  closedir(all);
  return found;
}

static bool sees_tree(const char *pid, const void *arg)
{
  struct mountpoint_mount mount;
  char path[PATH_SIZE];

  snprintf(path, sizeof path, "/proc/%.20s/mountinfo", pid);
  return mountpoint_look_up(path, arg, &mount) > 0 && strcmp(mount.type, MOUNTPOINT_TYPE) == 0;
}

void identity_holder_explain(const struct stat *file, const char *mountpoint, char why[IDENTITY_HOLDER_WHY_MAX])
{
  long holder = find_process(holds, file);
  long witness = holder != 0 ? find_process(sees_tree, mountpoint) : 0;

  if (holder == 0)
    snprintf(why, IDENTITY_HOLDER_WHY_MAX,
             "another mmfs, which cannot be seen from here, runs with this identity: end it first, or name another "
             "identity=FILE");
  else if (witness == 0)
    snprintf(why, IDENTITY_HOLDER_WHY_MAX,
             "another mmfs (pid %ld) runs with this identity: end it with kill %ld, or name another identity=FILE",
             holder, holder);
  else
    snprintf(why, IDENTITY_HOLDER_WHY_MAX,
             "another mmfs (pid %ld) runs with this identity, and its tree is still mounted in another mount "
             "namespace, that of pid %ld: unmount it there, or end it with kill %ld",
             holder, witness, holder);
}
