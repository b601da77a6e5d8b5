/* Pipes that are kept for the next one. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/host/pipes.h"

#include "runner.h"

enum { MANY = 1024, PLAIN_USER = 64321 };

static struct pipes *pool;
static int near, far; /* a TCP connection */

static void open_pool(size_t budget, size_t idle_most)
{
  ck_assert_int_eq(pipes_open(&pool, budget, idle_most), 0);
}

static struct pipes_stats stats(void)
{
  struct pipes_stats s;
  pipes_stats(pool, &s);
  return s;
}

static void setup(void)
{
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
  ck_assert_int_eq(listen(listener, 1), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
  far = socket(AF_INET, SOCK_STREAM, 0);
  ck_assert_int_eq(connect(far, (struct sockaddr *)&at, sizeof at), 0);
  near = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  ck_assert_int_ge(near, 0);
  setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  close(listener);
}

static void teardown(void)
{
  close(near);
  close(far);
}

static struct pooled_pipe *filled_with(const char *text)
{
  struct pooled_pipe *p = pipes_take(pool);
  ck_assert_ptr_nonnull(p);
  ck_assert_int_eq(send(far, text, strlen(text), 0), (ssize_t)strlen(text));
  ck_assert_int_eq(pipe_fill(p, near, p->size), (ssize_t)strlen(text));
  return p;
}

START_TEST(test_an_empty_one_is_used_again)
{
  open_pool(16 << 20, 4);
  struct pooled_pipe *p = filled_with("hello");
  char got[8] = "";
  ck_assert_uint_eq(p->held, 5);
  ck_assert_int_eq(pipe_drain(p, near, 2), 2);
  ck_assert_uint_eq(p->held, 3);
  ck_assert_int_eq(pipe_drain(p, near, p->size), 3);
  ck_assert_int_eq(recv(far, got, 5, MSG_WAITALL), 5);
  ck_assert_str_eq(got, "hello");
  pipes_give(p);
  ck_assert_uint_eq(stats().idle, 1);
  ck_assert_ptr_eq(pipes_take(pool), p);
  ck_assert_int_eq(pipe_fill(p, near, p->size), -EAGAIN); /* which spoils nothing */
  pipes_give(p);
  ck_assert_uint_eq(stats().idle, 1);
  ck_assert_uint_eq(stats().made, 1);
  pipes_close(pool);
}
END_TEST

START_TEST(test_one_with_a_byte_in_it_is_closed)
{
  open_pool(16 << 20, 4);
  struct pooled_pipe *p = filled_with("hello");
  ck_assert_int_eq(pipe_drain(p, near, 4), 4);
  int out = p->out;
  pipes_give(p);
  ck_assert_int_lt(fcntl(out, F_GETFD), 0);
  struct pipes_stats s = stats();
  ck_assert_uint_eq(s.idle, 0);
  ck_assert_uint_eq(s.taken, 0);
  ck_assert_uint_eq(s.bytes, 0);
  p = pipes_take(pool);
  ck_assert_int_eq(read(p->out, &(char){0}, 1), -1);
  ck_assert_int_eq(errno, EAGAIN);
  pipes_give(p);
  pipes_close(pool);
}
END_TEST

/* Whatever the kernel did before it failed: the pipe is not used again, though its count may say that it is empty. */
START_TEST(test_one_that_met_an_error_is_closed)
{
  open_pool(16 << 20, 4);
  struct pooled_pipe *p = pipes_take(pool);
  setsockopt(far, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
  close(far);
  ck_assert_int_eq(pipe_fill(p, near, p->size), -ECONNRESET);
  ck_assert_uint_eq(p->held, 0);
  pipes_give(p);
  ck_assert_uint_eq(stats().idle, 0);
  pipes_close(pool);
  far = dup(near);
}
END_TEST

/* However the bytes are cut into pieces, where there was room for more there were no more. */
START_TEST(test_room_is_certain)
{
  open_pool(4 * (size_t)PIPE_SIZE_LEAST, 4);
  struct pooled_pipe *p = pipes_take(pool);
  ck_assert_uint_eq(p->size, PIPE_SIZE_LEAST);
  for (int pieces = 1; pieces <= 40; pieces++) {
    for (int i = 0; i < pieces; i++) {
      ck_assert_int_eq(send(far, "x", 1, 0), 1);
      while (recv(near, &(char[64]){0}, 64, MSG_PEEK) < i + 1) /* each in a packet of its own */
        ;
    }
    for (int left = pieces; left > 0;) {
      ssize_t n = pipe_fill(p, near, p->size);
      ck_assert_int_gt(n, 0);
      left -= (int)n;
      if (pipe_has_room_after(p, (size_t)n))
        ck_assert_int_eq(left, 0);
      ck_assert_int_eq(pipe_drain(p, near, p->size), n);
    }
  }
  pipes_give(p);
  pipes_close(pool);
}
END_TEST

/* What is shared comes out of both, and what is not wanted any more goes in the order in which it came. */
START_TEST(test_shared_bytes)
{
  open_pool(16 << 20, 4);
  struct pooled_pipe *p = filled_with("hello"), *kept = pipes_take(pool);
  char got[8] = "";
  ck_assert_int_eq(pipe_share(p, kept, 5), 5);
  ck_assert_uint_eq(p->held, 5);
  ck_assert_uint_eq(kept->held, 5);
  ck_assert_int_eq(pipe_drain(p, near, 5), 5);
  ck_assert_int_eq(recv(far, got, 5, MSG_WAITALL), 5);
  ck_assert_str_eq(got, "hello");
  ck_assert_int_eq(pipe_forget(kept, 2), 0);
  ck_assert_int_eq(pipe_read(kept, got, 3), 0);
  ck_assert_mem_eq(got, "llo", 3);
  pipes_give(p);
  pipes_give(kept);
  ck_assert_uint_eq(stats().idle, 2);
  pipes_close(pool);
}
END_TEST

START_TEST(test_more_than_it_holds)
{
  open_pool(16 << 20, 4);
  struct pooled_pipe *p = filled_with("hello");
  ck_assert_int_eq(pipe_forget(p, 6), -EAGAIN);
  pipes_give(p);
  ck_assert_uint_eq(stats().idle, 0);
  p = filled_with("hello");
  ck_assert_int_eq(pipe_read(p, (char[8]){0}, 6), -EAGAIN);
  pipes_give(p);
  ck_assert_uint_eq(stats().idle, 0);
  pipes_close(pool);
}
END_TEST

START_TEST(test_the_budget_is_held)
{
  enum { BUDGET = 8 << 20 };
  open_pool(BUDGET, 2);
  struct pooled_pipe *all[MANY];
  size_t count = 0, size = PIPE_SIZE_MOST;
  while ((all[count] = pipes_take(pool)) != NULL) {
    ck_assert_uint_le(all[count]->size, size);
    size = all[count]->size;
    ck_assert_uint_lt(++count, MANY);
  }
  ck_assert_uint_eq(all[0]->size, PIPE_SIZE_MOST);
  ck_assert_uint_eq(size, PIPE_SIZE_LEAST);
  ck_assert_uint_le(stats().bytes, BUDGET);
  ck_assert_uint_gt(stats().bytes, BUDGET / 2);
  while (count > 0)
    pipes_give(all[--count]);
  ck_assert_uint_eq(stats().idle, 2);
  ck_assert_uint_eq(stats().taken, 0);
  pipes_close(pool);
}
END_TEST

START_TEST(test_out_of_descriptors)
{
  open_pool(64 << 20, 4);
  struct pooled_pipe *first = pipes_take(pool);
  int next = dup(0);
  close(next);
  struct rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  struct rlimit few = {.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
  struct pooled_pipe *none = pipes_take(pool), *nor = pipes_take(pool);
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
  ck_assert_ptr_null(none);
  ck_assert_ptr_null(nor);
  ck_assert_uint_eq(stats().refused, 1); /* not asked for twice at once */
  pipes_give(first);
  first = pipes_take(pool);
  struct pooled_pipe *another = pipes_take(pool); /* one was given back: so it is tried again */
  ck_assert_ptr_nonnull(another);
  pipes_give(first);
  pipes_give(another);
  pipes_close(pool);
}
END_TEST

/* The kernel lets a user without privileges have so many pages in pipes. */
START_TEST(test_a_plain_user_has_no_pages_left)
{
  if (geteuid() == 0)
    ck_assert_int_eq(setresuid(PLAIN_USER, PLAIN_USER, PLAIN_USER), 0);
  int hogs[MANY][2];
  int count = 0;
  while (count < MANY && pipe2(hogs[count], O_CLOEXEC) == 0 &&
         fcntl(hogs[count++][0], F_SETPIPE_SZ, PIPE_SIZE_MOST) >= 0)
    ;
  ck_assert_int_gt(count, 1);
  ck_assert_int_lt(count, MANY);
  open_pool(64 << 20, 4);
  ck_assert_ptr_null(pipes_take(pool));
  ck_assert_uint_eq(stats().bytes, 0);
  close(hogs[0][0]);
  close(hogs[0][1]);
  pipes_close(pool);
  open_pool(64 << 20, 4);
  struct pooled_pipe *p = pipes_take(pool);
  ck_assert_ptr_nonnull(p);
  ck_assert_uint_ge(p->size, PIPE_SIZE_LEAST);
  pipes_give(p);
  pipes_close(pool);
  for (int i = 1; i < count; i++) {
    close(hogs[i][0]);
    close(hogs[i][1]);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pipes");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_an_empty_one_is_used_again);
  tcase_add_test(tcase, test_one_with_a_byte_in_it_is_closed);
  tcase_add_test(tcase, test_one_that_met_an_error_is_closed);
  tcase_add_test(tcase, test_room_is_certain);
  tcase_add_test(tcase, test_shared_bytes);
  tcase_add_test(tcase, test_more_than_it_holds);
  tcase_add_test(tcase, test_the_budget_is_held);
  tcase_add_test(tcase, test_out_of_descriptors);
  tcase_add_test(tcase, test_a_plain_user_has_no_pages_left);
  suite_add_tcase(suite, tcase);
  return suite;
}
