/* gRPC asks at each handshake, on a thread of its own, whether there is a newer one. */
#include "rpc_certificate.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/host/credential.h"

struct rpc_certificate {
  pthread_mutex_t lock;
  char *cert, *key;
  bool fresh; /* gRPC was not given it yet */
};

struct rpc_certificate *rpc_certificate_create(const char *cert_pem, const char *key_pem)
{
  struct rpc_certificate *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  if (pthread_mutex_init(&c->lock, NULL) != 0) {
    free(c);
    return NULL;
  }
  if (rpc_certificate_replace(c, cert_pem, key_pem) == 0)
    return c;
  rpc_certificate_free(c);
  return NULL;
}

int rpc_certificate_replace(struct rpc_certificate *c, const char *cert_pem, const char *key_pem)
{
  char *cert = strdup(cert_pem), *key = strdup(key_pem);
  if (!cert || !key) {
    free(cert);
    credential_free(key);
    return -ENOMEM;
  }
  pthread_mutex_lock(&c->lock);
  char *former_cert = c->cert, *former_key = c->key;
  c->cert = cert;
  c->key = key;
  c->fresh = true;
  pthread_mutex_unlock(&c->lock);
  free(former_cert);
  credential_free(former_key);
  return 0;
}

static grpc_ssl_certificate_config_reload_status fetch(void *arg, grpc_ssl_server_certificate_config **out)
{
  struct rpc_certificate *c = arg;
  grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  pthread_mutex_lock(&c->lock);
  if (c->fresh) {
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = c->key, .cert_chain = c->cert};
    /* gRPC insists on roots for clients, which it then does not ask for certificates. */
    *out = grpc_ssl_server_certificate_config_create(c->cert, &pair, 1);
    status = *out ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    c->fresh = *out == NULL;
  }
  pthread_mutex_unlock(&c->lock);
  return status;
}

grpc_server_credentials *rpc_certificate_credentials(struct rpc_certificate *c)
{
  grpc_ssl_server_credentials_options *options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
      GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, fetch, c);
  return options ? grpc_ssl_server_credentials_create_with_options(options) : NULL;
}

void rpc_certificate_free(struct rpc_certificate *c)
{
  if (!c)
    return;
  pthread_mutex_destroy(&c->lock);
  free(c->cert);
  credential_free(c->key);
  free(c);
}
