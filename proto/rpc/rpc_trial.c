/* A connection to a server that was made for it, both ends on this thread: the client's says what HTTP/2 begins with,
 * under TLS if that is what will be served, and waits for the server's SETTINGS. What the handshake checks of names and
 * times is left out: only the way in is looked at.
 */
#include "rpc_trial.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "rpc_handed.h"

enum { LIMIT_MS = 2000, STEP_MS = 1, FRAME_HEAD = 9, FRAME_TYPE = 3, SETTINGS = 4 };

/* The preface, and SETTINGS that set nothing. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

struct trial {
  grpc_completion_queue *cq;
  grpc_server *server;
  struct rpc_handed handed;
  int fd;   /* the client's */
  SSL *ssl; /* NULL: in the clear */
  uint64_t until;
};

/* Lets gRPC work. False: the time is over. */
static bool step(struct trial *t)
{
  gpr_timespec soon = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(STEP_MS, GPR_TIMESPAN));
  grpc_completion_queue_next(t->cq, soon, NULL);
  return uv_hrtime() < t->until;
}

static ssize_t part_write(struct trial *t, const char *bytes, size_t size)
{
  return t->ssl != NULL ? SSL_write(t->ssl, bytes, (int)size) : send(t->fd, bytes, size, MSG_NOSIGNAL);
}

static ssize_t part_read(struct trial *t, char *bytes, size_t size)
{
  return t->ssl != NULL ? SSL_read(t->ssl, bytes, (int)size) : recv(t->fd, bytes, size, 0);
}

/* All `size` bytes, by one of the two. */
static bool all_pass(struct trial *t, ssize_t (*part)(struct trial *, char *, size_t), char *bytes, size_t size)
{
  size_t done = 0;
  do {
    ssize_t passed = part(t, bytes + done, size - done);
    done += passed > 0 ? (size_t)passed : 0;
  } while (done < size && step(t));
  return done == size;
}

static ssize_t said_part(struct trial *t, char *bytes, size_t size)
{
  return part_write(t, bytes, size);
}

static bool answers(struct trial *t)
{
  char said[sizeof preface], heard[FRAME_HEAD];
  memcpy(said, preface, sizeof preface);
  return all_pass(t, said_part, said, sizeof said) && all_pass(t, part_read, heard, sizeof heard) &&
         heard[FRAME_TYPE] == SETTINGS;
}

static bool client_begin(struct trial *t, SSL_CTX *context)
{
  static const unsigned char h2[] = "\2h2";
  if (context == NULL)
    return true;
  t->ssl = SSL_new(context);
  if (t->ssl == NULL || SSL_set_fd(t->ssl, t->fd) != 1 || SSL_set_alpn_protos(t->ssl, h2, sizeof h2 - 1) != 0)
    return false;
  SSL_set_connect_state(t->ssl);
  return true;
}

static grpc_server_credentials *credentials_make(const char *cert_pem, const char *key_pem)
{
  grpc_ssl_pem_key_cert_pair pair = {.private_key = key_pem, .cert_chain = cert_pem};
  if (cert_pem == NULL)
    return grpc_insecure_server_credentials_create();
  return grpc_ssl_server_credentials_create_ex(NULL, &pair, 1, GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE, NULL);
}

/* The server's end of a pair is handed to a new server. */
static bool server_begin(struct trial *t, const char *cert_pem, const char *key_pem)
{
  struct rpc_args args = {.count = 0};
  int fds[2];
  grpc_server_credentials *credentials = credentials_make(cert_pem, key_pem);
  if (credentials == NULL)
    return false;
  rpc_handed_add_arg(&t->handed, &args);
  grpc_channel_args view = rpc_args_view(&args);
  t->server = grpc_server_create(&view, NULL);
  grpc_server_register_completion_queue(t->server, t->cq, NULL);
  bool takes = rpc_handed_begin(&t->handed, t->server, credentials);
  grpc_server_credentials_release(credentials);
  grpc_server_start(t->server);
  if (!takes || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
    return false;
  t->fd = fds[0];
  rpc_handed_take(&t->handed, fds[1]);
  return true;
}

static void server_end(struct trial *t)
{
  if (t->server != NULL) {
    rpc_handed_end(&t->handed);
    grpc_server_shutdown_and_notify(t->server, t->cq, t);
    grpc_server_cancel_all_calls(t->server);
    while (grpc_completion_queue_next(t->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).tag != t)
      ;
    grpc_server_destroy(t->server);
  }
  grpc_completion_queue_shutdown(t->cq);
  while (grpc_completion_queue_next(t->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN)
    ;
  grpc_completion_queue_destroy(t->cq);
}

bool rpc_trial_succeeds(const char *cert_pem, const char *key_pem)
{
  struct trial t = {.fd = -1, .until = uv_hrtime() + (uint64_t)LIMIT_MS * 1000000};
  SSL_CTX *context = cert_pem != NULL ? SSL_CTX_new(TLS_client_method()) : NULL;
  if ((cert_pem != NULL && context == NULL) || rpc_handed_open(&t.handed) != 0) {
    SSL_CTX_free(context);
    return false;
  }
  t.cq = grpc_completion_queue_create_for_next(NULL);
  bool works = server_begin(&t, cert_pem, key_pem) && client_begin(&t, context) && answers(&t);
  SSL_free(t.ssl);
  SSL_CTX_free(context);
  if (t.fd >= 0)
    close(t.fd);
  server_end(&t);
  rpc_handed_close(&t.handed);
  return works;
}
