/* Parsed by the library that gRPC parses them with. */
#include "certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static int explain(char why[CERTIFICATE_WHY_MAX], int error, const char *phrase)
{
  snprintf(why, CERTIFICATE_WHY_MAX, "%s", phrase);
  ERR_clear_error();
  return error;
}

/* There is nobody to ask for a passphrase. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
  (void)out;
  (void)size;
  (void)writing;
  *(int *)arg = 1;
  return -1;
}

static X509 *read_certificate(BIO *from)
{
  int asked = 0;
  return PEM_read_bio_X509(from, NULL, no_passphrase, &asked);
}

static EVP_PKEY *read_key(const char *pem, const char **phrase)
{
  int asked = 0;
  BIO *from = BIO_new_mem_buf(pem, -1);
  EVP_PKEY *key = from ? PEM_read_bio_PrivateKey(from, NULL, no_passphrase, &asked) : NULL;
  BIO_free(from);
  *phrase = asked ? "the private key is encrypted" : "there is no private key that can be read";
  return key;
}

/* The first one, after which all that follow can be read, too. */
static X509 *read_chain(const char *pem)
{
  BIO *from = BIO_new_mem_buf(pem, -1);
  X509 *first = from ? read_certificate(from) : NULL;
  X509 *more;
  if (!first) {
    BIO_free(from);
    return NULL;
  }
  ERR_clear_error();
  while ((more = read_certificate(from)) != NULL)
    X509_free(more);
  unsigned long error = ERR_peek_last_error();
  BIO_free(from);
  if (error == 0 || ERR_GET_REASON(error) == PEM_R_NO_START_LINE)
    return first;
  X509_free(first);
  return NULL;
}

static time_t end_of(const X509 *certificate)
{
  struct tm tm = {0};
  return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? timegm(&tm) : 0;
}

int certificate_check(const char *chain_pem, const char *key_pem, time_t *until, char why[CERTIFICATE_WHY_MAX])
{
  const char *phrase;
  X509 *certificate = read_chain(chain_pem);
  if (!certificate)
    return explain(why, -EINVAL, "the file has no certificate that can be read");
  EVP_PKEY *key = read_key(key_pem, &phrase);
  if (!key) {
    X509_free(certificate);
    return explain(why, -EINVAL, phrase);
  }
  int matches = X509_check_private_key(certificate, key);
  *until = end_of(certificate);
  EVP_PKEY_free(key);
  X509_free(certificate);
  return matches == 1 ? 0 : explain(why, -EINVAL, "the private key does not match the certificate");
}

int certificate_check_roots(const char *pem, char why[CERTIFICATE_WHY_MAX])
{
  int asked = 0;
  BIO *from = BIO_new_mem_buf(pem, -1);
  X509 *certificate = from ? PEM_read_bio_X509_AUX(from, NULL, no_passphrase, &asked) : NULL;
  X509_free(certificate);
  BIO_free(from);
  return certificate ? 0 : explain(why, -EINVAL, "the file has no certificate that can be read");
}

/* Letters of a host, or of an address: as it comes, it could be anything. */
static bool is_host(const char *text, size_t size)
{
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
  return size > 0 && strspn(text, allowed) == size && text[0] != '-' && text[0] != '.';
}

static bool take_host(const ASN1_STRING *name, char out[CERTIFICATE_NAME_MAX])
{
  const char *text = (const char *)ASN1_STRING_get0_data(name);
  size_t size = (size_t)ASN1_STRING_length(name);
  bool any = size > 2 && strncmp(text, "*.", 2) == 0;
  int written = snprintf(out, CERTIFICATE_NAME_MAX, "%s%.*s", any ? "any." : "", (int)(any ? size - 2 : size),
                         any ? text + 2 : text);
  return written > 0 && written < CERTIFICATE_NAME_MAX && is_host(out, (size_t)written);
}

static bool take_ip(const ASN1_STRING *name, char out[CERTIFICATE_NAME_MAX])
{
  int size = ASN1_STRING_length(name);
  char text[INET6_ADDRSTRLEN];
  if ((size != 4 && size != 16) ||
      inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name), text, sizeof text) == NULL)
    return false;
  snprintf(out, CERTIFICATE_NAME_MAX, size == 4 ? "%s" : "[%s]", text);
  return true;
}

/* If there are such names, the subject does not count (RFC 6125). */
static bool name_of(X509 *certificate, char out[CERTIFICATE_NAME_MAX])
{
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  bool found = false;
  for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
    int kind;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
    found = (kind == GEN_DNS && take_host(value, out)) || (kind == GEN_IPADD && take_ip(value, out));
  }
  int at = names ? -1 : X509_NAME_get_index_by_NID(X509_get_subject_name(certificate), NID_commonName, -1);
  GENERAL_NAMES_free(names);
  if (at >= 0)
    found = take_host(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(certificate), at)), out);
  return found;
}

bool certificate_name(const char *chain_pem, char out[CERTIFICATE_NAME_MAX])
{
  X509 *certificate = read_chain(chain_pem);
  bool found = certificate && name_of(certificate, out);
  X509_free(certificate);
  ERR_clear_error();
  return found;
}
