/* OpenSSL works on the socket itself. Its buffers are there only while something is under way, so that a client that is
 * idle costs little. Sessions are resumed by tickets: nothing of them is kept here.
 *
 * The certificate is chosen before anything of the hello is used; what there is none for ends there, with the alert
 * that says so.
 */
#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "certs.h"
#include "hello.h"

/* With forward secrecy, and authenticated encryption. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const char groups[] = "X25519:P-256:P-384";
/* A list of ALPN: each with its length before it. */
static const unsigned char protocols[] = "\x02h2\x08http/1.1";

enum { TICKET_KEYS_SIZE = 80 };

struct tls_context {
  SSL_CTX *ctx;
  struct certs *certs;
};

/* ---- What is asked of us in a handshake ---- */

static int on_hello(SSL *ssl, int *alert, void *arg)
{
  const struct tls_context *c = arg;
  const unsigned char *extension;
  char host[HELLO_NAME_SIZE];
  size_t size;

  *alert = SSL_AD_UNRECOGNIZED_NAME;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &size) != 1)
    return SSL_CLIENT_HELLO_ERROR;
  *alert = SSL_AD_DECODE_ERROR;
  if (!hello_read_server_name(extension, size, host))
    return SSL_CLIENT_HELLO_ERROR;
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  const struct cert *cert = c->certs != NULL ? certs_find(c->certs, host) : NULL;
  if (cert == NULL)
    return SSL_CLIENT_HELLO_ERROR;
  *alert = SSL_AD_INTERNAL_ERROR;
  return SSL_use_cert_and_key(ssl, cert->leaf, cert->key, cert->chain, 1) == 1 ? SSL_CLIENT_HELLO_SUCCESS
                                                                               : SSL_CLIENT_HELLO_ERROR;
}

/* Ours in our order. Who speaks none of them is told so. */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_size, const unsigned char *theirs,
                        unsigned size, void *arg)
{
  unsigned char *chosen;
  (void)ssl;
  (void)arg;

  if (SSL_select_next_proto(&chosen, out_size, protocols, sizeof protocols - 1, theirs, size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

/* ---- The context ---- */

static bool set_up(struct tls_context *c)
{
  SSL_CTX *ctx = c->ctx;

  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
  /* Who goes without a good-bye has not cut anything off: HTTP has lengths. */
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_client_hello_cb(ctx, on_hello, c);
  SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
  return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_cipher_list(ctx, ciphers) == 1 &&
         SSL_CTX_set1_groups_list(ctx, groups) == 1;
}

int tls_context_create(struct tls_context **out)
{
  struct tls_context *c = calloc(1, sizeof *c);
  if (c == NULL)
    return -ENOMEM;
  *c = (struct tls_context){.ctx = SSL_CTX_new(TLS_server_method())};
  bool ready = c->ctx != NULL && set_up(c);
  ERR_clear_error();
  if (!ready) {
    tls_context_free(c);
    return -ENOMEM;
  }
  *out = c;
  return 0;
}

void tls_context_free(struct tls_context *c)
{
  if (c == NULL)
    return;
  SSL_CTX_free(c->ctx);
  certs_free(c->certs);
  free(c);
}

void tls_context_use(struct tls_context *c, struct certs *certs)
{
  certs_free(c->certs);
  c->certs = certs;
}

const struct certs *tls_context_certs(const struct tls_context *c)
{
  return c->certs;
}

int tls_context_renew_tickets(struct tls_context *c)
{
  unsigned char keys[TICKET_KEYS_SIZE];
  bool renewed =
      RAND_priv_bytes(keys, sizeof keys) == 1 && SSL_CTX_set_tlsext_ticket_keys(c->ctx, keys, sizeof keys) == 1;
  OPENSSL_cleanse(keys, sizeof keys);
  ERR_clear_error();
  return renewed ? 0 : -EIO;
}

/* ---- A connection ---- */

/* It is an SSL under another name: there is nothing to add to it. */
static SSL *ssl_of(const struct tls *t)
{
  return (SSL *)t;
}

struct tls *tls_open(struct tls_context *c, int fd)
{
  SSL *ssl = SSL_new(c->ctx);
  if (ssl != NULL && SSL_set_fd(ssl, fd) != 1) {
    SSL_free(ssl);
    ssl = NULL;
  }
  ERR_clear_error();
  if (ssl != NULL) {
    SSL_set_accept_state(ssl);
    SSL_set_read_ahead(ssl, 1);
  }
  return (struct tls *)ssl;
}

void tls_close(struct tls *t)
{
  SSL_free(ssl_of(t));
}

static enum tls_result result_of(SSL *ssl, int returned)
{
  int error = SSL_get_error(ssl, returned);
  ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ)
    return TLS_WANTS_IN;
  if (error == SSL_ERROR_WANT_WRITE)
    return TLS_WANTS_OUT;
  return error == SSL_ERROR_ZERO_RETURN ? TLS_ENDED : TLS_FAILED;
}

enum tls_result tls_read(struct tls *t, char *into, size_t size, size_t *got)
{
  ERR_clear_error();
  int returned = SSL_read_ex(ssl_of(t), into, size, got);
  return returned == 1 ? TLS_DONE : result_of(ssl_of(t), returned);
}

enum tls_result tls_write(struct tls *t, const char *bytes, size_t size, size_t *put)
{
  ERR_clear_error();
  int returned = SSL_write_ex(ssl_of(t), bytes, size, put);
  return returned == 1 ? TLS_DONE : result_of(ssl_of(t), returned);
}

void tls_shut(struct tls *t)
{
  if (tls_is_open(t))
    SSL_shutdown(ssl_of(t));
  ERR_clear_error();
}

bool tls_is_open(const struct tls *t)
{
  return SSL_is_init_finished(ssl_of(t)) == 1;
}

bool tls_speaks_http2(const struct tls *t)
{
  const unsigned char *name;
  unsigned size;
  SSL_get0_alpn_selected(ssl_of(t), &name, &size);
  return size == 2 && memcmp(name, "h2", 2) == 0;
}
