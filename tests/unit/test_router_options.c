/* The command line as a table, and the key as it is shown. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/door/secret.h"
#include "router/options.h"

#include "runner.h"

struct row {
  const char *arguments; /* separated by blanks */
  const char *port;
  const char *listen; /* NULL: refused */
  const char *why;    /* part of the sentence, when refused */
  bool open;
};

static const struct row rows[] = {
    {"", NULL, "127.0.0.1:7000", NULL, true},
    {"", "", "127.0.0.1:7000", NULL, true},
    {"--key k", NULL, "127.0.0.1:7000", NULL, false},
    {"--open", "8080", "0.0.0.0:8080", NULL, true},
    {"--key=k", "8080", "0.0.0.0:8080", NULL, false},
    {"", "8080", NULL, "0.0.0.0:8080, which PORT in the environment asks for, can be reached from", false},
    {"--open", "80x", NULL, "PORT", false},
    {"--open", "65536", NULL, "PORT", false},
    {"--listen 127.0.0.1:0", "8080", "127.0.0.1:0", NULL, true},
    {"--domain tun.example.com --own-domains *.example.org,a.b", NULL, "127.0.0.1:7000", NULL, true},
    {"--domain tun.example.com --http 80 --public https", NULL, "127.0.0.1:7000", NULL, true},
    {"--domain a.b --http 80 --https 443 --certs c --acme-webroot w", NULL, "127.0.0.1:7000", NULL, true},
    {"--domain a.b --https 443", NULL, NULL, "--https and --certs need each other", false},
    {"--acme-webroot w", NULL, NULL, "--acme-webroot needs --http", false},
    {"--trust unix", NULL, NULL, "--trust needs --http", false},
    {"--domain a.b --http 80 --trust unix,10.0.0.0/8", NULL, "127.0.0.1:7000", NULL, true},
    {"--http 80", NULL, NULL, "--http needs --domain", false},
    {"--public https --domain a.b", NULL, NULL, "--public needs --http or", false},
    {"--domain tun.example.com:80", NULL, NULL, "--domain cannot be tun.example.com:80", false},
    {"--domain a.b --ports 20000-20999", NULL, "127.0.0.1:7000", NULL, true},
    {"--domain a.b --ports 2-1", NULL, NULL, "--ports cannot be 2-1", false},
    {"--ports 20000", NULL, NULL, "--ports needs --domain HOST", false},
    {"--own-domains a.b,", NULL, NULL, "--own-domains cannot be a.b,", false},
    {"--listen localhost:1", NULL, "localhost:1", NULL, true},
    {"--listen=[::1]:1", NULL, "[::1]:1", NULL, true},
    {"--listen 127.1.2.3:1", NULL, "127.1.2.3:1", NULL, true},
    {"--listen 0.0.0.0:1 --open", NULL, "0.0.0.0:1", NULL, true},
    {"--listen [::]:1 --key k", NULL, "[::]:1", NULL, false},
    {"--listen example.org:65535 --key k", NULL, "example.org:65535", NULL, false},
    {"--listen 127.example.org:1", NULL, NULL, "--key FILE", false},
    {"--listen 127.0.0.1.example.org:1", NULL, NULL, "--key FILE", false},
    {"--listen 127.0.0.256:1", NULL, NULL, "--key FILE", false},
    {"--listen 127.0.0:1", NULL, NULL, "--key FILE", false},
    {"--listen localhost.example.org:1", NULL, NULL, "--key FILE", false},
    {"--listen [::1%eth0]:1", NULL, NULL, "HOST:PORT", false},
    {"--listen 0.0.0.0:1", NULL, NULL, "--open", false},
    {"--listen 7000", NULL, NULL, "HOST:PORT", false},
    {"--listen :7000", NULL, NULL, "HOST:PORT", false},
    {"--listen []:7000", NULL, NULL, "HOST:PORT", false},
    {"--listen ::1:7000", NULL, NULL, "HOST:PORT", false},
    {"--listen [::1:7000", NULL, NULL, "HOST:PORT", false},
    {"--listen a:", NULL, NULL, "HOST:PORT", false},
    {"--listen a:-1", NULL, NULL, "HOST:PORT", false},
    {"--listen a:65536", NULL, NULL, "HOST:PORT", false},
    {"--listen a:000001", NULL, NULL, "HOST:PORT", false},
    {"--listen unix:/tmp/x", NULL, NULL, "HOST:PORT", false},
    {"--listen a/b:1 --open", NULL, NULL, "HOST:PORT", false},
    {"--listen", NULL, NULL, "--listen needs a value", false},
    {"--listen=", NULL, NULL, "--listen needs a value", false},
    {"--key", NULL, NULL, "--key needs a value", false},
    {"--key a --key b", NULL, NULL, "twice", false},
    {"--key a --open", NULL, NULL, "exclude", false},
    {"--open=yes", NULL, NULL, "takes no value", false},
    {"--tls-cert c", NULL, NULL, "need each other", false},
    {"--tls-key c", NULL, NULL, "need each other", false},
    {"--tls-key k --tls-cert c", NULL, "127.0.0.1:7000", NULL, true},
    {"--max-stream-age=0", NULL, "127.0.0.1:7000", NULL, true},
    {"--max-stream-age 9999999", NULL, "127.0.0.1:7000", NULL, true},
    {"--max-stream-age 10000000", NULL, NULL, "at most 9999999, not 10000000", false},
    {"--max-stream-age -1", NULL, NULL, "seconds", false},
    {"--max-stream-age 1.5", NULL, NULL, "seconds", false},
    {"--max-stream-age 1h", NULL, NULL, "seconds", false},
    {"--max-stream-age", NULL, NULL, "needs a value", false},
    {"--max-stream-age 1 --max-stream-age 2", NULL, NULL, "twice", false},
    {"--bogus", NULL, NULL, "--bogus is not an option", false},
    {"-l", NULL, NULL, "-l is not an option; try --help", false},
    {"-k f", NULL, NULL, "-k is not an option; did you mean --key FILE?", false},
    {"--kye f", NULL, NULL, "--kye is not an option; did you mean --key FILE?", false},
    {"--tls_cert=c", NULL, NULL, "--tls_cert=c is not an option; did you mean --tls-cert FILE?", false},
    {"--opne", NULL, NULL, "did you mean --open?", false},
    {"-v", NULL, NULL, "-v is not an option; try --help", false},
    {"-", NULL, NULL, "- is not an option; try --help", false},
    {"7000", NULL, NULL, "7000 is not an option; an address is given as --listen HOST:PORT", false},
    {"--listen http://a:1 --open", NULL, NULL, "HOST:PORT", false},
    {"--", NULL, NULL, "not an option", false},
    {"--streams 127.0.0.1:2", NULL, "127.0.0.1:7000", NULL, true},
    {"--listen 127.0.0.1:0 --streams 127.0.0.1:0", NULL, "127.0.0.1:0", NULL, true},
    {"--listen [::1]:1 --streams [::1]:1", NULL, NULL, "[::1]:1 is where the router listens", false},
    {"--streams 127.0.0.1:7000", NULL, NULL, "without --streams", false},
    {"--streams", NULL, NULL, "--streams needs a value", false},
    {"--streams 7001", NULL, NULL, "--streams takes HOST:PORT or [V6]:PORT, not 7001", false},
    {"--streams localhost:many", NULL, NULL, "the port of localhost:many is not a number", false},
    {"--streams a:1 --tls-cert c --tls-key k", NULL, NULL, "--streams and --tls-cert exclude each other", false},
};

START_TEST(test_row)
{
  const struct row *row = &rows[_i];
  char text[256], *save = NULL;
  const char *argv[16] = {"mmrouter"};
  int argc = 1;
  snprintf(text, sizeof text, "%s", row->arguments);
  for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
    argv[argc++] = word;
  struct options o;
  char why[256] = "";
  int result = router_options_parse(&o, argc, argv, row->port, why, sizeof why);
  if (!row->listen) {
    ck_assert_int_eq(result, -1);
    ck_assert_msg(strstr(why, row->why) != NULL, "%s: %s", row->arguments, why);
    return;
  }
  ck_assert_msg(result == 0, "%s: %s", row->arguments, why);
  ck_assert_str_eq(o.listen, row->listen);
  ck_assert_int_eq(o.open, row->open);
  bool given = strstr(row->arguments, "--listen") != NULL, port = row->port && row->port[0];
  ck_assert_int_eq(o.listen_from, given ? LISTEN_GIVEN : port ? LISTEN_PORT : LISTEN_DEFAULT);
}
END_TEST

START_TEST(test_age)
{
  static const struct {
    const char *text;
    unsigned seconds;
  } ages[] = {{"0", 0}, {"3600", 3600}, {"0060", 60}, {"9999999", 9999999}};
  struct options o;
  char why[256];
  for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
    const char *argv[] = {"mmrouter", "--max-stream-age", ages[i].text};
    ck_assert_int_eq(router_options_parse(&o, 3, argv, NULL, why, sizeof why), 0);
    ck_assert_uint_eq(o.stream_age_s, ages[i].seconds);
  }
  const char *none[] = {"mmrouter"};
  ck_assert_int_eq(router_options_parse(&o, 1, none, NULL, why, sizeof why), 0);
  ck_assert_uint_eq(o.stream_age_s, 0);
}
END_TEST

START_TEST(test_help)
{
  struct options o;
  char why[256], usage[4096];
  const char *help[] = {"mmrouter", "--help"}, *version[] = {"mmrouter", "--version"};
  /* Even where nothing could be served. */
  ck_assert_int_eq(router_options_parse(&o, 2, help, "8080", why, sizeof why), 0);
  ck_assert(o.help);
  ck_assert_int_eq(router_options_parse(&o, 2, version, "bogus", why, sizeof why), 0);
  ck_assert(o.version);
  const char *letters[] = {"mmrouter", "-h"}, *letter[] = {"mmrouter", "-V"}, *wrong[] = {"mmrouter", "--bogus", "-h"};
  ck_assert(router_options_parse(&o, 2, letters, NULL, why, sizeof why) == 0 && o.help);
  ck_assert(router_options_parse(&o, 2, letter, NULL, why, sizeof why) == 0 && o.version);
  ck_assert(router_options_parse(&o, 3, wrong, NULL, why, sizeof why) == 0 && o.help);
  int size = router_options_usage(usage, sizeof usage);
  ck_assert_int_eq(size, (int)strlen(usage));
  static const char *const names[] = {"--listen HOST:PORT",       "--tls-cert",   "--tls-key", "--key", "--open",
                                      "--max-stream-age SECONDS", "-V, --version"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    ck_assert_ptr_nonnull(strstr(usage, names[i]));
  char small[10];
  ck_assert_int_eq(router_options_usage(small, sizeof small), size);
}
END_TEST

START_TEST(test_long_address)
{
  char address[1000], why[700];
  const char *argv[] = {"mmrouter", "--open", "--listen", address};
  memset(address, 'a', sizeof address);
  memcpy(address + sizeof address - 3, ":1", 3);
  struct options o;
  ck_assert_int_eq(router_options_parse(&o, 4, argv, NULL, why, sizeof why), -1);
  memset(address, '9', sizeof address - 1);
  ck_assert_int_eq(router_options_parse(&o, 2, argv, address, why, sizeof why), -1);
}
END_TEST

/* ---- The key ---- */

START_TEST(test_shown)
{
  ck_assert(secret_shown("key", "Bearer key"));
  ck_assert(secret_shown("key", "bearer key"));
  static const char *const wrong[] = {"",           "Bearer", "Bearer ",   "Bearer ke",  "Bearer keys",
                                      "Bearer Key", "key",    "Basic key", "Bearer  key"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    ck_assert_msg(!secret_shown("key", wrong[i]), "%s", wrong[i]);
  char key[SECRET_MAX + 1], shown[SECRET_MAX + 20] = "Bearer ";
  memset(key, 'k', SECRET_MAX);
  key[SECRET_MAX] = '\0';
  memset(shown + 7, 'k', SECRET_MAX);
  ck_assert(secret_shown(key, shown));
  shown[7 + SECRET_MAX] = 'k';
  ck_assert(!secret_shown(key, shown));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("options");
  TCase *tcase = tcase_create("options");
  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, test_row, 0, (int)(sizeof rows / sizeof *rows));
  tcase_add_test(tcase, test_age);
  tcase_add_test(tcase, test_help);
  tcase_add_test(tcase, test_long_address);
  tcase_add_test(tcase, test_shown);
  return suite;
}
