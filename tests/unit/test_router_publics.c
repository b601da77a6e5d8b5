/* The public names of a service: what is granted, what is refused and with which answer, and what is told of it. */
#include <check.h>
#include <mindmeld.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rpc/rpc.h"
#include "router/names/grants.h"
#include "router/names/publics.h"
#include "runner.h"

enum { MAX = 2, KEPT_MS = 1000 };

static struct hosts *hosts;
static const struct grants grants = {
    .domain = "tun.example.com", .own = "*.example.org", .first_port = 2000, .last_port = 2002};
static const struct publics *former; /* of the service that claims */

static bool stayed(const uint8_t member[HEADER_MEMBER_SIZE], uint64_t since, void *arg)
{
  (void)member, (void)since, (void)arg;
  return true;
}

static void set_up(void)
{
  hosts = hosts_open(MAX, KEPT_MS, stayed, NULL);
  ck_assert_ptr_nonnull(hosts);
}

static void tear_down(void)
{
  hosts_close(hosts);
}

static struct host_claim of(uint8_t who)
{
  return (struct host_claim){.identity = {who}, .member = {who}};
}

/* Names in order, NULL at the end. `who` 0 has not joined. */
static struct publics *claim(uint8_t who, const char *service, const char *const *names, bool tls)
{
  Mindmeld__PublicName asked[8];
  Mindmeld__PublicName *pointers[8];
  size_t count = 0;
  for (; names[count] != NULL; count++) {
    mindmeld__public_name__init(&asked[count]);
    const char *slash = strchr(names[count], '/');
    static char text[8][64];
    snprintf(text[count], sizeof text[count], "%.*s", slash != NULL ? (int)(slash - names[count]) : 63, names[count]);
    asked[count].host = text[count];
    asked[count].path = (char *)(uintptr_t)(slash != NULL ? slash : "");
    asked[count].tls = tls;
    pointers[count] = &asked[count];
  }
  const struct host_claim as = of(who);
  const struct publics_claim c = {
      .grants = &grants, .hosts = hosts, .service = service, .as = who != 0 ? &as : NULL, .former = former};
  struct publics *p = publics_claim(&c, pointers, count);
  ck_assert_ptr_nonnull(p);
  return p;
}

static void leave(struct publics *p, uint8_t who)
{
  const struct host_claim as = of(who);
  publics_leave(p, hosts, &as);
}

/* As the service is told; freed by the caller. */
static Mindmeld__CreateServiceResponse *answers(const struct publics *p, uint16_t http, uint16_t https)
{
  struct rpc_message *m = publics_answer(p, &(struct gate_ports){.http = http, .https = https});
  ck_assert_ptr_nonnull(m);
  Mindmeld__CreateServiceResponse *r =
      (Mindmeld__CreateServiceResponse *)rpc_message_unpack(m, &mindmeld__create_service_response__descriptor);
  rpc_message_free(m);
  ck_assert_ptr_nonnull(r);
  return r;
}

static void answers_are(const struct publics *p, uint16_t http, uint16_t https, const char *const *urls)
{
  Mindmeld__CreateServiceResponse *r = answers(p, http, https);
  for (size_t i = 0; i < r->n_public_answers; i++)
    ck_assert_str_eq(r->public_answers[i]->url, urls[i]);
  mindmeld__create_service_response__free_unpacked(r, NULL);
}

static void status_is(const struct publics *p, size_t index, enum rpc_status status)
{
  Mindmeld__CreateServiceResponse *r = answers(p, 80, 0);
  ck_assert_uint_gt(r->n_public_answers, index);
  ck_assert_uint_eq(r->public_answers[index]->status, status);
  ck_assert((r->public_answers[index]->reason[0] == '\0') == (status == RPC_OK));
  ck_assert((r->public_answers[index]->host[0] != '\0') == (status == RPC_OK));
  mindmeld__create_service_response__free_unpacked(r, NULL);
}

START_TEST(urls_are_what_gates_serve)
{
  static const char *const names[] = {"app", "app/api", "x.example.org", NULL};
  struct publics *p = claim(1, "web", names, false);
  size_t count;
  ck_assert_ptr_nonnull(publics_granted(p, &count));
  ck_assert_uint_eq(count, 3);
  ck_assert(!publics_any_refused(p));
  answers_are(p, 80, 0,
              (const char *[]){"http://app.tun.example.com", "http://app.tun.example.com/api", "http://x.example.org"});
  answers_are(p, 8080, 0,
              (const char *[]){"http://app.tun.example.com:8080", "http://app.tun.example.com:8080/api",
                               "http://x.example.org:8080"});
  answers_are(
      p, 80, 443,
      (const char *[]){"https://app.tun.example.com", "https://app.tun.example.com/api", "https://x.example.org"});
  answers_are(p, 0, 0, (const char *[]){"", "", ""});
  leave(p, 1);
  p = claim(1, "web", (const char *[]){"secure", NULL}, true);
  answers_are(p, 80, 0, (const char *[]){""}); /* TLS is served by no gate */
  answers_are(p, 80, 8443, (const char *[]){"https://secure.tun.example.com:8443"});
  leave(p, 1);
}
END_TEST

static const char *const free_port[] = {":0", NULL};

/* The port that was granted. */
static unsigned port_of(struct publics *p)
{
  size_t count;
  Mindmeld__PublicName **granted = publics_granted(p, &count);
  ck_assert_uint_eq(count, 1);
  ck_assert_int_eq(granted[0]->host[0], ':');
  return (unsigned)strtoul(granted[0]->host + 1, NULL, 10);
}

/* Gates are told when only that has changed. */
START_TEST(whether_clients_share_is_told)
{
  const struct host_claim as = of(1);
  const struct publics_claim c = {.grants = &grants, .hosts = hosts, .service = "web", .as = &as};
  Mindmeld__PublicName asked = MINDMELD__PUBLIC_NAME__INIT, *pointer = &asked;
  char name[] = "app";
  size_t count;
  asked.host = name;
  struct publics *shared = publics_claim(&c, &pointer, 1);
  asked.per_client = true;
  struct publics *apart = publics_claim(&c, &pointer, 1);
  ck_assert(!publics_same(shared, apart));
  ck_assert(!publics_granted(shared, &count)[0]->per_client);
  ck_assert(publics_granted(apart, &count)[0]->per_client);
  leave(shared, 1);
  leave(apart, 1);
}
END_TEST

START_TEST(a_port_has_its_url)
{
  struct publics *p = claim(1, "ssh", (const char *[]){":2001", NULL}, false);
  struct rpc_message *m = publics_answer(p, &(struct gate_ports){.http = 80, .tcp = true});
  Mindmeld__CreateServiceResponse *r =
      (Mindmeld__CreateServiceResponse *)rpc_message_unpack(m, &mindmeld__create_service_response__descriptor);
  rpc_message_free(m);
  ck_assert_str_eq(r->public_answers[0]->url, "tcp://tun.example.com:2001");
  ck_assert_str_eq(r->public_answers[0]->host, "tun.example.com:2001");
  mindmeld__create_service_response__free_unpacked(r, NULL);
  answers_are(p, 80, 443, (const char *[]){""}); /* those gates have no ports */
  leave(p, 1);
}
END_TEST

/* Each has one of its own, the same one again, and the fourth none. */
START_TEST(a_free_port_is_nobody_elses)
{
  static const char *const names[] = {"a", "b", "c"};
  struct publics *p[3], *again;
  unsigned port[3], taken = 0;
  for (int i = 0; i < 3; i++) {
    p[i] = claim((uint8_t)(i < 2 ? 1 : 2), names[i], free_port, false);
    port[i] = port_of(p[i]);
    ck_assert(port[i] >= 2000 && port[i] <= 2002);
    taken |= 1U << (port[i] - 2000);
  }
  ck_assert_uint_eq(taken, 7);
  again = claim(3, "d", free_port, false);
  status_is(again, 0, RPC_RESOURCE_EXHAUSTED);
  leave(again, 3);
  /* As it is registered anew: beside what it has. */
  former = p[1];
  again = claim(1, "b", free_port, false);
  former = NULL;
  ck_assert_uint_eq(port_of(again), port[1]);
  leave(again, 1);
  for (int i = 0; i < 3; i++)
    leave(p[i], i < 2 ? 1 : 2);
  /* As after a restart. */
  again = claim(1, "a", free_port, false);
  ck_assert_uint_eq(port_of(again), port[0]);
  leave(again, 1);
}
END_TEST

START_TEST(ports_are_refused_as_hosts_are)
{
  struct publics *first = claim(1, "ssh", (const char *[]){":2000", NULL}, false);
  struct publics *p = claim(2, "x", (const char *[]){":2000", ":1999", ":70000", ":", ":2000/api", NULL}, false);
  static const enum rpc_status expected[] = {RPC_ALREADY_EXISTS, RPC_PERMISSION_DENIED, RPC_INVALID_ARGUMENT,
                                             RPC_INVALID_ARGUMENT, RPC_INVALID_ARGUMENT};
  for (size_t i = 0; i < 5; i++)
    status_is(p, i, expected[i]);
  struct publics *stranger = claim(0, "web", free_port, false);
  status_is(stranger, 0, RPC_PERMISSION_DENIED);
  leave(stranger, 0);
  leave(p, 2);
  leave(first, 1);
}
END_TEST

START_TEST(each_refusal_has_its_answer)
{
  struct publics *first = claim(1, "web", (const char *[]){"app", NULL}, false);
  struct publics *p =
      claim(2, "shop", (const char *[]){"app", "www", "a.example.com", "a..b", "b", "c", "d", NULL}, false);
  static const enum rpc_status expected[] = {
      RPC_ALREADY_EXISTS,    RPC_PERMISSION_DENIED, RPC_PERMISSION_DENIED, RPC_INVALID_ARGUMENT, RPC_OK, RPC_OK,
      RPC_RESOURCE_EXHAUSTED};
  for (size_t i = 0; i < 7; i++)
    status_is(p, i, expected[i]);
  ck_assert(publics_any_refused(p));
  ck_assert(!publics_any_refused(first));
  ck_assert(!publics_any_refused(NULL));
  struct publics *other = claim(1, "vault", (const char *[]){"app", NULL}, true);
  status_is(other, 0, RPC_ALREADY_EXISTS); /* its own, but for HTTP */
  struct publics *stranger = claim(0, "web", (const char *[]){"x", NULL}, false);
  status_is(stranger, 0, RPC_PERMISSION_DENIED);
  leave(stranger, 0);
  leave(other, 1);
  leave(p, 2);
  leave(first, 1);
  p = claim(2, "shop", (const char *[]){"app", NULL}, false);
  status_is(p, 0, RPC_OK); /* it was given up */
  leave(p, 2);
}
END_TEST

START_TEST(gates_are_told_what_is_granted_once)
{
  struct publics *p = claim(1, "web", (const char *[]){"app", "app", "app.tun.example.com", "www", NULL}, false);
  struct publics *same = claim(1, "web", (const char *[]){"app", "mail", NULL}, false);
  struct publics *path = claim(1, "web", (const char *[]){"app/x", NULL}, false);
  size_t count;
  ck_assert_str_eq(publics_granted(p, &count)[0]->host, "app.tun.example.com");
  ck_assert_uint_eq(count, 1);
  ck_assert(publics_same(p, same));
  ck_assert(!publics_same(p, path));
  ck_assert(!publics_same(p, NULL));
  ck_assert(publics_same(NULL, NULL));
  ck_assert_ptr_null(publics_granted(NULL, &count));
  ck_assert_uint_eq(count, 0);
  leave(p, 1);
  leave(same, 1);
  leave(path, 1);
}
END_TEST

START_TEST(auto_passes_over_what_others_have)
{
  struct publics *p = claim(1, "web", (const char *[]){"auto", NULL}, false), *again;
  size_t count;
  char host[256];
  snprintf(host, sizeof host, "%s", publics_granted(p, &count)[0]->host);
  ck_assert_uint_eq(count, 1);
  leave(p, 1);
  again = claim(1, "web", (const char *[]){"auto", NULL}, false);
  ck_assert_str_eq(publics_granted(again, &count)[0]->host, host);
  leave(again, 1);
  p = claim(2, "thief", (const char *[]){host, NULL}, false);
  status_is(p, 0, RPC_OK);
  again = claim(1, "web", (const char *[]){"auto", NULL}, false);
  ck_assert_str_ne(publics_granted(again, &count)[0]->host, host);
  leave(again, 1);
  leave(p, 2);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("publics");
  TCase *c = tcase_create("publics");
  tcase_add_checked_fixture(c, set_up, tear_down);
  tcase_add_test(c, urls_are_what_gates_serve);
  tcase_add_test(c, each_refusal_has_its_answer);
  tcase_add_test(c, a_port_has_its_url);
  tcase_add_test(c, whether_clients_share_is_told);
  tcase_add_test(c, a_free_port_is_nobody_elses);
  tcase_add_test(c, ports_are_refused_as_hosts_are);
  tcase_add_test(c, gates_are_told_what_is_granted_once);
  tcase_add_test(c, auto_passes_over_what_others_have);
  suite_add_tcase(s, c);
  return s;
}
