/* State files: what is written reads the same, and nothing that is not whole is read at all. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/forwards/forwards.h"
#include "daemon/keep/state_format.h"
#include "daemon/names/services.h"

#include "runner.h"

static const struct state_rules rules = {.services = SERVICES_MAX,
                                         .forwards = FORWARDS_MAX,
                                         .listeners = FORWARD_LISTENERS_MAX,
                                         .public_names = PUBLIC_NAMES_MAX,
                                         .check_name = service_name_check};
static struct state_declarations declared;
static char why[STATE_WHY_MAX];

static const char sample[] = "mindmeld state 1\n"
                             "service web localhost:8080\n"
                             "service later\n"
                             "service v6 [::1]:80\n"
                             "forward db 127.0.0.1:5432\n"
                             "forward db unix:/run/with blank\n"
                             "forward web 0.0.0.0:0\n"
                             "end f6833145\n";

static void add_address(struct state_text *text, const char *kind, const char *name, const char *address)
{
  struct address a;
  const char *phrase;

  if (strcmp(kind, "service") == 0) {
    ck_assert_int_eq(address_parse_target(address, &a, &phrase), 0);
    state_text_service(text, name, &a);
  } else {
    ck_assert_int_eq(address_parse_listener(address, &a, &phrase), 0);
    state_text_forward(text, name, &a);
  }
}

static struct state_text write_sample(void)
{
  struct state_text text;

  state_text_begin(&text);
  add_address(&text, "service", "web", "localhost:8080");
  state_text_service(&text, "later", NULL);
  add_address(&text, "service", "v6", "[::1]:80");
  add_address(&text, "forward", "db", "5432");
  add_address(&text, "forward", "db", "unix:/run/with blank");
  add_address(&text, "forward", "web", "0.0.0.0:0");
  ck_assert_int_eq(state_text_end(&text), 0);
  return text;
}

START_TEST(what_is_written_is_as_documented)
{
  struct state_text text = write_sample();

  ck_assert_uint_eq(text.size, strlen(sample));
  ck_assert_mem_eq(text.bytes, sample, text.size);
  free(text.bytes);
}
END_TEST

START_TEST(what_is_written_is_read)
{
  static const struct {
    enum state_kind kind;
    const char *name, *address;
  } expected[] = {
      {STATE_SERVICE, "web", "localhost:8080"},
      {STATE_SERVICE, "later", NULL},
      {STATE_SERVICE, "v6", "[::1]:80"},
      {STATE_FORWARD, "db", "127.0.0.1:5432"},
      {STATE_FORWARD, "db", "unix:/run/with blank"},
      {STATE_FORWARD, "web", "0.0.0.0:0"},
  };
  char text[ADDRESS_TEXT_MAX];

  ck_assert_msg(state_parse(sample, strlen(sample), &rules, &declared, why) == 0, "%s", why);
  ck_assert_uint_eq(declared.count, sizeof(expected) / sizeof(expected[0]));
  for (size_t i = 0; i < declared.count; i++) {
    const struct state_declaration *d = &declared.items[i];

    ck_assert_int_eq(d->kind, expected[i].kind);
    ck_assert_str_eq(d->name, expected[i].name);
    ck_assert_int_eq(d->has_address, expected[i].address != NULL);
    if (d->has_address)
      ck_assert_str_eq(address_format(&d->address, text), expected[i].address);
  }
  state_declarations_free(&declared);
}
END_TEST

START_TEST(public_names_follow_their_service)
{
  static const char text[] = "mindmeld state 3\n"
                             "service web localhost:8080\n"
                             "http web app.example.com/api\n"
                             "http web auto\n"
                             "tls web secure.example.com\n"
                             "port web 2222\n"
                             "proxy web v2\n"
                             "forward db 127.0.0.1:5432\n"
                             "end\n";
  static const char *const bad[] = {
      "http web app\n",
      "service web\nservice api\nhttp web app\n",
      "service web\nhttp web app\nhttp web app\n",
      "service web\nhttp web\n",
      "service web\nhttp web a..b\n",
      "service web\ntls web a.b/c\n",
      "forward web 1\nhttp web a.b\n",
      "proxy web v1\n",
      "port web 1\n",
      "service web\nport web 65536\n",
      "service web\nport web 1\nport web 1\n",
      "service web\nproxy web v3\n",
      "service web\nproxy web\n",
      "service web\nproxy web v1\nhttp web a.b\nproxy web v1\n",
  };
  struct state_text written;
  char whole[256];

  ck_assert_msg(state_parse(text, strlen(text), &rules, &declared, why) == 0, "%s", why);
  ck_assert_uint_eq(declared.count, 7);
  ck_assert_int_eq(declared.items[1].kind, STATE_PUBLIC);
  ck_assert_str_eq(declared.items[1].public_name.path, "/api");
  ck_assert(declared.items[3].public_name.tls);
  state_text_begin(&written);
  state_text_service(&written, "web", &declared.items[0].address);
  for (size_t i = 1; i < 5; i++)
    state_text_public(&written, "web", &declared.items[i].public_name);
  state_text_proxy(&written, "web", declared.items[5].proxy);
  state_text_forward(&written, "db", &declared.items[6].address);
  ck_assert_int_eq(state_text_end(&written), 0);
  ck_assert_mem_eq(written.bytes, text, strlen(text) - strlen("\n"));
  state_declarations_free(&declared);
  ck_assert_msg(state_parse(written.bytes, written.size, &rules, &declared, why) == 0, "%s", why);
  state_declarations_free(&declared);
  free(written.bytes);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(whole, sizeof whole, "mindmeld state 2\n%send\n", bad[i]);
    ck_assert_int_eq(state_parse(whole, strlen(whole), &rules, &declared, why), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why, "line "));
  }
}
END_TEST

/* What an older mmfs can read it shall be able to read. */
START_TEST(the_version_is_as_low_as_can_be)
{
  const struct public_name app = {.host = "app"};

  for (int version = 1; version <= 3; version++) {
    struct state_text text;
    state_text_begin(&text);
    state_text_service(&text, "web", NULL);
    if (version > 1)
      state_text_public(&text, "web", &app);
    state_text_proxy(&text, "web", version > 2 ? PROXY_V1 : PROXY_OFF);
    ck_assert_int_eq(state_text_end(&text), 0);
    ck_assert_int_eq(text.bytes[strlen("mindmeld state ")], '0' + version);
    free(text.bytes);
  }
}
END_TEST

#define HASH "$argon2id$v=19$m=65536,t=2,p=1$qwertyuiopasdfghjklzxA$qwertyuiopasdfghjklzxcvbnmqwertyuiopasdfghA"

START_TEST(rules_follow_their_service)
{
  static const char *const bad[] = {"rule web clients 10.0.0.0/8\n",
                                    "service web\nservice api\nrule web clients 10.0.0.0/8\n",
                                    "service web\nrule web\n",
                                    "service web\nrule web clients\n",
                                    "service web\nrule web who 10.0.0.0/8\n",
                                    "service web\nrule web clients what\n",
                                    "service web\nrule web users alice:topsecret\n",
                                    "service web\nrule web offline \n",
                                    "service web\nrule web offline !\n"};
  struct state_text written;
  struct rules r = {0};
  char whole[256], page[5000] = {'<', 0, '\n', (char)0xff}, part[sizeof page] = {0};
  size_t at = 0;

  ck_assert_int_eq(rules_add(&r, RULE_CLIENTS, "10.0.0.0/8", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_HEADERS, "Host: a b", false), 0);
  ck_assert_int_eq(rules_set(&r, RULE_HEADERS, "X-A: a b\nHost: c\n", 17), 0);
  ck_assert_int_eq(rules_add(&r, RULE_USERS, "alice:" HASH, false), 0);
  ck_assert_int_eq(rules_set(&r, RULE_OFFLINE, page, sizeof page), 0);
  state_text_begin(&written);
  state_text_service(&written, "web", NULL);
  state_text_rules(&written, "web", &r);
  ck_assert_int_eq(state_text_end(&written), 0);
  ck_assert_int_eq(strncmp(written.bytes, "mindmeld state 3\n", 17), 0);
  ck_assert_msg(state_parse(written.bytes, written.size, &rules, &declared, why) == 0, "%s", why);
  ck_assert_uint_eq(declared.count, 7);
  static const char user[] = "alice:" HASH;
  static const char *const lines[] = {"10.0.0.0/8", "X-A: a b", "Host: c", user};
  for (size_t i = 0; i < 4; i++)
    ck_assert_str_eq(declared.items[i + 1].text, lines[i]);
  for (size_t i = 5; i < 7; i++) {
    memcpy(part + at, declared.items[i].text, declared.items[i].text_size);
    at += declared.items[i].text_size;
  }
  ck_assert_uint_eq(at, sizeof page);
  ck_assert_mem_eq(part, page, sizeof page);
  state_declarations_free(&declared);
  free(written.bytes);
  rules_free(&r);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    snprintf(whole, sizeof whole, "mindmeld state 3\n%send\n", bad[i]);
    ck_assert_int_eq(state_parse(whole, strlen(whole), &rules, &declared, why), -EINVAL);
    ck_assert_msg(strstr(why, "line ") != NULL && strstr(why, "topsecret") == NULL, "%s", why);
  }
}
END_TEST

START_TEST(nothing_declared)
{
  static const char *const texts[] = {"mindmeld state 1\nend\n", "mindmeld state 1\nend 68900ff4\n"};
  struct state_text text;

  for (size_t i = 0; i < 2; i++) {
    ck_assert_msg(state_parse(texts[i], strlen(texts[i]), &rules, &declared, why) == 0, "%s", why);
    ck_assert_uint_eq(declared.count, 0);
    state_declarations_free(&declared);
  }
  state_text_begin(&text);
  ck_assert_int_eq(state_text_end(&text), 0);
  ck_assert_str_eq(text.bytes, texts[1]);
  free(text.bytes);
}
END_TEST

/* Every beginning of it, and every byte of it changed. */
START_TEST(no_damage_is_overlooked)
{
  char copy[sizeof(sample)];

  for (size_t size = 0; size < strlen(sample); size++) {
    char *cut = malloc(size + (size == 0));

    ck_assert_ptr_nonnull(cut);
    memcpy(cut, sample, size);
    ck_assert_int_eq(state_parse(cut, size, &rules, &declared, why), -EINVAL);
    ck_assert_str_ne(why, "");
    ck_assert_ptr_null(declared.items);
    free(cut);
  }
  for (size_t at = 0; at < strlen(sample); at++) {
    for (unsigned bit = 0; bit < 8; bit++) {
      memcpy(copy, sample, sizeof(sample));
      copy[at] = (char)(copy[at] ^ (1 << bit));
      ck_assert_msg(state_parse(copy, strlen(sample), &rules, &declared, why) == -EINVAL, "byte %zu, bit %u", at, bit);
    }
  }
}
END_TEST

static const struct {
  const char *text, *why;
} refused[] = {
    {"", "the file is empty"},
    {"\n", "does not begin with \"mindmeld state 3\""},
    {"mindmeld state\nend\n", "does not begin with"},
    {"mindmeld state \nend\n", "does not begin with"},
    {"mindmeld state 0\nend\n", "does not begin with"},
    {"mindmeld state 01\nend\n", "does not begin with"},
    {"mindmeld state -1\nend\n", "does not begin with"},
    {"mindmeld state 1x\nend\n", "does not begin with"},
    {"mindmeld state 12345678901234567890\nend\n", "does not begin with"},
    {"mindmeld state 4\nanything\n", "a newer mmfs wrote it, in version 4 of the format; this one knows version 3"},
    {"mindmeld state 99999999999\n", "a newer mmfs wrote it, in version 99999999999"},
    {"mindmeld state 1\n", "the file is cut short: its last line is not \"end\""},
    {"mindmeld state 1\nend", "the file is cut short: it ends within a line"},
    {"mindmeld state 1\nend 0000", "the file is cut short: it ends within a line"},
    {"mindmeld state 1\nend \n", "the checksum in the last line is wrong"},
    {"mindmeld state 1\nend 00000000\n", "the checksum in the last line is wrong"},
    {"mindmeld state 1\nend 68900FF4\n", "the checksum in the last line is wrong"},
    {"mindmeld state 1\nend 68900ff4 \n", "the checksum in the last line is wrong"},
    {"mindmeld state 1\nending\n", "the checksum in the last line is wrong"},
    {"mindmeld state 1\nend\nservice a\n", "its last line is not \"end\""},
    {"mindmeld state 1\nend\nend\n", "line 2 begins with neither"},
    {"mindmeld state 1\n\nend\n", "line 2 begins with neither \"service NAME\" nor \"forward NAME\""},
    {"mindmeld state 1\nservice\nend\n", "line 2 begins with neither"},
    {"mindmeld state 1\nserver a\nend\n", "line 2 begins with neither"},
    {"mindmeld state 1\n service a\nend\n", "line 2 begins with neither"},
    {"mindmeld state 1\nservice \nend\n", "line 2: \"\": the name is empty"},
    {"mindmeld state 1\nservice a\nservice B\nend\n", "line 3: \"B\": the name has a character"},
    {"mindmeld state 1\nservice ../a\nend\n", "line 2: \"../a\": the name has a character"},
    {"mindmeld state 1\nservice a \nend\n", "line 2: \"\": empty"},
    {"mindmeld state 1\nservice a :80\nend\n", "line 2: \":80\": the host is missing"},
    {"mindmeld state 1\nservice a h:80 \nend\n", "line 2: \"h:80 \": the port"},
    {"mindmeld state 1\nservice a\nservice a h:80\nend\n", "line 3: service a is declared twice"},
    {"mindmeld state 1\nforward a\nend\n", "line 2: forward a has no listener"},
    {"mindmeld state 1\nforward a 99999\nend\n", "line 2: \"99999\": the port"},
    {"mindmeld state 1\nservice \x1b[2J\nend\n", "line 2: \"?[2J\": the name"},
};

START_TEST(each_error_has_its_sentence)
{
  int rc = state_parse(refused[_i].text, strlen(refused[_i].text), &rules, &declared, why);

  ck_assert_msg(rc == -EINVAL, "%s", refused[_i].text);
  ck_assert_msg(strstr(why, refused[_i].why) != NULL, "%s: \"%s\"", refused[_i].text, why);
}
END_TEST

START_TEST(odd_bytes)
{
  static const char nul[] = "mindmeld state 1\nservice a\0b\nend\n";
  char long_line[10000];

  ck_assert_int_eq(state_parse(nul, sizeof(nul) - 1, &rules, &declared, why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "line 2 has a NUL byte"));
  snprintf(long_line, sizeof(long_line), "mindmeld state 1\nservice a unix:/%09000d\nend\n", 0);
  ck_assert_int_eq(state_parse(long_line, strlen(long_line), &rules, &declared, why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "line 2 is too long"));
}
END_TEST

/* As many as there can be, and one more. */
static int many(const char *kind, unsigned names, unsigned listeners)
{
  struct state_text text;
  char name[16];
  char address[32];
  int rc;

  state_text_begin(&text);
  for (unsigned i = 0; i < names; i++) {
    snprintf(name, sizeof(name), "n%u", i);
    for (unsigned j = 0; j < listeners; j++) {
      snprintf(address, sizeof(address), "h:%u", j + 1);
      add_address(&text, kind, name, address);
    }
  }
  ck_assert_int_eq(state_text_end(&text), 0);
  ck_assert_uint_lt(text.size, STATE_SIZE_MAX);
  rc = state_parse(text.bytes, text.size, &rules, &declared, why);
  if (rc == 0)
    ck_assert_uint_eq(declared.count, (size_t)names * listeners);
  state_declarations_free(&declared);
  free(text.bytes);
  return rc;
}

START_TEST(there_are_limits)
{
  ck_assert_int_eq(many("service", SERVICES_MAX, 1), 0);
  ck_assert_int_eq(many("service", SERVICES_MAX + 1, 1), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "line 1026: there are more than 1024 services"));
  ck_assert_int_eq(many("forward", FORWARDS_MAX, 2), 0);
  ck_assert_int_eq(many("forward", FORWARDS_MAX + 1, 1), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "there are more than 1024 forwards"));
  ck_assert_int_eq(many("forward", 3, FORWARD_LISTENERS_MAX), 0);
  ck_assert_int_eq(many("forward", 1, FORWARD_LISTENERS_MAX + 1), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "forward n0 has more than 64 listeners"));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("state_format");
  TCase *tcase = tcase_create("state_format");

  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, what_is_written_is_as_documented);
  tcase_add_test(tcase, what_is_written_is_read);
  tcase_add_test(tcase, public_names_follow_their_service);
  tcase_add_test(tcase, the_version_is_as_low_as_can_be);
  tcase_add_test(tcase, rules_follow_their_service);
  tcase_add_test(tcase, nothing_declared);
  tcase_add_test(tcase, no_damage_is_overlooked);
  tcase_add_loop_test(tcase, each_error_has_its_sentence, 0, sizeof(refused) / sizeof(refused[0]));
  tcase_add_test(tcase, odd_bytes);
  tcase_add_test(tcase, there_are_limits);
  return suite;
}
