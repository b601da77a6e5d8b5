/* The files that the command line names: the key, and the certificate with its own. Reading may block. Any thread. */
#ifndef ROUTER_FILES_H
#define ROUTER_FILES_H

#include <stdbool.h>
#include <time.h>

#include "options.h"
#include "proto/host/credential.h"

enum { FILES_WHY_MAX = 2 * CREDENTIAL_WHY_MAX + 256 };

struct files {
  char *key, *cert, *cert_key; /* NULL: the command line has none */
  time_t cert_until;
};

/* What the files are like, to see whether they are others since. */
struct files_marks {
  struct credential_mark key, cert, cert_key;
};

/* All of them, if all can be used; or a negative errno, and a sentence in `why`. */
int files_read(struct files *out, const struct options *o, char why[FILES_WHY_MAX]);
void files_free(struct files *f);

struct files_marks files_look(const struct options *o);
bool files_same(const struct files_marks *a, const struct files_marks *b);

#endif
