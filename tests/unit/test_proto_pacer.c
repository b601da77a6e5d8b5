/* Which sockets are looked at. That they are paced is in tests/system/test_pacing.py: it takes a long line. */
#include <check.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/flow/pacer.h"
#include "proto/host/poller.h"

#include "runner.h"

START_TEST(due_once)
{
  struct paced s = {0};
  for (unsigned sent = 0; sent < PACED_DUE - 1000; sent += 1000)
    ck_assert(!paced_due(&s, 1000));
  ck_assert(paced_due(&s, 1000));
  ck_assert(!paced_due(&s, SIZE_MAX));
  ck_assert(!paced_due(&s, 1));
  s = (struct paced){0};
  ck_assert(paced_due(&s, SIZE_MAX));
}
END_TEST

static int connect_here(int *listener)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_eq(bind(*listener, (struct sockaddr *)&at, size), 0);
  ck_assert_int_eq(listen(*listener, 1), 0);
  ck_assert_int_eq(getsockname(*listener, (struct sockaddr *)&at, &size), 0);
  ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, size), 0);
  return fd;
}

/* Nothing wakes the thread for them. */
START_TEST(near_ones_and_no_sockets_are_left)
{
  struct poller *poller;
  struct pacer *pacer;
  struct paced near = {0}, file = {0}, none = {0};
  int ends[2], listener, fd = connect_here(&listener);
  ck_assert_int_eq(poller_open(&poller), 0);
  ck_assert_int_eq(pacer_open(&pacer, poller), 0);
  ck_assert_int_eq(pipe(ends), 0);
  pacer_look(pacer, &near, fd);
  pacer_look(pacer, &file, ends[0]);
  pacer_look(pacer, &none, -1);
  ck_assert_ptr_null(near.socket);
  ck_assert_ptr_null(file.socket);
  ck_assert_ptr_null(none.socket);
  ck_assert_int_eq(poller_wait_ms(poller), -1);
  pacer_forget(&near);
  pacer_forget(&none);
  pacer_close(pacer);
  poller_close(poller);
  close(ends[0]), close(ends[1]), close(fd), close(listener);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pacer");
  TCase *each = tcase_create("each");
  tcase_add_test(each, due_once);
  tcase_add_test(each, near_ones_and_no_sockets_are_left);
  suite_add_tcase(suite, each);
  return suite;
}
