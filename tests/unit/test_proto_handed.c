/* A server that does not listen: the test accepts connections, and hands them to it. */
#include "fixture_proto_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runner.h"

/* A gRPC that is not as expected: nothing lies where it should. */
static bool lies;

/* Takes the place of the C library's.
 * NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
int dladdr(const void *address, Dl_info *info)
{
  static int (*real)(const void *, Dl_info *);
  if (real == NULL)
    *(void **)&real = dlsym(RTLD_NEXT, "dladdr");
  int found = real(address, info);
  if (found != 0 && lies)
    info->dli_fbase = (void *)(uintptr_t)address;
  return found;
}

/* The other end of each pair is elsewhere. */
static bool loses;

int socketpair(int domain, int type, int protocol, int fds[2])
{
  int error = (int)syscall(SYS_socketpair, domain, type, protocol, fds);
  if (error == 0 && loses) {
    close(fds[1]);
    fds[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
  }
  return error;
}

static void server_start_handed(struct server *s, const char *pem)
{
  const struct rpc_server_options options = {.cert_pem = pem, .key_pem = pem};
  *s = (struct server){0};
  ck_assert_int_eq(rpc_queue_create(&s->queue), 0);
  ck_assert(rpc_server_can_take(pem, pem));
  ck_assert_int_eq(rpc_server_start(&s->server, s->queue, &options, serve_call, s, NULL), 0);
  ck_assert_int_eq(pthread_create(&s->thread, NULL, server_thread, s), 0);
}

static int listen_somewhere(int *port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, size), 0);
  ck_assert_int_eq(listen(fd, 16), 0);
  ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
  *port = ntohs(a.sin_port);
  return fd;
}

static int accept_one(int listener)
{
  struct pollfd ready = {.fd = listener, .events = POLLIN};
  ck_assert_int_eq(poll(&ready, 1, PATIENCE_MS), 1);
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  ck_assert_int_ge(fd, 0);
  return fd;
}

/* A key and its certificate, in one text, which the caller frees. */
static char *certificate_make(void)
{
  FILE *made = popen("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                     "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout - -out - 2>/dev/null",
                     "r");
  char *text = calloc(1, 65536);
  ck_assert_ptr_nonnull(made);
  ck_assert_ptr_nonnull(text);
  ck_assert_uint_gt(fread(text, 1, 65535, made), 0);
  ck_assert_int_eq(pclose(made), 0);
  return text;
}

static void ask_handed(const char *pem)
{
  struct server s;
  struct client client;
  struct record r;
  int port, listener = listen_somewhere(&port);
  char target[32];
  server_start_handed(&s, pem);
  client_start(&client);
  snprintf(target, sizeof target, "localhost:%d", port);
  client_open_channel(&client, (struct rpc_channel_options){.target = target, .tls = pem != NULL, .ca_pem = pem}, port);
  rpc_server_take(s.server, accept_one(listener));
  ask(&r, &client, "/t/peer", "");
  ck_assert_msg(r.status == RPC_OK, "%s", r.text);
  ck_assert_msg(strncmp(r.message, "ipv4:127.0.0.1:", 15) == 0, "%s", r.message);
  client_stop(&client);
  server_stop(&s);
  close(listener);
}

START_TEST(in_the_clear)
{
  ask_handed(NULL);
}
END_TEST

START_TEST(under_tls)
{
  char *pem = certificate_make();
  ask_handed(pem);
  free(pem);
}
END_TEST

static void take_after_stop(void *arg)
{
  struct server *s = arg;
  int ends[2];
  char byte;
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  rpc_server_stop(s->server, NULL, NULL);
  rpc_server_take(s->server, ends[1]);
  ck_assert_int_eq(recv(ends[0], &byte, 1, 0), 0);
  close(ends[0]);
  rpc_queue_stop(s->queue, NULL, NULL);
}

/* What comes once it stops is closed. */
START_TEST(too_late)
{
  struct server s;
  server_start_handed(&s, NULL);
  ck_assert_int_eq(rpc_queue_post(s.queue, take_after_stop, &s), 0);
  pthread_join(s.thread, NULL);
  rpc_queue_free(s.queue);
}
END_TEST

/* Nothing is called that is not what it is taken for. */
START_TEST(another_grpc)
{
  struct rpc_queue *q;
  ck_assert_int_eq(rpc_queue_create(&q), 0);
  lies = true;
  ck_assert(!rpc_server_can_take(NULL, NULL));
  lies = false;
  rpc_queue_free(q);
}
END_TEST

/* What is handed over is lost, and the trial ends all the same. */
START_TEST(nothing_is_answered)
{
  struct rpc_queue *q;
  ck_assert_int_eq(rpc_queue_create(&q), 0);
  loses = true;
  ck_assert(!rpc_server_can_take(NULL, NULL));
  loses = false;
  ck_assert(rpc_server_can_take(NULL, NULL));
  rpc_queue_free(q);
}
END_TEST

START_TEST(no_certificate)
{
  struct rpc_queue *q;
  ck_assert_int_eq(rpc_queue_create(&q), 0);
  ck_assert(!rpc_server_can_take("none", "none"));
  rpc_queue_free(q);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("handed");
  TCase *tests = tcase_create("handed");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, in_the_clear);
  tcase_add_test(tests, under_tls);
  tcase_add_test(tests, too_late);
  tcase_add_test(tests, another_grpc);
  tcase_add_test(tests, nothing_is_answered);
  tcase_add_test(tests, no_certificate);
  suite_add_tcase(suite, tests);
  return suite;
}
