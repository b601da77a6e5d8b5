#include "cert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "hello.h"
#include "proto/host/certificate.h"
#include "proto/host/plain.h"

static int explain(char why[CERTS_WHY_MAX], int error, const char *path, const char *phrase)
{
  snprintf(why, CERTS_WHY_MAX, "%.300s: %s", path, phrase);
  plain_text(why);
  return error;
}

/* ---- PEM ---- */

static X509 *next_certificate(BIO *from)
{
  return PEM_read_bio_X509(from, NULL, NULL, NULL);
}

/* The first, and what follows it. Both have been read before: only memory can be short. */
static bool parse(struct cert *c, const char *chain_pem, const char *key_pem)
{
  BIO *chain = BIO_new_mem_buf(chain_pem, -1), *key = BIO_new_mem_buf(key_pem, -1);
  X509 *more;

  c->chain = sk_X509_new_null();
  if (chain != NULL && key != NULL && c->chain != NULL) {
    c->leaf = next_certificate(chain);
    c->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
    while ((more = next_certificate(chain)) != NULL) {
      if (sk_X509_push(c->chain, more) == 0)
        X509_free(more);
    }
  }
  BIO_free(chain);
  BIO_free(key);
  ERR_clear_error();
  return c->leaf != NULL && c->key != NULL;
}

static int make(struct cert **out, const char *chain, const char *key, time_t until)
{
  struct cert *c = calloc(1, sizeof *c);
  if (c == NULL)
    return -ENOMEM;
  *c = (struct cert){.refs = 1, .until = until};
  if (!parse(c, chain, key)) {
    cert_free(c);
    return -ENOMEM;
  }
  *out = c;
  return 0;
}

/* An authority's certificate lies beside those that it has signed. */
static bool is_authority(const char *pem)
{
  BIO *from = BIO_new_mem_buf(pem, -1);
  X509 *first = from != NULL ? next_certificate(from) : NULL;
  bool is = first != NULL && X509_check_ca(first) > 0;
  X509_free(first);
  BIO_free(from);
  ERR_clear_error();
  return is;
}

/* ---- Files ---- */

/* The text of both; *key is *chain if it is in there. */
static int read_files(const struct folder_file *f, char **chain, char **key, char why[CERTS_WHY_MAX])
{
  char reason[CREDENTIAL_WHY_MAX];
  int error = credential_read_private_pem(f->chain, chain, reason);

  *key = *chain;
  if (error == 0 && f->key != NULL)
    error = credential_read_private_pem(f->key, key, reason);
  if (error != 0)
    snprintf(why, CERTS_WHY_MAX, "%s", reason);
  return error;
}

static int check(const struct folder_file *f, const char *chain, const char *key, time_t *until,
                 char why[CERTS_WHY_MAX])
{
  char phrase[CERTIFICATE_WHY_MAX];

  if (key == chain && strstr(chain, "PRIVATE KEY-----") == NULL) {
    if (is_authority(chain)) {
      why[0] = '\0';
      return -EINVAL;
    }
    return explain(why, -EINVAL, f->chain, "there is no private key in it, nor one beside it that ends in .key");
  }
  int error = certificate_check(chain, key, until, phrase);
  return error == 0 ? 0 : explain(why, error, f->chain, phrase);
}

int cert_load(struct cert **out, const struct folder_file *file, char why[CERTS_WHY_MAX])
{
  char *chain = NULL, *key = NULL;
  time_t until;
  int error = read_files(file, &chain, &key, why);

  if (error == 0)
    error = check(file, chain, key, &until, why);
  if (error == 0) {
    error = make(out, chain, key, until);
    if (error != 0)
      explain(why, error, file->chain, strerror(-error));
  }
  if (key != chain)
    credential_free(key);
  credential_free(chain);
  return error;
}

void cert_free(struct cert *c)
{
  if (c == NULL || --c->refs > 0)
    return;
  X509_free(c->leaf);
  EVP_PKEY_free(c->key);
  sk_X509_pop_free(c->chain, X509_free);
  free(c);
}

/* ---- Names ---- */

/* Whether it is one. */
static bool to_host(const ASN1_STRING *text, char host[HELLO_NAME_SIZE])
{
  const unsigned char *bytes = ASN1_STRING_get0_data(text);
  int size = ASN1_STRING_length(text);

  if (size <= 0 || size >= HELLO_NAME_SIZE)
    return false;
  for (int i = 0; i < size; i++) {
    bool star = bytes[i] == '*' && i == 0 && size > 2 && bytes[1] == '.';
    if (bytes[i] <= ' ' || bytes[i] > '~' || (bytes[i] == '*' && !star))
      return false;
    host[i] = (char)(bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] | 0x20 : bytes[i]);
  }
  host[size] = '\0';
  return true;
}

/* The common name counts only where there are no others, as in old certificates. */
static int common_name(const struct cert *c, int (*each)(const char *host, void *arg), void *arg)
{
  char host[HELLO_NAME_SIZE];
  X509_NAME *subject = X509_get_subject_name(c->leaf);
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  X509_NAME_ENTRY *entry = at >= 0 ? X509_NAME_get_entry(subject, at) : NULL;
  return entry != NULL && to_host(X509_NAME_ENTRY_get_data(entry), host) ? each(host, arg) : 0;
}

int cert_names(const struct cert *c, int (*each)(const char *host, void *arg), void *arg)
{
  char host[HELLO_NAME_SIZE];
  GENERAL_NAMES *names = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
  int error = 0;

  if (names == NULL)
    return common_name(c, each, arg);
  for (int i = 0; i < sk_GENERAL_NAME_num(names) && error == 0; i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS && to_host(name->d.dNSName, host))
      error = each(host, arg);
  }
  GENERAL_NAMES_free(names);
  return error;
}
