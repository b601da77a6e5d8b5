/* Certificates and keys that fit together, and those that do not. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "proto/host/certificate.h"

#include "runner.h"

enum { DAY_S = 86400, TEXT_SIZE = 4096 };

struct pair {
  char cert[TEXT_SIZE], key[TEXT_SIZE], locked[TEXT_SIZE];
};

static struct pair ours, theirs;

static void text_of(BIO *from, char out[TEXT_SIZE])
{
  int size = BIO_read(from, out, TEXT_SIZE - 1);
  ck_assert_int_gt(size, 0);
  out[size] = '\0';
  BIO_free(from);
}

/* `names` as in the extension subjectAltName; NULL: it has none. */
static void make(struct pair *out, const char *common, const char *names)
{
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = X509_new();
  BIO *bio;
  ck_assert(key != NULL && certificate != NULL);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY_S);
  X509_gmtime_adj(X509_getm_notAfter(certificate), DAY_S);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)common, -1,
                             -1, 0);
  if (names != NULL) {
    X509_EXTENSION *one = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    ck_assert_int_eq(X509_add_ext(certificate, one, -1), 1);
    X509_EXTENSION_free(one);
  }
  ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
  bio = BIO_new(BIO_s_mem());
  ck_assert_int_eq(PEM_write_bio_X509(bio, certificate), 1);
  text_of(bio, out->cert);
  bio = BIO_new(BIO_s_mem());
  ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
  text_of(bio, out->key);
  bio = BIO_new(BIO_s_mem());
  ck_assert_int_eq(PEM_write_bio_PrivateKey(bio, key, EVP_aes_128_cbc(), (const unsigned char *)"x", 1, NULL, NULL), 1);
  text_of(bio, out->locked);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

static void setup(void)
{
  make(&ours, "router.example.net", NULL);
  make(&theirs, "x", NULL);
}

static const char *joined(const char *a, const char *b)
{
  static char out[2 * TEXT_SIZE];
  strcpy(out, a);
  strcat(out, b);
  return out;
}

static const char *damaged(const char *pem)
{
  static char out[TEXT_SIZE];
  strcpy(out, pem);
  char *line = strchr(out, '\n');
  line[5] = line[5] == 'A' ? 'B' : 'A';
  line[6] = '!';
  return out;
}

START_TEST(test_check)
{
  const struct {
    const char *chain, *key, *why; /* `why` NULL: good */
  } rows[] = {
      {ours.cert, ours.key, NULL},
      {ours.cert, theirs.key, "does not match the certificate"},
      {ours.cert, ours.locked, "encrypted"},
      {ours.cert, ours.cert, "no private key"},
      {ours.key, ours.key, "no certificate"},
      {"-----BEGIN CERTIFICATE-----\n", ours.key, "no certificate"},
      {"", "", "no certificate"},
      {ours.cert, "", "no private key"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char why[CERTIFICATE_WHY_MAX] = "";
    time_t until = 0;
    int error = certificate_check(rows[i].chain, rows[i].key, &until, why);
    ck_assert_msg(error == (rows[i].why ? -EINVAL : 0), "%zu: %d %s", i, error, why);
    ck_assert_msg(!rows[i].why || strstr(why, rows[i].why), "%zu: %s", i, why);
    ck_assert(rows[i].why || llabs((long long)until - time(NULL) - DAY_S) < 600);
  }
}
END_TEST

/* The chain is read to its end. */
START_TEST(test_chain)
{
  char why[CERTIFICATE_WHY_MAX];
  time_t until;
  ck_assert_int_eq(certificate_check(joined(ours.cert, theirs.cert), ours.key, &until, why), 0);
  ck_assert_int_eq(certificate_check(joined(theirs.cert, ours.cert), ours.key, &until, why), -EINVAL);
  ck_assert_int_eq(certificate_check(joined(ours.cert, "more text\n"), ours.key, &until, why), 0);
  ck_assert_int_eq(certificate_check(joined(ours.cert, damaged(theirs.cert)), ours.key, &until, why), -EINVAL);
  ck_assert_int_eq(certificate_check_roots(joined(ours.cert, theirs.cert), why), 0);
  ck_assert_int_eq(certificate_check_roots(ours.key, why), -EINVAL);
  ck_assert_int_eq(certificate_check_roots(damaged(ours.cert), why), -EINVAL);
}
END_TEST

START_TEST(test_name)
{
  static const struct {
    const char *common, *names, *name; /* `name` NULL: there is none */
  } rows[] = {
      {"router.example.net", NULL, "router.example.net"},
      {"ignored", "DNS:a.example,DNS:b.example", "a.example"},
      {"ignored", "email:me@a.example,DNS:*.tun.example", "any.tun.example"},
      {"ignored", "IP:192.0.2.1", "192.0.2.1"},
      {"ignored", "IP:2001:db8::1,DNS:b.example", "[2001:db8::1]"},
      {"ignored.example", "email:me@a.example", NULL},
      {"a name with blanks", NULL, NULL},
      {"-o", NULL, NULL},
      {"*.example", NULL, "any.example"},
      {"a/b", NULL, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char name[CERTIFICATE_NAME_MAX] = "";
    struct pair one;
    make(&one, rows[i].common, rows[i].names);
    ck_assert_msg(certificate_name(one.cert, name) == (rows[i].name != NULL), "%zu: %s", i, name);
    ck_assert_msg(rows[i].name == NULL || strcmp(name, rows[i].name) == 0, "%zu: %s", i, name);
  }
  ck_assert(!certificate_name("", (char[CERTIFICATE_NAME_MAX]){0}));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("certificate");
  TCase *tcase = tcase_create("certificate");
  suite_add_tcase(suite, tcase);
  tcase_add_unchecked_fixture(tcase, setup, NULL);
  tcase_add_test(tcase, test_check);
  tcase_add_test(tcase, test_chain);
  tcase_add_test(tcase, test_name);
  return suite;
}
