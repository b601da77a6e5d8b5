/* The certificates of a directory, and which of them is for which host. A set does not change: it is loaded anew.
 *
 * In the directory and in the folders in it, NAME.pem and NAME.crt hold a certificate with its chain; its private key
 * is in NAME.key beside it, or in the file itself. A folder with fullchain.pem has that one certificate, whose key is
 * in privkey.pem. What is hidden is passed over, and certificates of authorities without a key as well. */
#ifndef GATE_CERTS_H
#define GATE_CERTS_H

#include <stdbool.h>
#include <stdint.h>

enum { CERTS_WHY_MAX = 600, CERTS_FILES_MAX = 10000 };

struct certs;
struct evp_pkey_st;
struct stack_st_X509;
struct x509_st;

/* A certificate, ready to be used. */
struct cert {
  unsigned refs; /* how many sets have it; these belong to one thread at a time */
  struct x509_st *leaf;
  struct evp_pkey_st *key;
  struct stack_st_X509 *chain;
  int64_t until; /* s since 1970: when it ends to be valid */
};

/* Reads `dir`, which blocks; any thread. What is as it was in `before` (NULL: nothing) is taken from it, unless
 * `anew`. A file that cannot be used leaves what `before` had of it. 0, or a negative errno with a sentence in `why`:
 * the directory itself cannot be read. `before` stays as it is. */
int certs_load(struct certs **out, const char *dir, const struct certs *before, bool anew, char why[CERTS_WHY_MAX]);
/* Sentences, each a line, about the files that are new or changed and cannot be used. "": none. */
const char *certs_news(const struct certs *s);
/* What the files looked like; two sets of the same look have the same in them. */
uint64_t certs_mark(const struct certs *s);
/* What they look like now; 0: they cannot be seen. Blocks; any thread. */
uint64_t certs_look(const char *dir);
/* How many can be used. */
unsigned certs_count(const struct certs *s);
/* For a host in lower case: its own, else that of *.PARENT; NULL: none. */
const struct cert *certs_find(const struct certs *s, const char *host);
void certs_free(struct certs *s); /* NULL is fine */

#endif
