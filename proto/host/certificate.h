/* Whether certificates can be used, before gRPC is given them: it would only say that a handshake failed. Any thread.
 */
#ifndef PROTO_CERTIFICATE_H
#define PROTO_CERTIFICATE_H

#include <stdbool.h>
#include <time.h>

enum { CERTIFICATE_WHY_MAX = 160 };

/* A certificate with its chain, and the private key of the first, both PEM. 0 and when the first ends to be valid; or
 * -EINVAL, -ENOMEM and a phrase in `why`, which never tells what is in them. */
int certificate_check(const char *chain_pem, const char *key_pem, time_t *until, char why[CERTIFICATE_WHY_MAX]);
/* Certificates to trust, PEM, of which the first can be read: the same. */
int certificate_check_roots(const char *pem, char why[CERTIFICATE_WHY_MAX]);

enum { CERTIFICATE_NAME_MAX = 256 };

/* A host that the first certificate of a chain is for; in one for all hosts of a domain, any of them. False: there is
 * none. */
bool certificate_name(const char *chain_pem, char out[CERTIFICATE_NAME_MAX]);

#endif
