/* What was freed stays for the next message, up to a bound. What a crowd leaves is given back twice. What the C library
 * is asked for is seen by standing before it; what comes of that, only without a sanitizer, which has a heap of its
 * own.
 */
#include "fixture_proto_calls.h"

#include <malloc.h>

#include "proto/host/heap.h"
#include "proto/pump/pump.h"
#include "proto/pump/pump_internal.h"

#include "runner.h"

enum { PIECE = 64 << 10, FEW = HEAP_KEPT / 2 / PIECE, MANY = HEAP_KEPT * 2 / PIECE };

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* What is free at the heap's end after so many pieces came and went. */
static size_t kept_after(size_t pieces)
{
  void **all = calloc(pieces, sizeof *all);
  ck_assert_ptr_nonnull(all);
  for (size_t i = 0; i < pieces; i++) {
    all[i] = malloc(PIECE);
    ck_assert_ptr_nonnull(all[i]);
  }
  for (size_t i = 0; i < pieces; i++)
    free(all[i]);
  free(all);
  return mallinfo2().keepcost;
}

#define SEES_HEAP true
#else
#define SEES_HEAP false
static size_t kept_after(size_t pieces)
{
  return pieces;
}
#endif

#ifdef __GLIBC__
static int kept, settings;

extern int __libc_mallopt(int parameter, int value);

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
int mallopt(int parameter, int value)
{
  settings++;
  if (parameter == M_TRIM_THRESHOLD)
    kept = value;
  return __libc_mallopt(parameter, value);
}

START_TEST(test_kept)
{
  heap_keep();
  ck_assert_int_eq(settings, 1);
  ck_assert_int_eq(kept, HEAP_KEPT);
  if (SEES_HEAP) {
    ck_assert_uint_ge(kept_after(FEW), (size_t)FEW * PIECE);
    ck_assert_uint_lt(kept_after(MANY), HEAP_KEPT);
  }
}
END_TEST
#endif

START_TEST(test_crowd)
{
  const size_t crowd = HEAP_CROWD;
  struct heap_crowd c = {0};
  ck_assert(!heap_crowd_is(&c, 0));
  ck_assert(!heap_crowd_is(&c, crowd - 1));
  ck_assert(!heap_crowd_is(&c, 0)); /* they were not many */
  ck_assert(!heap_crowd_is(&c, crowd * 20));
  ck_assert(!heap_crowd_is(&c, crowd * 5 + 1));
  ck_assert(heap_crowd_is(&c, crowd * 5));
  ck_assert(!heap_crowd_is(&c, crowd * 4)); /* the crowd is as large as these now */
  ck_assert(!heap_crowd_is(&c, crowd * 8));
  ck_assert(heap_crowd_is(&c, crowd * 2));
  ck_assert(heap_crowd_is(&c, 0));
  ck_assert(!heap_crowd_is(&c, 0));
}
END_TEST

static atomic_int given_back;

int malloc_trim(size_t pad)
{
  (void)pad;
  atomic_fetch_add(&given_back, 1);
  return 1;
}

enum { CROWD = HEAP_CROWD + 1 };

static void on_tick(uv_timer_t *timer)
{
  (void)timer;
}

/* When the crowd has gone, and once more a moment later. */
static void wait_until_given_back_twice(uv_loop_t *loop)
{
  uv_timer_t tick;
  uv_timer_init(loop, &tick);
  uv_timer_start(&tick, on_tick, 10, 10);
  for (int i = 0; atomic_load(&given_back) < 2; i++) {
    ck_assert_int_lt(i, PATIENCE_MS / 10);
    uv_run(loop, UV_RUN_ONCE);
  }
  uv_close((uv_handle_t *)&tick, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

/* With `ends`, what serves the crowd ends before the moment has passed. */
static void server_crowd(bool ends)
{
  static struct record records[CROWD];
  struct server server;
  struct client client;
  server_start(&server, 0, NULL, NULL);
  client_open(&client, server.port);
  for (int i = 0; i < CROWD; i++) {
    record_start(&records[i], &client, "/t/headers");
    loop_until(&client.loop, &records[i].headers, 1);
  }
  ck_assert_int_eq(atomic_load(&given_back), 0);
  for (int i = 0; i < CROWD; i++)
    rpc_call_cancel(records[i].call, RPC_CANCELLED, "");
  for (int i = 0; i < CROWD; i++)
    loop_until(&client.loop, &records[i].closed, 1);
  if (!ends)
    wait_until_given_back_twice(&client.loop);
  client_stop(&client);
  server_stop(&server);
  ck_assert_int_ge(atomic_load(&given_back), 1);
  ck_assert_int_le(atomic_load(&given_back), 2);
}

START_TEST(test_crowd_of_calls)
{
  server_crowd(false);
}
END_TEST

START_TEST(test_crowd_of_calls_and_the_end)
{
  server_crowd(true);
}
END_TEST

static void set_closed(void *arg)
{
  *(int *)arg = 1;
}

static void set_crowd(bool ends)
{
  static struct pump_stream streams[CROWD];
  const struct pump_limits limits = {.window = 1 << 20, .budget = 1 << 20};
  struct client client;
  struct pump_set *set;
  int closed = 0;
  client_start(&client);
  ck_assert_int_eq(pump_set_open(&set, rpc_queue_home(client.queue), &client.loop, &limits), 0);
  for (int i = 0; i < CROWD; i++)
    pump_set_add_stream(set, &streams[i]);
  for (int i = 0; i < CROWD; i++)
    pump_set_remove_stream(set, &streams[i]);
  ck_assert_int_eq(atomic_load(&given_back), 1);
  if (!ends)
    wait_until_given_back_twice(&client.loop);
  pump_set_close(set, set_closed, &closed);
  loop_until(&client.loop, &closed, 1);
  client_stop(&client);
  ck_assert_int_eq(atomic_load(&given_back), ends ? 1 : 2);
}

START_TEST(test_crowd_of_streams)
{
  set_crowd(false);
}
END_TEST

START_TEST(test_crowd_of_streams_and_the_end)
{
  set_crowd(true);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("heap");
  TCase *t = tcase_create("heap");
#ifdef __GLIBC__
  tcase_add_test(t, test_kept);
#endif
  tcase_add_test(t, test_crowd);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, test_crowd_of_calls);
  tcase_add_test(t, test_crowd_of_calls_and_the_end);
  tcase_add_test(t, test_crowd_of_streams);
  tcase_add_test(t, test_crowd_of_streams_and_the_end);
  suite_add_tcase(s, t);
  return s;
}
