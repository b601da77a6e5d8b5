/* Whether anybody can still come to the tree by a path.
 *
 * Who unmounts lazily sees the tree go at once; but the kernel ends the session only when the last process has left it
 * that stands in it or has a file of it open, which may be never. And a copy of the mount may stay in another mount
 * namespace. So the kernel's list of mounts is looked at whenever it changes, and the session is over once the device
 * is in no list of any process:
 *
 *     HERE --not in our list--> ELSEWHERE --in no list--> NOWHERE: told, once
 *       ^                        |   ^ |
 *       +------in our list-------+   +-+ every few seconds: of other namespaces' changes nobody tells us
 *
 * Lists may be long, so they are read in the thread pool.
 *
 * A change is told once to each open file, to the first that asks. A loop whose epoll lies in another one is asked by
 * that first, which stops at the first file that is ready: so there are two, and the second still tells it. */
#include "fs/fs_internal.h"
#include "fs/mountinfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 2000, NAMESPACE_SIZE = 32, NAMESPACES_MAX = 64, PATH_SIZE = 300 };

/* ---- In the thread pool ---- */

static bool is_of_device(char *line, const char *device)
{
  struct mountinfo mount;
  return mountinfo_parse(line, &mount) && strcmp(mount.device, device) == 0;
}

/* Whether a process sees it: 1 or 0, or a negative errno. */
static int is_listed(const char *pid, const char *device)
{
  char path[PATH_SIZE];
  snprintf(path, sizeof(path), "/proc/%s/mountinfo", pid);
  FILE *list = fopen(path, "re");
  if (list == NULL)
    return -errno;
  char *line = NULL;
  size_t room = 0;
  int found = 0;
  while (found == 0 && getline(&line, &room, list) >= 0)
    found = is_of_device(line, device);
  if (found == 0 && ferror(list))
    found = -EIO;
  free(line);
  fclose(list);
  return found;
}

struct namespaces {
  char seen[NAMESPACES_MAX][NAMESPACE_SIZE];
  size_t count;
};

/* Whether we have not looked at the namespace of this process yet. Those of other users do not tell theirs. */
static bool is_new(struct namespaces *namespaces, const char *pid)
{
  char path[PATH_SIZE];
  char name[NAMESPACE_SIZE];
  snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid);
  ssize_t size = readlink(path, name, sizeof(name) - 1);
  if (size <= 0)
    return true;
  name[size] = '\0';
  for (size_t i = 0; i < namespaces->count; i++)
    if (strcmp(namespaces->seen[i], name) == 0)
      return false;
  if (namespaces->count < NAMESPACES_MAX)
    memcpy(namespaces->seen[namespaces->count++], name, sizeof(name));
  return true;
}

static enum fs_reach_state look_elsewhere(const char *device)
{
  DIR *processes = opendir("/proc");
  if (processes == NULL)
    return FS_REACH_ELSEWHERE;
  struct namespaces namespaces = {.count = 0};
  is_new(&namespaces, "self");
  enum fs_reach_state found = FS_REACH_NOWHERE;
  const struct dirent *process = NULL;
  while (found == FS_REACH_NOWHERE && (process = readdir(processes)) != NULL) {
    const char *pid = process->d_name;
    if (pid[0] < '1' || pid[0] > '9' || !is_new(&namespaces, pid))
      continue;
    int listed = is_listed(pid, device);
    /* Short of descriptors or memory nothing is known. The others are processes that end. */
    if (listed > 0 || listed == -EMFILE || listed == -ENFILE || listed == -ENOMEM)
      found = FS_REACH_ELSEWHERE;
  }
  closedir(processes);
  return found;
}

static void look(uv_work_t *work)
{
  struct fs *fs = work->data;
  int listed = is_listed("self", fs->reach.device);
  if (listed == 0)
    fs->reach.found = look_elsewhere(fs->reach.device);
  else
    fs->reach.found = listed > 0 ? FS_REACH_HERE : FS_REACH_ELSEWHERE;
}

/* ---- On the loop ---- */

static void request_look(struct fs *fs);
static void on_due(uv_timer_t *timer);

static void looked(uv_work_t *work, int status)
{
  struct fs *fs = work->data;
  struct fs_reach *reach = &fs->reach;
  reach->looking = false;
  if (fs->closing) {
    fs_let(fs);
    return;
  }
  if (status != 0 || reach->found == FS_REACH_ELSEWHERE)
    uv_timer_start(&reach->timer, on_due, LOOK_AGAIN_MS, 0);
  if (status == 0 && reach->found == FS_REACH_NOWHERE)
    fs_session_over(fs);
  else if (reach->changed)
    request_look(fs);
  fs_let(fs);
}

static void request_look(struct fs *fs)
{
  struct fs_reach *reach = &fs->reach;
  reach->changed = reach->looking;
  if (reach->looking)
    return;
  reach->work.data = fs;
  if (uv_queue_work(fs->poll.loop, &reach->work, look, looked) != 0) {
    uv_timer_start(&reach->timer, on_due, LOOK_AGAIN_MS, 0);
    return;
  }
  reach->looking = true;
  fs->uv_handles++;
}

static void on_due(uv_timer_t *timer)
{
  request_look(timer->data);
}

/* The kernel tells a change of the list as an error and an urgent event. */
static void on_changed(uv_poll_t *poll, int status, int events)
{
  (void)events;
  struct fs *fs = poll->data;
  if (status < 0)
    uv_poll_stop(poll);
  request_look(fs);
}

static void on_closed(uv_handle_t *handle)
{
  fs_let(handle->data);
}

static int watch(struct fs *fs, struct fs_reach_watch *w)
{
  w->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  if (w->fd < 0)
    return -errno;
  int error = uv_poll_init(fs->poll.loop, &w->poll, w->fd);
  if (error != 0) {
    close(w->fd);
    return error;
  }
  w->poll.data = fs;
  w->started = true;
  fs->uv_handles++;
  return uv_poll_start(&w->poll, UV_PRIORITIZED, on_changed);
}

int fs_reach_start(struct fs *fs)
{
  struct fs_reach *reach = &fs->reach;
  if (!fs_glue_device(fs->glue, reach->device, sizeof(reach->device)))
    return 0;
  uv_timer_init(fs->poll.loop, &reach->timer);
  reach->timer.data = fs;
  reach->started = true;
  fs->uv_handles++;
  int error = 0;
  for (size_t i = 0; i < FS_REACH_WATCHES && error == 0; i++)
    error = watch(fs, &reach->watches[i]);
  return error;
}

void fs_reach_stop(struct fs *fs)
{
  struct fs_reach *reach = &fs->reach;
  if (!reach->started)
    return;
  uv_close((uv_handle_t *)&reach->timer, on_closed);
  for (size_t i = 0; i < FS_REACH_WATCHES; i++) {
    struct fs_reach_watch *w = &reach->watches[i];
    if (!w->started)
      continue;
    uv_close((uv_handle_t *)&w->poll, on_closed);
    close(w->fd);
  }
}
