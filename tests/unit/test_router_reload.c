/* Files that change while the router runs: what is read, when, and what is kept. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/rpc/rpc.h"
#include "router/reload.h"

#include "runner.h"

enum { POLL_MS = 5, PATIENCE_MS = 30000 };

static char folder[] = "/tmp/test-reload-XXXXXX", file[64], other[64];

/* What the loop was told last. */
static struct {
  unsigned times;
  char key[64], why[FILES_WHY_MAX];
  bool asked;
} told;

static struct rpc_queue *queue;
static struct rpc_timer *patience;
static unsigned awaited;
static atomic_uint signalled;

static void put(const char *path, const char *text)
{
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
}

static void next(void *arg);

static void on_read(struct files *files, const char *why, bool asked, void *arg)
{
  (void)arg;
  told.times++;
  told.asked = asked;
  snprintf(told.key, sizeof told.key, "%s", files->key ? files->key : "");
  snprintf(told.why, sizeof told.why, "%s", why ? why : "");
  ck_assert(why ? !files->key : files->key != NULL);
  ck_assert_uint_le(told.times, awaited);
  next(NULL);
}

static bool on_asks(void *arg)
{
  (void)arg;
  return atomic_fetch_add(&signalled, 1) > 0;
}

static void too_late(void *arg)
{
  (void)arg;
  ck_abort_msg("step %u does not come", awaited);
}

/* Returns when the thread has taken it. */
static void hang_up(unsigned nth)
{
  ck_assert_int_eq(kill(getpid(), SIGHUP), 0);
  while (atomic_load(&signalled) < nth)
    sched_yield();
}

/* Each step changes something, and the next one follows when the loop was told of it. */
static void next(void *arg)
{
  (void)arg;
  switch (told.times) {
  case 0: /* written in place */
    put(file, "second\n");
    break;
  case 1: /* replaced */
    ck_assert_str_eq(told.key, "second");
    ck_assert(!told.asked);
    put(other, "third\r\n");
    ck_assert_int_eq(rename(other, file), 0);
    break;
  case 2: /* replaced by a link to another one, as in a volume of Kubernetes */
    ck_assert_str_eq(told.key, "third");
    put(other, "fourth");
    ck_assert_int_eq(unlink(file), 0);
    ck_assert_int_eq(symlink(other, file), 0);
    break;
  case 3: /* what the link leads to */
    ck_assert_str_eq(told.key, "fourth");
    put(other, "fourth and a half");
    break;
  case 4: /* gone */
    ck_assert_str_eq(told.key, "fourth and a half");
    ck_assert_int_eq(unlink(other), 0);
    break;
  case 5: /* told once; back, but open to others */
    ck_assert_ptr_nonnull(strstr(told.why, "No such file"));
    put(other, "fifth\n");
    ck_assert_int_eq(chmod(other, 0644), 0);
    break;
  case 6: /* mended */
    ck_assert_ptr_nonnull(strstr(told.why, "chmod 600"));
    ck_assert_int_eq(chmod(other, 0600), 0);
    break;
  case 7: /* a signal that means something else, and one that does not */
    ck_assert_str_eq(told.key, "fifth");
    hang_up(1);
    hang_up(2);
    break;
  default:
    ck_assert_str_eq(told.key, "fifth");
    ck_assert(told.asked);
    rpc_timer_cancel(patience);
    rpc_queue_stop(queue, NULL, NULL);
    return;
  }
  awaited = told.times + 1;
}

START_TEST(test_files)
{
  const struct options o = {.key = file};
  struct reload *r;
  sigset_t signals;
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/key", folder);
  snprintf(other, sizeof other, "%s/other", folder);
  put(file, "first\n");
  sigemptyset(&signals);
  sigaddset(&signals, SIGHUP);
  sigaddset(&signals, RELOAD_END);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  ck_assert_int_eq(rpc_queue_create(&queue), 0);
  const struct reload_options options = {
      .queue = queue, .options = &o, .loaded = files_look(&o), .poll_ms = POLL_MS, .read = on_read, .asks = on_asks};
  ck_assert_int_eq(rpc_timer_start(&patience, queue, PATIENCE_MS, too_late, NULL), 0);
  ck_assert_int_eq(reload_start(&r, &options), 0);
  ck_assert_int_eq(rpc_queue_post(queue, next, NULL), 0);
  rpc_queue_run(queue);
  ck_assert(reload_stop(r));
  rpc_queue_free(queue);
  ck_assert_uint_eq(told.times, 8);
  unlink(file);
  unlink(other);
  ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("reload");
  TCase *tcase = tcase_create("reload");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_files);
  return suite;
}
