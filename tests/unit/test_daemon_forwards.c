/* Forwards with real listeners on this machine, and a router that knows some names. */
#include "fixture_daemon_world.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carry/net/address.h"
#include "daemon/forwards/forwards.h"

#include "runner.h"

static struct world w;
static struct forwards *forwards;
static bool all_known, forwards_gone;
static int heard, silenced, accepted, vanished, silenced_by_error, missed;

static bool known(const char *name, void *arg)
{
  (void)arg;
  return all_known || strcmp(name, "known") == 0;
}

static void listening(struct forward *f, const struct address *address, void *arg)
{
  (void)f;
  (void)arg;
  ck_assert(address->kind == ADDRESS_UNIX || address->port != 0);
  heard++;
}

static void silent(struct forward *f, const struct address *address, int error, void *arg)
{
  (void)f;
  (void)address;
  (void)arg;
  silenced++;
  silenced_by_error += error != 0;
}

static void absent(struct forward *f, const struct address *address, int error, const char *why, void *arg)
{
  (void)f;
  (void)address;
  (void)arg;
  ck_assert_int_lt(error, 0);
  ck_assert_str_ne(why, "");
  missed++;
}

static void on_accepted(struct forward *f, int fd, const char *peer, void *arg)
{
  (void)arg;
  ck_assert_str_eq(forward_name(f), "known");
  ck_assert_str_ne(peer, "");
  close(fd);
  accepted++;
}

static void starved(struct forward *f, int error, void *arg)
{
  (void)f;
  (void)error;
  (void)arg;
}

static void on_gone(struct forward *f, void *arg)
{
  (void)arg;
  ck_assert_ptr_null(forwards_find(forwards, forward_name(f)));
  vanished++;
}

static const struct forwards_events events = {.known = known,
                                              .listening = listening,
                                              .silent = silent,
                                              .absent = absent,
                                              .accepted = on_accepted,
                                              .starved = starved,
                                              .gone = on_gone};

static void setup(void)
{
  heard = silenced = accepted = vanished = silenced_by_error = missed = 0;
  all_known = forwards_gone = false;
  world_open(&w);
  world_link(&w, NULL);
  ck_assert_int_eq(forwards_open(&forwards, w.lookups, w.link, &events, NULL), 0);
  WORLD_UNTIL(&w, w.connects == 1);
}

static void closed(void *arg)
{
  (void)arg;
  forwards_gone = true;
}

static void close_forwards(void)
{
  forwards_close(forwards, closed, NULL);
  ck_assert(!forwards_gone);
  WORLD_UNTIL(&w, forwards_gone);
  forwards = NULL;
}

static void teardown(void)
{
  if (forwards != NULL)
    close_forwards();
  world_close(&w);
}

struct verdict {
  int calls, error;
  struct forward_write *write;
};

static void judged(int error, const char *why, void *arg)
{
  struct verdict *v = arg;

  ck_assert_ptr_nonnull(why);
  v->calls++;
  v->error = error;
}

static struct forward *make(const char *name)
{
  struct forward *f;
  const char *why;

  ck_assert_int_eq(forwards_create(forwards, name, &f, &why), 0);
  ck_assert_ptr_null(forward_listener(f, 0));
  return f;
}

static int start(struct forward *f, const char *text, bool replace, struct verdict *v)
{
  struct address address;
  const char *why;

  *v = (struct verdict){0};
  ck_assert_int_eq(address_parse_listener(text, &address, &why), 0);
  return forward_write(f, &address, replace, judged, v, &v->write, &why);
}

static int put(struct forward *f, const char *text, bool replace, bool more)
{
  struct verdict v;
  int result = start(f, text, replace, &v);

  if (result == 1) {
    ck_assert_int_eq(v.calls, 0);
    WORLD_UNTIL(&w, v.calls == 1);
    result = v.error;
  }
  if (!more)
    forward_settle(f);
  return result;
}

static int count(const struct forward *f)
{
  int n = 0;

  while (forward_listener(f, (size_t)n) != NULL)
    n++;
  return n;
}

static int port(const struct forward *f, size_t index)
{
  ck_assert_ptr_nonnull(forward_listener(f, index));
  return forward_listener(f, index)->port;
}

static const char *number(int n)
{
  static char text[16];

  snprintf(text, sizeof text, "%d", n);
  return text;
}

static int dial_port(int n)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)n)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
    return fd;
  close(fd);
  return -errno;
}

START_TEST(names_are_checked)
{
  struct forward *f;
  const char *why;
  char name[16];

  ck_assert_int_eq(forwards_create(forwards, "No", &f, &why), -EINVAL);
  make("known");
  ck_assert_int_eq(forwards_create(forwards, "known", &f, &why), -EEXIST);
  for (int i = 1; i < FORWARDS_MAX; i++) {
    snprintf(name, sizeof name, "f%d", i);
    make(name);
  }
  ck_assert_int_eq(forwards_create(forwards, "more", &f, &why), -ENOSPC);
  ck_assert_uint_eq(forwards_count(forwards), FORWARDS_MAX);
  forward_remove(forwards_find(forwards, "f3"));
  make("more");
}
END_TEST

START_TEST(listens_and_accepts)
{
  struct forward *f = make("known");
  int fd;

  ck_assert_int_eq(put(f, "0", true, false), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(w.lists, 0);
  fd = dial_port(port(f, 0));
  ck_assert_int_ge(fd, 0);
  WORLD_UNTIL(&w, accepted == 1);
  close(fd);
  ck_assert_int_eq(heard, 1);
}
END_TEST

START_TEST(an_unknown_name_is_asked_for)
{
  struct forward *f = make("fresh");

  ck_assert_int_eq(put(f, "0", true, false), -ENOENT);
  ck_assert_int_eq(count(f), 0);
  w.router.names[w.router.name_count++] = "fresh";
  ck_assert_int_eq(put(f, "0", true, false), 0);
  ck_assert_int_eq(w.lists, 2);
}
END_TEST

static int ask(struct forward *f, const char *text)
{
  struct verdict v = {0};
  struct address address;
  const char *why;
  bool whole = address_parse_listener(text, &address, &why) == 0;
  int result = forward_ask(f, whole ? &address : NULL, judged, &v, &v.write);

  if (result != 1)
    return result;
  ck_assert_int_eq(v.calls, 0);
  WORLD_UNTIL(&w, v.calls == 1);
  return v.error;
}

START_TEST(a_question_opens_nothing)
{
  struct forward *f = make("fresh");
  struct verdict v = {0};

  ck_assert_int_eq(ask(make("known"), "9"), 0);
  ck_assert_int_eq(w.lists, 0);
  ck_assert_int_eq(ask(f, "9"), -ENOENT);
  ck_assert_int_eq(forward_ask(f, NULL, judged, &v, &v.write), 1);
  forward_write_cancel(v.write, -EINTR);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, -EINTR);
  w.router.names[w.router.name_count++] = "fresh";
  ck_assert_int_eq(ask(f, "u"), 0);
  ck_assert_int_eq(count(f) + heard, 0);
  ck_assert_int_eq(put(f, "0", true, false), 0);
  w.router.name_count--;
  ck_assert_int_eq(ask(f, number(port(f, 0))), 0);
  ck_assert_int_eq(ask(f, "u"), -ENOENT);
  w.router.list_status = RPC_PERMISSION_DENIED;
  ck_assert_int_eq(ask(f, "u"), -EACCES);
  ck_assert_int_eq(forward_ask(f, NULL, judged, &v, &v.write), 1);
  forward_remove(f);
  ck_assert_int_eq(v.calls, 2);
  ck_assert_int_eq(v.error, -ENOENT);
}
END_TEST

START_TEST(a_router_that_fails_to_answer_is_told)
{
  struct forward *f = make("fresh");

  w.router.list_status = RPC_PERMISSION_DENIED;
  ck_assert_int_eq(put(f, "0", true, false), -EACCES);
  ck_assert_int_eq(count(f), 0);
}
END_TEST

START_TEST(nobody_is_asked_while_not_connected)
{
  struct forward *f = make("fresh");

  world_router_stop(&w);
  WORLD_UNTIL(&w, !link_connected(w.link));
  ck_assert_int_eq(put(f, "0", true, false), 0);
  ck_assert_int_eq(count(f), 1);
}
END_TEST

START_TEST(a_write_replaces_or_adds)
{
  struct forward *f = make("known");
  int first;

  ck_assert_int_eq(put(f, "127.0.0.1:0", true, false), 0);
  first = port(f, 0);
  ck_assert_int_eq(put(f, "[::1]:0", false, false), 0);
  ck_assert_int_eq(count(f), 2);
  ck_assert_int_eq(put(f, "127.0.0.2:0", true, false), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_str_eq(forward_listener(f, 0)->host, "127.0.0.2");
  ck_assert_int_eq(dial_port(first), -ECONNREFUSED);
  ck_assert_int_eq(silenced, 2);
}
END_TEST

START_TEST(what_stays_is_not_reopened)
{
  struct forward *f = make("known");
  int first;

  ck_assert_int_eq(put(f, "0", true, false), 0);
  first = port(f, 0);
  ck_assert_int_eq(put(f, "0", true, false), 0);
  ck_assert_int_eq(put(f, number(first), true, false), 0);
  ck_assert_int_eq(put(f, number(first), false, false), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(port(f, 0), first);
  ck_assert_int_eq(heard, 1);
  ck_assert_int_eq(silenced, 0);
}
END_TEST

START_TEST(a_later_line_keeps_what_the_first_dropped)
{
  struct forward *f = make("known");
  int first;

  ck_assert_int_eq(put(f, "0", true, false), 0);
  first = port(f, 0);
  ck_assert_int_eq(put(f, "127.0.0.2:0", true, true), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(put(f, number(first), false, false), 0);
  ck_assert_int_eq(count(f), 2);
  ck_assert_int_eq(silenced, 0);
  ck_assert_int_eq(put(f, "127.0.0.3:0", true, true), 0);
  ck_assert_int_eq(silenced, 0);
  forward_settle(f);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(silenced, 2);
}
END_TEST

START_TEST(two_free_ports_in_one_write_are_two)
{
  struct forward *f = make("known");

  ck_assert_int_eq(put(f, "0", true, true), 0);
  ck_assert_int_eq(put(f, "0", false, false), 0);
  ck_assert_int_eq(count(f), 2);
  ck_assert_int_eq(put(f, "0", true, true), 0);
  ck_assert_int_eq(put(f, "0", false, false), 0);
  ck_assert_int_eq(count(f), 2);
  ck_assert_int_eq(heard, 2);
}
END_TEST

START_TEST(a_refused_line_changes_nothing)
{
  struct forward *f = make("known"), *other = make("other");
  int first;

  all_known = true;
  ck_assert_int_eq(put(other, "0", true, false), 0);
  ck_assert_int_eq(put(f, "0", true, false), 0);
  first = port(f, 0);
  ck_assert_int_eq(put(f, number(port(other, 0)), true, false), -EADDRINUSE);
  ck_assert_int_eq(put(f, "192.0.2.1:0", true, false), -EADDRNOTAVAIL);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(port(f, 0), first);
  ck_assert_int_eq(silenced, 0);
}
END_TEST

START_TEST(what_is_replaced_yields_its_port)
{
  struct forward *f = make("known");
  char text[32];
  int first;

  ck_assert_int_eq(put(f, "0.0.0.0:0", true, false), 0);
  first = port(f, 0);
  snprintf(text, sizeof text, "127.0.0.1:%d", first);
  ck_assert_int_eq(put(f, text, false, false), -EADDRINUSE);
  ck_assert_int_eq(put(f, text, true, false), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_str_eq(forward_listener(f, 0)->host, "127.0.0.1");
  ck_assert_int_eq(port(f, 0), first);
}
END_TEST

START_TEST(what_yielded_in_vain_comes_back)
{
  struct forward *f = make("known"), *other = make("other");
  char text[32];
  int first, fd;

  all_known = true;
  ck_assert_int_eq(put(f, "127.0.0.1:0", true, false), 0);
  first = port(f, 0);
  snprintf(text, sizeof text, "127.0.0.2:%d", first);
  ck_assert_int_eq(put(other, text, true, false), 0);
  snprintf(text, sizeof text, "0.0.0.0:%d", first);
  ck_assert_int_eq(put(f, text, true, false), -EADDRINUSE);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(silenced, 0);
  fd = -1;
  WORLD_UNTIL(&w, fd >= 0 || (fd = dial_port(first)) >= 0);
  WORLD_UNTIL(&w, accepted == 1);
  close(fd);
}
END_TEST

START_TEST(there_is_a_limit)
{
  struct forward *f = make("known");
  char text[32];

  for (int i = 1; i <= FORWARD_LISTENERS_MAX; i++) {
    snprintf(text, sizeof text, "127.0.0.%d:0", i);
    ck_assert_int_eq(put(f, text, false, false), 0);
  }
  ck_assert_int_eq(put(f, "127.0.1.1:0", false, false), -ENOSPC);
  ck_assert_int_eq(put(f, "127.0.1.1:0", true, false), 0);
  ck_assert_int_eq(count(f), 1);
}
END_TEST

START_TEST(an_interrupted_write_changes_nothing)
{
  struct forward *f = make("fresh"), *g = make("known");
  struct verdict v, u;

  ck_assert_int_eq(start(f, "0", true, &v), 1);
  ck_assert_int_eq(start(g, "0", true, &u), 1);
  forward_write_cancel(v.write, -EINTR);
  forward_write_cancel(u.write, -EINTR);
  ck_assert_int_eq(v.calls + u.calls, 0);
  WORLD_UNTIL(&w, v.calls + u.calls == 2);
  ck_assert_int_eq(v.error, -EINTR);
  ck_assert_int_eq(count(f), 0);
}
END_TEST

START_TEST(removing_answers_who_waits)
{
  struct forward *f = make("fresh"), *g = make("known");
  struct verdict v, u;

  ck_assert_int_eq(start(f, "0", true, &v), 1);
  ck_assert_int_eq(start(g, "0", true, &u), 1);
  forward_remove(f);
  forward_remove(g);
  ck_assert_int_eq(v.error, -ENOENT);
  ck_assert_int_eq(u.error, -ENOENT);
  ck_assert_int_eq(vanished, 2);
  ck_assert_int_eq(heard + silenced, 0);
}
END_TEST

START_TEST(closing_answers_who_waits)
{
  struct forward *f = make("fresh");
  struct verdict v;

  ck_assert_int_eq(start(f, "0", true, &v), 1);
  close_forwards();
  ck_assert_int_eq(v.error, -ECANCELED);
  ck_assert_int_eq(vanished, 1);
}
END_TEST

static void restore(struct forward *f, const char *text)
{
  struct address address;
  const char *why;

  ck_assert_int_eq(address_parse_listener(text, &address, &why), 0);
  ck_assert_int_eq(forward_restore(f, &address), 0);
}

/* They come from timers, after which a loop that runs once would wait for something else. */
static void turn_until_restored(void)
{
  while (forwards_restoring(forwards))
    uv_run(&w.loop, UV_RUN_NOWAIT);
}

/* A port of this machine that somebody else has, and the descriptor that holds it. */
static int hold_port(int *fd)
{
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t size = sizeof a;

  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(*fd, 0);
  ck_assert_int_eq(bind(*fd, (struct sockaddr *)&a, sizeof a), 0);
  ck_assert_int_eq(listen(*fd, 1), 0);
  ck_assert_int_eq(getsockname(*fd, (struct sockaddr *)&a, &size), 0);
  return ntohs(a.sin_port);
}

START_TEST(what_is_restored_counts_at_once)
{
  struct forward *f = make("fresh");
  int fd;

  ck_assert(!forwards_restoring(forwards));
  restore(f, "0");
  restore(f, "127.0.0.2:0");
  restore(f, "127.0.0.2:0");
  ck_assert_int_eq(count(f), 2);
  ck_assert(forwards_restoring(forwards));
  ck_assert_int_eq(heard, 0);
  turn_until_restored();
  ck_assert_int_eq(heard, 2);
  ck_assert_int_eq(w.lists, 0);
  ck_assert_int_ne(port(f, 0), 0);
  forward_remove(f);
  f = make("known");
  restore(f, "0");
  turn_until_restored();
  ck_assert_int_eq(heard, 3);
  fd = dial_port(port(f, 0));
  ck_assert_int_ge(fd, 0);
  WORLD_UNTIL(&w, accepted == 1);
  close(fd);
}
END_TEST

START_TEST(a_port_that_is_taken_meanwhile_is_tried_again)
{
  struct forward *f = make("known");
  int fd;
  int taken = hold_port(&fd);

  restore(f, number(taken));
  restore(f, "0");
  turn_until_restored();
  ck_assert_int_eq(missed, 1);
  ck_assert_int_eq(count(f), 2);
  ck_assert_int_eq(port(f, 0), taken);
  /* It fails once more, which is not told, and then succeeds. */
  world_idle(&w, FORWARD_RETRY_MS + FORWARD_RETRY_MS / 2);
  ck_assert_int_eq(missed + heard, 2);
  close(fd);
  while (heard < 2)
    uv_run(&w.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(missed, 1);
  ck_assert_int_eq(count(f), 2);
  fd = dial_port(taken);
  ck_assert_int_ge(fd, 0);
  WORLD_UNTIL(&w, accepted == 1);
  close(fd);
}
END_TEST

START_TEST(a_write_takes_the_place_of_what_is_absent)
{
  struct forward *f = make("known");
  int fd;
  int taken = hold_port(&fd);

  restore(f, number(taken));
  turn_until_restored();
  ck_assert_int_eq(missed, 1);
  ck_assert_int_eq(put(f, number(taken), true, false), -EADDRINUSE);
  ck_assert_int_eq(count(f), 1);
  close(fd);
  ck_assert_int_eq(put(f, number(taken), false, false), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_eq(heard, 1);
  ck_assert_int_eq(silenced, 0);
}
END_TEST

START_TEST(what_is_absent_can_be_replaced)
{
  struct forward *f = make("known"), *other = make("other");
  int fd;
  int taken = hold_port(&fd);

  restore(f, number(taken));
  restore(other, number(taken));
  turn_until_restored();
  ck_assert_int_eq(put(f, "0", true, false), 0);
  ck_assert_int_eq(count(f), 1);
  ck_assert_int_ne(port(f, 0), taken);
  forward_remove(other);
  ck_assert_int_eq(silenced, 0);
  ck_assert_int_eq(vanished, 1);
  close(fd);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon forwards");
  TCase *t = tcase_create("listeners");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, names_are_checked);
  tcase_add_test(t, listens_and_accepts);
  tcase_add_test(t, an_unknown_name_is_asked_for);
  tcase_add_test(t, a_question_opens_nothing);
  tcase_add_test(t, a_router_that_fails_to_answer_is_told);
  tcase_add_test(t, nobody_is_asked_while_not_connected);
  tcase_add_test(t, a_write_replaces_or_adds);
  tcase_add_test(t, what_stays_is_not_reopened);
  tcase_add_test(t, a_later_line_keeps_what_the_first_dropped);
  tcase_add_test(t, two_free_ports_in_one_write_are_two);
  tcase_add_test(t, a_refused_line_changes_nothing);
  tcase_add_test(t, what_is_replaced_yields_its_port);
  tcase_add_test(t, what_yielded_in_vain_comes_back);
  tcase_add_test(t, there_is_a_limit);
  tcase_add_test(t, an_interrupted_write_changes_nothing);
  tcase_add_test(t, removing_answers_who_waits);
  tcase_add_test(t, what_is_restored_counts_at_once);
  tcase_add_test(t, a_port_that_is_taken_meanwhile_is_tried_again);
  tcase_add_test(t, a_write_takes_the_place_of_what_is_absent);
  tcase_add_test(t, what_is_absent_can_be_replaced);
  tcase_add_test(t, closing_answers_who_waits);
  suite_add_tcase(s, t);
  return s;
}
