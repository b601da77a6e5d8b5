/* What gRPC calls the other end of a connection. */
#include <check.h>
#include <string.h>

#include "proto/rpc/peer_name.h"

#include "runner.h"

static const uint8_t ipv4_loopback[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
static const uint8_t ipv6_loopback[16] = {[15] = 1};
static const uint8_t link_local[16] = {0xfe, 0x80, [15] = 2};

static const struct {
  const char *text;
  const uint8_t *address; /* NULL: it is none */
  uint16_t port;
} peers[] = {
    {"ipv4:127.0.0.1:7000", ipv4_loopback, 7000},
    {"ipv4:127.0.0.1:65535", ipv4_loopback, 65535},
    {"ipv6:[::1]:80", ipv6_loopback, 80},
    {"ipv6:%5B::1%5D:80", ipv6_loopback, 80},
    {"ipv6:%5b::1%5d:80", ipv6_loopback, 80},
    {"ipv6:[::ffff:127.0.0.1]:80", ipv4_loopback, 80},
    {"ipv6:%5Bfe80::2%25eth0%5D:9", link_local, 9},
    {"", NULL, 0},
    {"ipv4:", NULL, 0},
    {"ipv4:127.0.0.1", NULL, 0},
    {"ipv4:127.0.0.1:", NULL, 0},
    {"ipv4:127.0.0.1:65536", NULL, 0},
    {"ipv4:127.0.0.1:-1", NULL, 0},
    {"ipv4:127.0.0.1:7x", NULL, 0},
    {"ipv4:[::1]:80", NULL, 0},
    {"ipv6:::1:80", NULL, 0},
    {"ipv6:[]:80", NULL, 0},
    {"ipv6:[:80", NULL, 0},
    {"ipv6:%5", NULL, 0},
    {"ipv6:%5B::1%5:80", NULL, 0},
    {"ipv6:%%%:80", NULL, 0},
    {"unix:/run/some:80", NULL, 0},
    {"dns:///localhost:7000", NULL, 0},
    {"localhost:7000", NULL, 0},
    {"ipv4:1.1.1.1111111111111111111111111111111111111111111111111111111111111111111111111111111:1", NULL, 0},
};

START_TEST(each_peer)
{
  struct peer_name peer;
  ck_assert_int_eq(peer_name_parse(&peer, peers[_i].text), peers[_i].address != NULL);
  if (!peers[_i].address)
    return;
  ck_assert_mem_eq(peer.address, peers[_i].address, sizeof peer.address);
  ck_assert_uint_eq(peer.port, peers[_i].port);
}
END_TEST

START_TEST(the_host_is_all_but_the_port)
{
  static const char *const texts[][2] = {
      {"ipv4:192.0.2.1:55", "ipv4:192.0.2.1"}, {"ipv6:%5B::1%5D:55", "ipv6:%5B::1%5D"}, {"unix:", "unix:"}, {"", ""}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    ck_assert_uint_eq(peer_name_host_size(texts[i][0]), strlen(texts[i][1]));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("proto peer name");
  TCase *tests = tcase_create("names");

  tcase_add_loop_test(tests, each_peer, 0, sizeof peers / sizeof *peers);
  tcase_add_test(tests, the_host_is_all_but_the_port);
  suite_add_tcase(suite, tests);
  return suite;
}
