/* The link to the router: connecting, losing, coming back, and what it says about it. */
#include "test_daemon_world.h"

#include "daemon/trouble.h"

static struct world w;

static void setup(void)
{
  world_open(&w);
}

static void teardown(void)
{
  world_close(&w);
}

START_TEST(connects_and_tells_the_catalogue)
{
  w.router.names[w.router.name_count++] = "one";
  w.router.names[w.router.name_count++] = "two";
  world_link(&w, NULL);
  ck_assert(!link_connected(w.link));
  ck_assert_str_ne(link_trouble(w.link), "");
  ck_assert_ptr_nonnull(link_channel(w.link));
  WORLD_UNTIL(&w, world_has(&w, "two"));
  ck_assert(world_has(&w, "one") && link_connected(w.link) && !link_original(w.link));
  ck_assert_str_eq(link_trouble(w.link), "");
  fake_news(&w, "three", "one", false);
  WORLD_UNTIL(&w, world_has(&w, "three"));
  ck_assert(!world_has(&w, "one") && world_has(&w, "two"));
  ck_assert_int_eq(w.states, 1);
  ck_assert_uint_eq(link_connects(w.link), 1);
}
END_TEST

START_TEST(is_lost_and_comes_back)
{
  w.router.names[w.router.name_count++] = "stays";
  w.router.names[w.router.name_count++] = "goes";
  world_link(&w, NULL);
  WORLD_UNTIL(&w, world_has(&w, "goes"));
  world_router_stop(&w);
  WORLD_UNTIL(&w, !link_connected(w.link));
  ck_assert_ptr_nonnull(strstr(w.why, "went away"));
  WORLD_UNTIL(&w, strstr(link_trouble(w.link), "refused") != NULL);
  ck_assert(world_has(&w, "goes"));
  w.router.name_count = 1;
  w.router.names[w.router.name_count++] = "comes";
  world_router_start(&w);
  WORLD_UNTIL(&w, link_connected(w.link) && !world_has(&w, "goes"));
  ck_assert(world_has(&w, "stays") && world_has(&w, "comes"));
  ck_assert_uint_eq(link_connects(w.link), 2);
}
END_TEST

START_TEST(waits_for_a_router_that_is_not_there_yet)
{
  world_router_stop(&w);
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "is the router running"));
  world_router_start(&w);
  WORLD_UNTIL(&w, link_connected(w.link));
}
END_TEST

START_TEST(silence_is_noticed)
{
  w.router.heartbeat_ms = 50;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "nothing was heard"));
  WORLD_UNTIL(&w, w.connects == 2);
}
END_TEST

START_TEST(heartbeats_keep_it)
{
  w.router.heartbeat_ms = 400;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  for (int i = 0; i < 8; i++) {
    world_idle(&w, 200);
    fake_news(&w, NULL, NULL, false);
  }
  ck_assert_int_eq(w.losses, 0);
}
END_TEST

START_TEST(draining_is_told_once)
{
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  fake_news(&w, NULL, NULL, true);
  WORLD_UNTIL(&w, w.drains == 1);
  fake_news(&w, "x", NULL, true);
  WORLD_UNTIL(&w, world_has(&w, "x"));
  ck_assert_int_eq(w.drains, 1);
}
END_TEST

START_TEST(a_wrong_key_is_told)
{
  w.router.watch_status = RPC_UNAUTHENTICATED;
  world_link(&w, "secret-key");
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "refuses the key"));
  ck_assert_ptr_null(strstr(w.why, "secret-key"));
  WORLD_UNTIL(&w, w.watches >= 2);
  ck_assert_int_eq(w.losses, 1);
  w.router.watch_status = RPC_OK;
  WORLD_UNTIL(&w, link_connected(w.link));
}
END_TEST

START_TEST(a_router_of_the_first_version_is_polled)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  w.router.names[w.router.name_count++] = "one";
  world_link(&w, NULL);
  WORLD_UNTIL(&w, world_has(&w, "one"));
  ck_assert(link_connected(w.link) && link_original(w.link));
  w.router.names[0] = "two";
  WORLD_UNTIL(&w, world_has(&w, "two"));
  ck_assert(!world_has(&w, "one"));
  w.router.list_status = RPC_UNAVAILABLE;
  WORLD_UNTIL(&w, w.losses == 1);
  w.router.list_status = RPC_OK;
  WORLD_UNTIL(&w, w.connects == 2);
}
END_TEST

START_TEST(what_is_no_router_is_told)
{
  w.router.watch_status = w.router.list_status = RPC_UNIMPLEMENTED;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "is not a router"));
}
END_TEST

struct answer {
  int calls;
  enum rpc_status status;
  bool found;
};

static void answered(enum rpc_status status, const char *text, bool found, void *arg)
{
  struct answer *a = arg;

  ck_assert_ptr_nonnull(text);
  a->calls++;
  a->status = status;
  a->found = found;
}

START_TEST(asks)
{
  struct answer found = {0}, missing = {0}, cancelled = {0}, failed = {0};
  struct link_query *query;

  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  w.router.names[w.router.name_count++] = "fresh";
  ck_assert_int_eq(link_ask(&query, w.link, "fresh", 5000, answered, &found), 0);
  ck_assert_int_eq(link_ask(&query, w.link, "missing", 5000, answered, &missing), 0);
  ck_assert_int_eq(link_ask(&query, w.link, "fresh", 5000, answered, &cancelled), 0);
  link_ask_cancel(query);
  ck_assert_int_eq(cancelled.calls, 0);
  WORLD_UNTIL(&w, found.calls + missing.calls + cancelled.calls == 3);
  ck_assert(found.status == RPC_OK && found.found);
  ck_assert(missing.status == RPC_OK && !missing.found);
  ck_assert_int_eq(cancelled.status, RPC_CANCELLED);
  w.router.list_status = RPC_RESOURCE_EXHAUSTED;
  ck_assert_int_eq(link_ask(&query, w.link, "fresh", 5000, answered, &failed), 0);
  WORLD_UNTIL(&w, failed.calls == 1);
  ck_assert_int_eq(failed.status, RPC_RESOURCE_EXHAUSTED);
}
END_TEST

START_TEST(closing_ends_what_is_asked)
{
  struct answer a = {0};
  struct link_query *query;

  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert_int_eq(link_ask(&query, w.link, "x", 5000, answered, &a), 0);
  link_close(w.link, world_link_closed, &w);
  WORLD_UNTIL(&w, w.link_gone);
  ck_assert_int_eq(a.calls, 1);
  w.link = NULL;
}
END_TEST

START_TEST(closes_before_it_began)
{
  world_link(&w, NULL);
}
END_TEST

START_TEST(members_differ)
{
  uint8_t member[LINK_MEMBER_SIZE], key[LINK_MEMBER_KEY_SIZE];

  world_link(&w, NULL);
  memcpy(member, link_member(w.link), sizeof member);
  memcpy(key, link_member_key(w.link), sizeof key);
  link_close(w.link, world_link_closed, &w);
  WORLD_UNTIL(&w, w.link_gone);
  w.link_gone = false;
  world_link(&w, NULL);
  ck_assert_mem_ne(member, link_member(w.link), sizeof member);
  ck_assert_mem_ne(key, link_member_key(w.link), sizeof key);
}
END_TEST

static const struct {
  struct trouble_where where;
  enum rpc_status status;
  const char *text, *part;
} troubles[] = {
    {{"r:1", false, false, false}, RPC_UNAVAILABLE, "x: Connection refused", "nothing listens at r:1"},
    {{"r:1", false, false, false}, RPC_UNAVAILABLE, "DNS resolution failed for r", "does not resolve"},
    {{"r:1", true, false, false}, RPC_UNAVAILABLE, "SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", "cafile"},
    {{"r:1", true, false, false}, RPC_UNAVAILABLE, "error: WRONG_VERSION_NUMBER", "insecure"},
    {{"r:1", false, false, false}, RPC_UNAVAILABLE, "Socket closed", "does it speak TLS"},
    {{"r:1", true, false, false}, RPC_UNAVAILABLE, "Socket closed", "is this a router"},
    {{"r:1", true, true, false}, RPC_UNAUTHENTICATED, "no", "refuses the key"},
    {{"r:1", true, false, false}, RPC_PERMISSION_DENIED, "no", "key=FILE"},
    {{"r:1", false, false, false}, RPC_DEADLINE_EXCEEDED, "", "does not answer"},
    {{"r:1", false, false, false}, RPC_UNIMPLEMENTED, "", "not a router"},
    {{"r:1", false, false, true}, RPC_UNAVAILABLE, "Socket closed", "went away"},
    {{"r:1", false, false, false}, RPC_INTERNAL, "something new %s %n", "something new %s %n"},
};

START_TEST(troubles_say_what_to_do)
{
  char out[TROUBLE_MAX];

  trouble_sentence(&troubles[_i].where, troubles[_i].status, troubles[_i].text, out);
  ck_assert_msg(strstr(out, troubles[_i].part) != NULL, "%s", out);
}
END_TEST

START_TEST(long_troubles_are_cut)
{
  char text[2000], out[TROUBLE_MAX];

  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  trouble_sentence(&(struct trouble_where){.target = text}, RPC_UNAVAILABLE, "Connection refused", out);
  ck_assert_uint_eq(strlen(out), TROUBLE_MAX - 1);
}
END_TEST

int main(void)
{
  Suite *s = suite_create("daemon link");
  TCase *t = tcase_create("with a router");
  TCase *pure = tcase_create("troubles");
  SRunner *r;
  int failed;

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, connects_and_tells_the_catalogue);
  tcase_add_test(t, is_lost_and_comes_back);
  tcase_add_test(t, waits_for_a_router_that_is_not_there_yet);
  tcase_add_test(t, silence_is_noticed);
  tcase_add_test(t, heartbeats_keep_it);
  tcase_add_test(t, draining_is_told_once);
  tcase_add_test(t, a_wrong_key_is_told);
  tcase_add_test(t, a_router_of_the_first_version_is_polled);
  tcase_add_test(t, what_is_no_router_is_told);
  tcase_add_test(t, asks);
  tcase_add_test(t, closing_ends_what_is_asked);
  tcase_add_test(t, closes_before_it_began);
  tcase_add_test(t, members_differ);
  tcase_add_loop_test(pure, troubles_say_what_to_do, 0, sizeof troubles / sizeof *troubles);
  tcase_add_test(pure, long_troubles_are_cut);
  suite_add_tcase(s, t);
  suite_add_tcase(s, pure);
  r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
