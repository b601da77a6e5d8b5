/* One certificate, from its files to what OpenSSL wants. Any thread. */
#ifndef GATE_CERT_H
#define GATE_CERT_H

#include "certs.h"
#include "folder.h"

/* 0, or a negative errno with a sentence in `why`, which is empty if the file is to be passed over. */
int cert_load(struct cert **out, const struct folder_file *file, char why[CERTS_WHY_MAX]);
/* Calls `each` with the hosts that it is for, in lower case, among them such as *.PARENT; until that is not 0. */
int cert_names(const struct cert *c, int (*each)(const char *host, void *arg), void *arg);
void cert_free(struct cert *c); /* gives one of its refs up */

#endif
