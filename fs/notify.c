/* Tells the kernel what is gone, so that it lets go of it.
 *
 * The call waits in the kernel for the lock of the directory, and whoever has that lock may be waiting for an answer
 * from the loop. So it is made on a thread of its own, which the loop never waits for: the loop goes on answering until
 * the thread says that it has ended. The queue is bounded, and what does not fit is dropped: the kernel asks again for
 * every name anyway, and only holds on to memory a little longer. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE = 256 };

struct fs_notify {
  pthread_mutex_t lock;
  pthread_cond_t more;
  pthread_t thread;
  bool started; /* the loop's */
  bool stop;
  size_t first;
  size_t count;
  struct fs_notice queue[QUEUE];
  void (*send)(void *arg, const struct fs_notice *notice);
  void (*ended)(void *arg);
  void *arg;
};

int fs_notify_new(struct fs_notify **out, void (*send)(void *arg, const struct fs_notice *notice),
                  void (*ended)(void *arg), void *arg)
{
  struct fs_notify *notify = calloc(1, sizeof(*notify));
  if (notify == NULL)
    return -ENOMEM;
  notify->send = send;
  notify->ended = ended;
  notify->arg = arg;
  pthread_mutex_init(&notify->lock, NULL);
  pthread_cond_init(&notify->more, NULL);
  *out = notify;
  return 0;
}

static void *run(void *arg)
{
  struct fs_notify *notify = arg;
  for (;;) {
    struct fs_notice notice;
    pthread_mutex_lock(&notify->lock);
    while (notify->count == 0 && !notify->stop)
      pthread_cond_wait(&notify->more, &notify->lock);
    bool stop = notify->stop;
    if (!stop) {
      notice = notify->queue[notify->first];
      notify->first = (notify->first + 1) % QUEUE;
      notify->count--;
    }
    pthread_mutex_unlock(&notify->lock);
    if (stop)
      break;
    notify->send(notify->arg, &notice);
  }
  notify->ended(notify->arg);
  return NULL;
}

/* Signals are for the program's own threads. */
static bool start(struct fs_notify *notify)
{
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  notify->started = pthread_create(&notify->thread, NULL, run, notify) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return notify->started;
}

void fs_notify_add(struct fs_notify *notify, uint64_t parent, uint64_t child, const char *name)
{
  if (!notify->started && !start(notify))
    return;
  pthread_mutex_lock(&notify->lock);
  if (notify->count < QUEUE && !notify->stop) {
    struct fs_notice *notice = &notify->queue[(notify->first + notify->count) % QUEUE];
    notice->parent = parent;
    notice->child = child;
    size_t size = strlen(name);
    memcpy(notice->name, name, (size < FS_NAME_MAX ? size : FS_NAME_MAX) + 1);
    notice->name[FS_NAME_MAX] = '\0';
    notify->count++;
    pthread_cond_signal(&notify->more);
  }
  pthread_mutex_unlock(&notify->lock);
}

bool fs_notify_stop(struct fs_notify *notify)
{
  if (!notify->started)
    return false;
  pthread_mutex_lock(&notify->lock);
  notify->stop = true;
  pthread_cond_signal(&notify->more);
  pthread_mutex_unlock(&notify->lock);
  return true;
}

void fs_notify_free(struct fs_notify *notify)
{
  if (notify->started)
    pthread_join(notify->thread, NULL);
  pthread_cond_destroy(&notify->more);
  pthread_mutex_destroy(&notify->lock);
  free(notify);
}
