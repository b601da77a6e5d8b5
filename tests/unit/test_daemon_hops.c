/* A connection is recognised by both of its ends, whatever kind of socket it is. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "carry/tunnel/hops.h"

#include "runner.h"

struct ends {
  int listener, near, far;
};

static struct ends connected(struct sockaddr *at, socklen_t size)
{
  static const struct sockaddr any = {.sa_family = AF_UNIX};
  struct ends e = {.listener = socket(at->sa_family, SOCK_STREAM, 0), .near = socket(at->sa_family, SOCK_STREAM, 0)};

  ck_assert_int_eq(bind(e.listener, at, size), 0);
  ck_assert_int_eq(listen(e.listener, 1), 0);
  ck_assert_int_eq(getsockname(e.listener, at, &size), 0);
  if (at->sa_family == AF_UNIX)
    ck_assert_int_eq(bind(e.near, &any, sizeof any.sa_family), 0);
  ck_assert_int_eq(connect(e.near, at, size), 0);
  e.far = accept(e.listener, NULL, NULL);
  ck_assert_int_ge(e.far, 0);
  return e;
}

static void disconnect(const struct ends *e)
{
  close(e->near);
  close(e->far);
  close(e->listener);
}

static struct ends connected_by(int family, const char *path)
{
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
  struct sockaddr_un un = {.sun_family = AF_UNIX};

  snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
  if (family == AF_INET)
    return connected((struct sockaddr *)&v4, sizeof v4);
  if (family == AF_INET6)
    return connected((struct sockaddr *)&v6, sizeof v6);
  unlink(path);
  return connected((struct sockaddr *)&un, sizeof un);
}

START_TEST(the_ends_are_told_but_of_unix_sockets)
{
  static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
  static const uint8_t sizes[] = {END_ADDRESS_V4, END_ADDRESS_V6, 0};
  struct ends e = connected_by(families[_i], "hops-ends");
  struct end_addresses there, here;
  hops_accepted(e.far, &there);
  hops_accepted(e.near, &here);

  ck_assert_uint_eq(there.client.size, sizes[_i]);
  ck_assert_uint_eq(there.client_at.size, sizes[_i]);
  ck_assert_mem_eq(&there.client, &here.client_at, sizeof here.client);
  ck_assert_mem_eq(&there.client_at, &here.client, sizeof here.client);
  disconnect(&e);
  unlink("hops-ends");
}
END_TEST

START_TEST(each_kind_is_recognised)
{
  static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
  char path[64] = "/tmp/mm_hops.XXXXXX";
  struct hops *table = NULL, first = {.count = 3}, second = {.count = 5};

  close(mkstemp(path));
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    struct ends a = connected_by(families[i], path), b = connected_by(families[i], path);

    ck_assert_uint_ne(hops_accepted(a.far, NULL), 0);
    ck_assert_uint_ne(hops_accepted(a.far, NULL), hops_accepted(b.far, NULL));
    ck_assert_uint_eq(hops_through(table, hops_accepted(a.far, NULL)), 0);
    hops_dialled(&table, &first, a.near);
    hops_dialled(&table, &second, b.near);
    ck_assert_uint_eq(hops_through(table, hops_accepted(a.far, NULL)), 4);
    ck_assert_uint_eq(hops_through(table, hops_accepted(b.far, NULL)), 6);
    hops_forget(&table, &first);
    hops_forget(&table, &first);
    ck_assert_uint_eq(hops_through(table, hops_accepted(a.far, NULL)), 0);
    ck_assert_uint_eq(hops_through(table, hops_accepted(b.far, NULL)), 6);
    /* The port was taken anew, while the former connection has not been forgotten. */
    hops_dialled(&table, &first, b.near);
    ck_assert_uint_eq(hops_through(table, hops_accepted(b.far, NULL)), 4);
    hops_forget(&table, &second);
    hops_forget(&table, &first);
    ck_assert_ptr_null(table);
    disconnect(&a);
    disconnect(&b);
  }
  unlink(path);
}
END_TEST

START_TEST(what_cannot_be_recognised_is_not)
{
  struct hops *table = NULL, one = {.count = 3};
  int pair[2];

  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  ck_assert_uint_eq(hops_accepted(pair[0], NULL), 0);
  ck_assert_uint_eq(hops_accepted(-1, NULL), 0);
  hops_dialled(&table, &one, pair[0]);
  ck_assert_ptr_null(table);
  ck_assert_uint_eq(hops_through(table, 0), 0);
  hops_forget(&table, &one);
  close(pair[0]);
  close(pair[1]);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon hops");
  TCase *t = tcase_create("hops");

  tcase_add_test(t, each_kind_is_recognised);
  tcase_add_loop_test(t, the_ends_are_told_but_of_unix_sockets, 0, 3);
  tcase_add_test(t, what_cannot_be_recognised_is_not);
  suite_add_tcase(s, t);
  return s;
}
