/* Where the router takes raw streams, as its watch tells. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "carry/link/link_internal.h"

#include "fixture_daemon_world.h"
#include "runner.h"

static uint8_t watch[RAW_WATCH_SIZE] = {'w'}, secret[RAW_SECRET_SIZE] = {'s'};

static struct endpoint at(const char *ip, uint16_t port)
{
  struct endpoints one = {0};
  struct in_addr v4;
  struct in6_addr v6;
  if (inet_pton(AF_INET, ip, &v4) == 1)
    endpoints_add_v4(&one, &v4, port);
  else if (inet_pton(AF_INET6, ip, &v6) == 1)
    endpoints_add_v6(&one, &v6, 0, port);
  return one.at[0];
}

static uint16_t port_of(const struct sockaddr_storage *a)
{
  return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                        : ((const struct sockaddr_in *)a)->sin_port);
}

static const char *read_news(const char *text, size_t watch_size, size_t secret_size, const struct endpoint *from,
                             struct link_streams *out)
{
  Mindmeld__WatchServicesResponse news = MINDMELD__WATCH_SERVICES_RESPONSE__INIT;
  news.stream_addr = (char *)(uintptr_t)text;
  news.stream_watch = (ProtobufCBinaryData){.len = watch_size, .data = watch};
  news.stream_secret = (ProtobufCBinaryData){.len = secret_size, .data = secret};
  return link_streams_read(&news, from, out);
}

START_TEST(addresses)
{
  static const struct {
    const char *from, *text, *ip; /* NULL: refused */
    uint16_t port;
  } rows[] = {
      {"192.0.2.1", ":", "192.0.2.1", 7000},
      {"192.0.2.1", ":7001", "192.0.2.1", 7001},
      {"2001:db8::1", ":", "2001:db8::1", 7000},
      {"2001:db8::1", ":7001", "2001:db8::1", 7001},
      {"192.0.2.1", "192.0.2.7:80", "192.0.2.7", 80},
      {"192.0.2.1", "[2001:db8::7]:80", "2001:db8::7", 80},
      {"192.0.2.1", "router.example:80", NULL, 0},
      {"192.0.2.1", "unix:/run/x", NULL, 0},
      {"192.0.2.1", "80", NULL, 0},
      {"192.0.2.1", ":0", NULL, 0},
      {"192.0.2.1", ":65536", NULL, 0},
      {"192.0.2.1", ":x", NULL, 0},
      {"192.0.2.1", ": 80", NULL, 0},
      {"192.0.2.1", "192.0.2.7", NULL, 0},
      {"192.0.2.1", "x", NULL, 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct endpoint from = at(rows[i].from, 7000), to = {.size = sizeof to.bytes};
    struct link_streams streams;
    char text[ENDPOINT_TEXT_MAX];
    const char *why = read_news(rows[i].text, sizeof watch, sizeof secret, &from, &streams);
    ck_assert_msg((why == NULL) == (rows[i].ip != NULL), "%s", rows[i].text);
    if (why != NULL) {
      ck_assert_ptr_nonnull(strstr(why, "cannot be read"));
      continue;
    }
    to.bytes = streams.address;
    ck_assert_str_eq(endpoint_text(&to, text), rows[i].ip);
    ck_assert_uint_eq(port_of(&streams.address), rows[i].port);
    ck_assert_mem_eq(streams.watch, watch, sizeof watch);
    ck_assert_mem_eq(streams.secret, secret, sizeof secret);
  }
}
END_TEST

START_TEST(nowhere)
{
  struct endpoint from = at("192.0.2.1", 7000);
  struct link_streams streams;
  ck_assert_str_eq(read_news("", sizeof watch, sizeof secret, &from, &streams), "the router takes no raw streams");
  ck_assert_str_eq(read_news(":", 0, sizeof secret, &from, &streams), "the router does not say how");
  ck_assert_str_eq(read_news(":", sizeof watch - 1, sizeof secret, &from, &streams), "the router does not say how");
  ck_assert_str_eq(read_news(":", sizeof watch, 0, &from, &streams), "the router does not say how");
}
END_TEST

/* ---- What a link tells ---- */

START_TEST(told_while_it_is_connected)
{
  struct world w;
  const char *why;
  world_open(&w);
  w.router.stream_addr = _i == 0 ? ":" : NULL;
  world_link(&w, NULL);
  ck_assert_ptr_null(link_streams(w.link, &why));
  ck_assert_str_eq(why, "");
  WORLD_UNTIL(&w, w.connects == 1);
  const struct link_streams *streams = link_streams(w.link, &why);
  if (_i == 0) {
    ck_assert_ptr_nonnull(streams);
    ck_assert_int_eq(port_of(&streams->address), w.port);
    ck_assert_mem_eq(streams->secret, secret, sizeof secret);
  } else {
    ck_assert_ptr_null(streams);
    ck_assert_str_eq(why, "the router takes no raw streams");
  }
  ck_assert(!link_went_silent(w.link));
  world_close(&w);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("link_streams");
  TCase *tcase = tcase_create("link_streams");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, addresses);
  tcase_add_test(tcase, nowhere);
  tcase_add_loop_test(tcase, told_while_it_is_connected, 0, 2);
  return suite;
}
