/* The certificate of a server, which may be replaced while it serves. Private to rpc_*.c. */
#ifndef PROTO_RPC_CERTIFICATE_H
#define PROTO_RPC_CERTIFICATE_H

#include <grpc/grpc_security.h>

struct rpc_certificate;

/* Both PEM. NULL when memory is short. */
struct rpc_certificate *rpc_certificate_create(const char *cert_pem, const char *key_pem);
/* Connections that come from now on are shown this one. 0 or -ENOMEM. Any thread. */
int rpc_certificate_replace(struct rpc_certificate *c, const char *cert_pem, const char *key_pem);
/* They ask the certificate as long as the server lives. NULL when memory is short. */
grpc_server_credentials *rpc_certificate_credentials(struct rpc_certificate *c);
/* After the server. NULL is fine. */
void rpc_certificate_free(struct rpc_certificate *c);

#endif
