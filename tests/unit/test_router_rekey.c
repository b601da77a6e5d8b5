/* The key of a running router is another one: who has the former one is out, but for the connections that are there. */
#include <errno.h>

#include "fixture_router_clients.h"
#include "runner.h"

static void rekey(void *arg)
{
  struct fixture *f = arg;
  ck_assert_int_eq(router_set_key(f->router, "second"), 0);
}

START_TEST(test_rekey)
{
  struct fixture f;
  fixture_open_with(&f, NULL, "first");
  struct stream *watch = member_joins(&f, member_s, 's', 1);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  talk(j.f, j.s);
  struct stream *p = parked(&f, member_s);
  struct rpc_channel *channel = fixture_channel(&f, "second");
  ck_assert_int_eq(list_on(&f, channel).status, RPC_PERMISSION_DENIED);
  ck_assert_int_eq(rpc_queue_post(f.router_queue, rekey, &f), 0);
  /* It is not said that they are refused: they may have the new one already. */
  stream_closes_saying(watch, RPC_UNAVAILABLE, "has changed");
  stream_closes_saying(web, RPC_UNAVAILABLE, "has changed");
  stream_closes_saying(p, RPC_UNAVAILABLE, "has changed");
  talk(j.f, j.s);
  ck_assert_int_eq(list(&f).status, RPC_PERMISSION_DENIED);
  stream_closes(dial(&f, "web", member_f), RPC_PERMISSION_DENIED);
  ck_assert_int_eq(list_on(&f, channel).status, RPC_OK);
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  rpc_channel_close(channel);
  fixture_close(&f);
}
END_TEST

/* A certificate is replaced only where there is one. */
START_TEST(test_without_tls)
{
  struct fixture f;
  fixture_open(&f);
  ck_assert_int_eq(router_set_certificate(f.router, "x", "y"), -EINVAL);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_rekey, 0}, {test_without_tls, 0}};
  return fixture_suite("rekey", tests, sizeof tests / sizeof *tests);
}
