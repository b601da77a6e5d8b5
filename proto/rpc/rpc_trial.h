/* Whether connections can be handed to this gRPC. Private to rpc_*.c. */
#ifndef PROTO_RPC_TRIAL_H
#define PROTO_RPC_TRIAL_H

#include <stdbool.h>

/* Hands a connection to a server that is there for nothing else, with this certificate or in the clear (NULL), and
 * speaks HTTP/2 with it. Takes some milliseconds, or 2 s if nothing is answered. False: no, or memory is short. */
bool rpc_trial_succeeds(const char *cert_pem, const char *key_pem);

#endif
