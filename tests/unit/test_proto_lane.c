/* A channel's calls go on as many connections as there must be for none to wait at a front. */
#include "fixture_proto_calls.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proto/rpc/rpc_lane.h"

#include "runner.h"

enum { CALLS = 2 * LANE_CALLS + 20, FDS_MAX = 256 };

static struct server server;
static struct client client;
static struct record records[CALLS];

static void setup(void)
{
  server_start(&server, 0, NULL, NULL);
  client_open(&client, server.port);
}

static void teardown(void)
{
  client_stop(&client);
  server_stop(&server);
}

/* Starts a call, and waits for what the server answers: how it sees this end of the connection. False: it failed. */
static bool call(struct record *r)
{
  record_start(r, &client, "/t/peer");
  (void)rpc_call_receive(r->call);
  (void)rpc_call_send(r->call, text_message("?"));
  while (r->messages + r->closed == 0)
    uv_run(&client.loop, UV_RUN_ONCE);
  return r->closed == 0;
}

static void end(struct record *r)
{
  ck_assert_int_eq(rpc_call_end(r->call), 0);
  loop_until(&client.loop, &r->closed, 1);
}

/* How many of the first `count` go on the connection of this one. */
static int beside(const struct record *one, int count)
{
  int found = 0;
  for (int i = 0; i < count; i++)
    found += records[i].closed == 0 && strcmp(records[i].message, one->message) == 0;
  return found;
}

/* Our sockets that are connected with the server; with `bounded` those whose unsent bytes have a bound. */
static int sockets(bool bounded)
{
  int found = 0;
  for (int fd = 3; fd < FDS_MAX; fd++) {
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    uint32_t bound = 0;
    if (getpeername(fd, (struct sockaddr *)&name, &size) != 0)
      continue;
    /* The port stands at the same place for both families. */
    if (ntohs(((const struct sockaddr_in *)&name)->sin_port) != server.port)
      continue;
    size = sizeof bound;
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &size), 0);
    found += !bounded || (bound >= UNSENT_MIN && bound <= UNSENT_MAX);
  }
  return found;
}

START_TEST(many_calls)
{
  for (int i = 0; i < CALLS; i++)
    ck_assert(call(&records[i]));
  ck_assert_int_eq(beside(&records[0], CALLS), LANE_CALLS);
  ck_assert_int_eq(beside(&records[LANE_CALLS], CALLS), LANE_CALLS);
  ck_assert_int_eq(beside(&records[CALLS - 1], CALLS), 20);
  ck_assert_int_eq(sockets(false), 3);

  /* What is free is used before anything else. */
  end(&records[1]);
  ck_assert(call(&records[1]));
  ck_assert_str_eq(records[1].message, records[0].message);

  /* The last ones are closed, but not while there is hardly any room elsewhere. */
  for (int i = CALLS - 20; i < CALLS; i++)
    end(&records[i]);
  uv_run(&client.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(sockets(false), 3);
  for (int i = LANE_CALLS; i < CALLS - 20; i++)
    end(&records[i]);
  for (int i = 0; i < LANE_CALLS; i++)
    end(&records[i]);
  while (sockets(false) > 1) /* or the test's time is over */
    uv_run(&client.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(sockets(false), 1);
}
END_TEST

/* A front that lets only so many connections in: the call that finds out fails, and those after it go where it is
 * fullest least. */
START_TEST(no_further_connection)
{
  struct record over;
  for (int i = 0; i < LANE_CALLS; i++)
    ck_assert(call(&records[i]));
  ck_assert_int_eq(rpc_server_leave_address(server.server), 0);
  ck_assert(!call(&over));
  ck_assert_int_eq(over.status, RPC_UNAVAILABLE);
  while (!call(&over))
    ck_assert_int_eq(over.status, RPC_UNAVAILABLE);
  ck_assert_str_eq(over.message, records[0].message);
  end(&over);
  for (int i = 0; i < LANE_CALLS; i++)
    end(&records[i]);
}
END_TEST

static struct rpc_message *large_message(void)
{
  static char bytes[UNSENT_MESSAGE];
  return rpc_message_copy(bytes, sizeof bytes);
}

static void say_much(struct record *r)
{
  record_start(r, &client, "/t/echo");
  ck_assert_int_eq(rpc_call_receive(r->call), 0);
  ck_assert_int_eq(rpc_call_send(r->call, text_message("?")), 0);
  loop_until(&client.loop, &r->messages, 1);
  loop_until(&client.loop, &r->sent, 1);
  ck_assert_int_eq(rpc_call_send(r->call, large_message()), 0);
  loop_until(&client.loop, &r->messages, 2);
}

/* Each connection has its own bound, whoever else has one with the same router. */
START_TEST(own_sockets)
{
  struct record r[2];
  struct rpc_channel *first = client.channel;
  say_much(&r[0]);
  ck_assert_int_eq(sockets(true), 1);
  client_open_channel(&client, (struct rpc_channel_options){.keepalive = _i == 0}, server.port);
  say_much(&r[1]);
  ck_assert_int_eq(sockets(false), 2);
  ck_assert_int_eq(sockets(true), 2);
  end(&r[0]);
  end(&r[1]);
  rpc_channel_close(first);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("lane");
  TCase *tests = tcase_create("lane");
  tcase_set_timeout(tests, 60);
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_test(tests, many_calls);
  tcase_add_test(tests, no_further_connection);
  tcase_add_loop_test(tests, own_sockets, 0, 2);
  suite_add_tcase(suite, tests);
  return suite;
}
