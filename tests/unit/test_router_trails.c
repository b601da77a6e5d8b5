/* What is remembered of connections that were dialled for others, and how it is asked for. */
#include "fixture_router_clients.h"

#include "router/meet/trails.h"

#include "runner.h"

enum { MANY = 4 * TRAILS_MAX };

START_TEST(a_trail_is_as_long_as_it_is_known)
{
  struct trail *t = router_trails_create();
  ck_assert_uint_eq(router_trails_hops(t, 1, 0), 0);
  for (uint64_t i = 1; i < 6; i++)
    router_trails_add(t, i, i + 1, i * 100);
  ck_assert_uint_eq(router_trails_hops(t, 1, 1000), 0);
  ck_assert_uint_eq(router_trails_hops(t, 4, 1000), 3);
  ck_assert_uint_eq(router_trails_hops(t, 6, 1000), 5);
  ck_assert_uint_eq(router_trails_hops(t, 7, 1000), 0);
  /* What is too old ends it, whatever lies before. */
  ck_assert_uint_eq(router_trails_hops(t, 6, TRAILS_MS + 299), 3);
  ck_assert_uint_eq(router_trails_hops(t, 6, TRAILS_MS + 500), 0);
  /* In whatever order it is told. */
  router_trails_add(t, 12, 13, 0);
  router_trails_add(t, 11, 12, 0);
  ck_assert_uint_eq(router_trails_hops(t, 13, 0), 2);
  free(t);
}
END_TEST

START_TEST(a_trail_without_an_end_is_counted_so_far)
{
  struct trail *t = router_trails_create();
  router_trails_add(t, 2, 1, 0);
  router_trails_add(t, 1, 2, 0);
  ck_assert_uint_eq(router_trails_hops(t, 1, 0), TRAILS_HOPS_MAX);
  router_trails_add(t, 0, 1, 0);
  ck_assert_uint_eq(router_trails_hops(t, 2, 0), 2);
  router_trails_add(t, 5, 0, 0); /* unknown */
  ck_assert_uint_eq(router_trails_hops(t, 0, 0), 0);
  free(t);
}
END_TEST

/* The newer takes the place of the older. */
START_TEST(it_holds_so_many)
{
  struct trail *t = router_trails_create();
  unsigned known = 0;
  for (uint64_t i = 1; i <= MANY; i++)
    router_trails_add(t, 0, i * 0x9e3779b97f4a7c15u, 0);
  for (uint64_t i = 1; i <= MANY; i++)
    known += router_trails_hops(t, i * 0x9e3779b97f4a7c15u, 0);
  ck_assert_uint_gt(known, 0);
  ck_assert_uint_le(known, TRAILS_MAX);
  free(t);
}
END_TEST

static struct asked trace(struct fixture *f, size_t origins, size_t dialled)
{
  uint64_t o[TRAILS_PER_CALL + 1], d[TRAILS_PER_CALL + 1];
  Mindmeld__TraceRequest request = MINDMELD__TRACE_REQUEST__INIT;
  for (uint64_t i = 0; i <= TRAILS_PER_CALL; i++) {
    o[i] = i + 1;
    d[i] = i + 2;
  }
  request.n_origin = origins;
  request.n_dialled = dialled;
  request.origin = o;
  request.dialled = d;
  return ask_on(f, f->channel, CONTROL "Trace", &request.base, &mindmeld__trace_response__descriptor);
}

START_TEST(the_router_answers)
{
  struct fixture f;
  fixture_open(&f);
  ck_assert_int_eq(trace(&f, 2, 1).status, RPC_INVALID_ARGUMENT);
  ck_assert_int_eq(trace(&f, TRAILS_PER_CALL + 1, TRAILS_PER_CALL + 1).status, RPC_INVALID_ARGUMENT);
  ck_assert_int_eq(trace(&f, 0, 0).status, RPC_OK);
  struct asked all = trace(&f, TRAILS_PER_CALL, TRAILS_PER_CALL);
  ck_assert_int_eq(all.status, RPC_OK);
  ck_assert_uint_eq(all.services, TRAILS_PER_CALL);
  ck_assert_int_eq(all.created, TRAILS_HOPS_MAX);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{a_trail_is_as_long_as_it_is_known, 0},
                                       {a_trail_without_an_end_is_counted_so_far, 0},
                                       {it_holds_so_many, 0},
                                       {the_router_answers, 0}};
  return fixture_suite("trails", tests, sizeof tests / sizeof *tests);
}
