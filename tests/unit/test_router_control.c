/* A real router: registering, asking, limits, keys, and messages that are none. */
#include "fixture_router_clients.h"
#include "runner.h"

START_TEST(test_register_and_list)
{
  struct fixture f;
  fixture_open(&f);
  ck_assert_uint_eq(list(&f).services, 0);
  struct stream *web = created(&f, "web", member_s);
  ck_assert_str_eq(web->version, "2");
  struct stream *api = created(&f, "api", nobody);
  struct asked asked = list(&f);
  ck_assert_str_eq(asked.names, "api web");
  ck_assert_int_ge(asked.created, 1500000000);
  stream_drop(web);
  FIXTURE_UNTIL(&f, strcmp(list(&f).names, "api") == 0);
  /* The name is free again. */
  web = created(&f, "web", member_f);
  stream_drop(web);
  stream_drop(api);
  fixture_close(&f);
}
END_TEST

START_TEST(test_names_and_members)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  stream_closes_saying(create(&f, "web", member_f), RPC_ALREADY_EXISTS, "service \"web\" already exists");
  stream_closes_saying(create(&f, "other", thief), RPC_PERMISSION_DENIED, "key");
  static const char *const bad[] = {"", "-a", "a-", "A", "a.b", "a/b", "..", "\xc3\xa9"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    stream_closes_saying(create(&f, bad[i], nobody), RPC_INVALID_ARGUMENT, "1 to 63");
  char long_name[65];
  memset(long_name, 'a', 64);
  long_name[64] = '\0';
  stream_closes(create(&f, long_name, nobody), RPC_INVALID_ARGUMENT);
  struct stream *longest = created(&f, long_name + 1, nobody);

  struct stream *s = stream_open(&f, CONTROL "CreateService");
  Mindmeld__CreateServiceRequest request = MINDMELD__CREATE_SERVICE_REQUEST__INIT;
  uint8_t bytes[64] = {1};
  request.name = (char *)(uintptr_t) "x";
  request.member = binary(bytes, 16);
  stream_send_pack(s, &request.base);
  stream_closes_saying(s, RPC_INVALID_ARGUMENT, "16 bytes");
  ck_assert_uint_eq(list(&f).services, 2);
  stream_drop(longest);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_forward)
{
  struct fixture f;
  fixture_open(&f);
  struct asked asked = forward(&f, "web");
  ck_assert_int_eq(asked.status, RPC_NOT_FOUND);
  ck_assert_str_eq(asked.text, "service \"web\" does not exist");
  ck_assert_int_eq(forward(&f, "../\xc3\xa9").status, RPC_NOT_FOUND);
  struct stream *web = created(&f, "web", member_s);
  asked = forward(&f, "web");
  ck_assert_int_eq(asked.status, RPC_OK);
  ck_assert_uint_eq(strlen(asked.token), 64);
  ck_assert_str_ne(forward(&f, "web").token, asked.token);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- Limits ---- */

START_TEST(test_limit_of_services)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.services_per_caller = 2;
  limits.services = 3;
  fixture_open_with(&f, &limits, NULL);
  struct stream *a = created(&f, "a", member_s), *b = created(&f, "b", member_s);
  stream_closes_saying(create(&f, "c", member_s), RPC_RESOURCE_EXHAUSTED, "2 services");
  struct stream *c = created(&f, "c", member_f);
  stream_closes_saying(create(&f, "d", member_f), RPC_RESOURCE_EXHAUSTED, "3 services");
  stream_drop(a);
  FIXTURE_UNTIL(&f, list(&f).services == 2);
  a = created(&f, "d", member_s);
  stream_drop(a);
  stream_drop(b);
  stream_drop(c);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limit_of_tokens)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.tokens_per_caller = 2;
  limits.tokens = 3;
  limits.token_ms = 300;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(forward(&f, "web").status, RPC_OK);
  struct asked asked = forward(&f, "web");
  ck_assert_int_eq(asked.status, RPC_RESOURCE_EXHAUSTED);
  ck_assert_ptr_nonnull(strstr(asked.text, "2 unused tokens"));
  struct rpc_channel *other = fixture_channel(&f, NULL);
  ck_assert_int_eq(forward_on(&f, other, "web").status, RPC_OK);
  asked = forward_on(&f, other, "web");
  ck_assert_int_eq(asked.status, RPC_RESOURCE_EXHAUSTED);
  ck_assert_ptr_nonnull(strstr(asked.text, "being set up"));
  rpc_channel_close(other);
  /* They expire. */
  FIXTURE_UNTIL(&f, forward(&f, "web").status == RPC_OK);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limit_of_openings)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.openings = 1;
  fixture_open_with(&f, &limits, NULL);
  struct stream *first = stream_open(&f, PROXY "Connect");
  struct stream *second = NULL;
  /* Which of the two comes first is the network's business. */
  second = stream_open(&f, PROXY "ProxyConnection");
  FIXTURE_UNTIL(&f, first->closed || second->closed);
  struct stream *refused = first->closed ? first : second, *waiting = first->closed ? second : first;
  stream_closes_saying(refused, RPC_RESOURCE_EXHAUSTED, "do not say what they want");
  /* Who says it is served, and the one that was silent longest makes room. */
  ck_assert_int_eq(list(&f).status, RPC_OK);
  stream_closes_saying(waiting, RPC_RESOURCE_EXHAUSTED, "do not say what they want");
  fixture_close(&f);
}
END_TEST

/* An answer that is shared is made anew when the register has changed. */
START_TEST(test_lists_are_fresh)
{
  struct fixture f;
  fixture_open(&f);
  ck_assert_str_eq(list(&f).names, "");
  struct stream *a = created(&f, "a", member_s);
  for (int i = 0; i < 3; i++)
    ck_assert_str_eq(list(&f).names, "a");
  struct stream *b = created(&f, "b", member_s);
  ck_assert_str_eq(list(&f).names, "a b");
  stream_drop(a);
  FIXTURE_UNTIL(&f, strcmp(list(&f).names, "b") == 0);
  stream_drop(b);
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  fixture_close(&f);
}
END_TEST

START_TEST(test_says_nothing)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.opening_ms = 50;
  fixture_open_with(&f, &limits, NULL);
  static const char *const methods[] = {PROXY "Connect", PROXY "ProxyConnection", CONTROL "CreateService"};
  struct stream *streams[3];
  for (int i = 0; i < 3; i++)
    streams[i] = stream_open(&f, methods[i]);
  stream_send_data(streams[1], "\x42", 1); /* a part of a token is not one */
  for (int i = 0; i < 3; i++)
    stream_closes_saying(streams[i], RPC_DEADLINE_EXCEEDED, "in time");
  fixture_close(&f);
}
END_TEST

/* ---- What is no message ---- */

static const char *const all_methods[] = {CONTROL "CreateService", CONTROL "ForwardToService",
                                          CONTROL "ListServices",  CONTROL "WatchServices",
                                          PROXY "Connect",         PROXY "ProxyConnection"};
enum { METHODS = sizeof all_methods / sizeof *all_methods };

START_TEST(test_malformed)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  static const char *const bad[] = {"\xff\xff\xff", "\x0a\x7f", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                                    "\x07"};
  for (size_t i = 0; i < METHODS; i++) {
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
      struct stream *s = stream_open(&f, all_methods[i]);
      stream_send(s, rpc_message_copy(bad[k], strlen(bad[k])));
      stream_closes(s, RPC_INVALID_ARGUMENT);
    }
    struct stream *s = stream_open(&f, all_methods[i]);
    stream_end(s);
    stream_closes_saying(s, RPC_INVALID_ARGUMENT, "ended before");
  }
  /* It ended those calls only. */
  ck_assert(!web->closed);
  ck_assert_str_eq(list(&f).names, "web");
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_unknown_methods)
{
  struct fixture f;
  fixture_open(&f);
  static const char *const unknown[] = {"/mindmeld.ControlService/Nothing", "/other.Service/CreateService", "/",
                                        "/mindmeld.ControlService/CreateServices"};
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
    stream_closes(stream_open(&f, unknown[i]), RPC_UNIMPLEMENTED);
  fixture_close(&f);
}
END_TEST

/* ---- The key ---- */

START_TEST(test_key)
{
  struct fixture f;
  fixture_open_with(&f, NULL, "the right key");
  ck_assert_int_eq(list(&f).status, RPC_OK);
  static const struct {
    const char *bearer;
    enum rpc_status status;
    const char *text;
  } rows[] = {{NULL, RPC_UNAUTHENTICATED, "this router wants a key"},
              {"the wrong key", RPC_PERMISSION_DENIED, "wrong key"},
              {"the right ke", RPC_PERMISSION_DENIED, "wrong key"},
              {"the right keys", RPC_PERMISSION_DENIED, "wrong key"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct rpc_channel *stranger = fixture_channel(&f, rows[i].bearer);
    struct asked asked = list_on(&f, stranger);
    ck_assert_int_eq(asked.status, rows[i].status);
    ck_assert_str_eq(asked.text, rows[i].text);
    /* Before anything else is looked at. */
    stream_closes(stream_open_on(&f, stranger, "/unknown/Method"), rows[i].status);
    stream_closes(stream_open_on(&f, stranger, PROXY "Connect"), rows[i].status);
    rpc_channel_close(stranger);
  }
  char *endless = malloc(6000);
  memset(endless, 'k', 5999);
  endless[5999] = '\0';
  struct rpc_channel *stranger = fixture_channel(&f, endless);
  ck_assert_int_eq(list_on(&f, stranger).status, RPC_PERMISSION_DENIED);
  rpc_channel_close(stranger);
  free(endless);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_register_and_list, 0}, {test_names_and_members, 0},
                                       {test_forward, 0},           {test_limit_of_services, 0},
                                       {test_limit_of_tokens, 0},   {test_limit_of_openings, 0},
                                       {test_says_nothing, 0},      {test_malformed, 0},
                                       {test_unknown_methods, 0},   {test_key, 0},
                                       {test_lists_are_fresh, 0}};
  return fixture_suite("control", tests, sizeof tests / sizeof *tests);
}
