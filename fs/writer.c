/* What /proc tells of a process that writes. A request of the kernel names the thread that it comes from, and no more;
 * what is not to be seen there (another PID namespace, hidepid, a process with more capabilities) is answered with no.
 *
 * Whether it is done. The kernel tells of every descriptor that is closed, and not whether there are others of the same
 * open file: a shell has two of them while a builtin writes to one, and each command that it starts closes those that
 * it was born with. So a line that lacks its newline has ended only when the process that opened the file closes its
 * last descriptor of it, or ends. Nothing is lost if that cannot be seen: the release of the file ends the line as
 * well, only that nobody waits for what becomes of it.
 *
 * Whether it is ending. The kernel interrupts a request for any signal, be it the end of a child of which a shell takes
 * note. Those that end a process are: one that it does not handle and whose default is to end it, and those by which
 * people and programs ask for the end (SIGINT, SIGQUIT, SIGTERM, SIGHUP), handled or not, since a shell handles them
 * and ends. */
#include "fs/fs_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 96, LINE_SIZE = 256, DESCRIPTORS_MAX = 1024, EXITING = 0x4 /* PF_EXITING */ };

static FILE *open_file(pid_t pid, const char *name)
{
  char path[PATH_SIZE];
  snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
  return fopen(path, "re");
}

/* ---- Is it done? ---- */

static bool is_same_process(pid_t opener, pid_t closer)
{
  char path[PATH_SIZE];
  snprintf(path, sizeof(path), "/proc/%ld/task/%ld", (long)opener, (long)closer);
  return opener == closer || access(path, F_OK) == 0;
}

/* Then all of its descriptors go, and the list of them is empty, or not for us to see. */
static bool is_exiting(pid_t pid)
{
  char line[1024];
  FILE *file = open_file(pid, "stat");
  if (file == NULL)
    return false;
  size_t size = fread(line, 1, sizeof(line) - 1, file);
  fclose(file);
  line[size] = '\0';
  const char *at = strrchr(line, ')'); /* of its name; the flags are the seventh word behind it */
  for (int i = 0; at != NULL && i < 7; i++)
    at = strchr(at + 1, ' ');
  return at != NULL && (strtoul(at, NULL, 10) & EXITING) != 0;
}

/* By the end of its path, so that only candidates are looked at closely. One that cannot be read counts as a
 * candidate. */
static bool may_be_named(int dir, const char *number, const char *name)
{
  char path[4096];
  ssize_t size = readlinkat(dir, number, path, sizeof(path) - 1);
  if (size < 0)
    return errno != ENOENT;
  path[size] = '\0';
  const char *last = strrchr(path, '/');
  size_t length = strlen(name);
  return last != NULL && strncmp(last + 1, name, length) == 0 &&
         (last[1 + length] == '\0' || strcmp(last + 1 + length, " (deleted)") == 0);
}

static bool may_write_to(pid_t pid, const char *number, const struct fs_entry *entry)
{
  char name[32];
  char line[LINE_SIZE];
  int flags = O_RDONLY;
  unsigned long long ino = 0;
  snprintf(name, sizeof(name), "fdinfo/%.20s", number);
  FILE *file = open_file(pid, name);
  if (file == NULL)
    return errno != ENOENT;
  while (fgets(line, sizeof(line), file) != NULL) {
    if (strncmp(line, "flags:", 6) == 0)
      flags = (int)strtoul(line + 6, NULL, 8);
    if (strncmp(line, "ino:", 4) == 0)
      ino = strtoull(line + 4, NULL, 10);
  }
  fclose(file);
  return (flags & O_ACCMODE) != O_RDONLY && fs_table_find(entry->table, ino) == entry;
}

static bool may_have_another(pid_t pid, const struct fs_entry *entry)
{
  char path[PATH_SIZE];
  snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
  DIR *dir = opendir(path);
  if (dir == NULL)
    return true;
  bool found = false;
  const struct dirent *listed = NULL;
  for (int i = 0; !found && (listed = readdir(dir)) != NULL; i++)
    found = i > DESCRIPTORS_MAX || (listed->d_name[0] != '.' && may_be_named(dirfd(dir), listed->d_name, entry->name) &&
                                    may_write_to(pid, listed->d_name, entry));
  closedir(dir);
  return found;
}

bool fs_writer_is_done(pid_t opener, pid_t closer, const struct fs_entry *entry)
{
  if (opener <= 0 || closer <= 0 || !is_same_process(opener, closer))
    return false;
  return is_exiting(closer) || !may_have_another(closer, entry);
}

/* ---- Is it ending? ---- */

static uint64_t bit(int number)
{
  return UINT64_C(1) << (number - 1);
}

bool fs_writer_is_ending(pid_t writer)
{
  static const char *const names[] = {"SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"};
  uint64_t sets[5] = {0};
  char line[LINE_SIZE];
  FILE *file = writer > 0 ? open_file(writer, "status") : NULL;
  if (file == NULL)
    return false;
  while (fgets(line, sizeof(line), file) != NULL)
    for (size_t i = 0; i < 5; i++)
      if (strncmp(line, names[i], strlen(names[i])) == 0)
        sets[i] = strtoull(line + strlen(names[i]), NULL, 16);
  fclose(file);
  uint64_t asked = bit(SIGINT) | bit(SIGQUIT) | bit(SIGTERM) | bit(SIGHUP);
  uint64_t harmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGSTOP) | bit(SIGTSTP) |
                      bit(SIGTTIN) | bit(SIGTTOU);
  uint64_t pending = (sets[0] | sets[1]) & ~sets[2] & ~sets[3];
  return (pending & ~harmless & (asked | ~sets[4])) != 0;
}
