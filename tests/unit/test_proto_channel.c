/* How a client gets to a server, and what it is told when it does not: addresses, certificates, keys, routers that are
 * gone, come back, or are none. */
#include "fixture_proto_calls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

/* A listening socket of the test's own; it never accepts unless the test does. */
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

/* ---- Reaching ---- */

START_TEST(nobody_listens)
{
  struct client client;
  struct record r;
  int port;
  close(listen_somewhere(&port));
  client_open(&client, port);
  ask(&r, &client, "/t/last", "");
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
  ck_assert_msg(strstr(r.text, "onnection refused") != NULL, "%s", r.text);
  client_stop(&client);
}
END_TEST

START_TEST(nobody_answers)
{
  struct client client;
  struct record r = {0};
  int port, fd = listen_somewhere(&port);
  struct rpc_call_options options = {.method = "/t/last", .deadline_ms = 200};
  client_open(&client, port);
  ck_assert_int_eq(rpc_unary(&r.call, client.channel, &options, text_message(""), record_unary, &r), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_DEADLINE_EXCEEDED);
  client_stop(&client);
  close(fd);
}
END_TEST

static void *answer_with_http1(void *arg)
{
  static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
  char request[256];
  int fd = accept(*(int *)arg, NULL, NULL);
  ck_assert_int_gt(read(fd, request, sizeof request), 0);
  ck_assert_int_eq(write(fd, text, sizeof text - 1), sizeof text - 1);
  close(fd);
  return NULL;
}

START_TEST(not_grpc)
{
  struct client client;
  struct record r;
  pthread_t thread;
  int port, fd = listen_somewhere(&port);
  ck_assert_int_eq(pthread_create(&thread, NULL, answer_with_http1, &fd), 0);
  client_open(&client, port);
  ask(&r, &client, "/t/last", "");
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
  pthread_join(thread, NULL);
  close(fd);
  client_stop(&client);
}
END_TEST

static uv_sem_t said, over;

/* Grants all that a window can have, takes a little, and hangs up when more was said than the kernel holds. */
static void *take_a_little(void *arg)
{
  static const unsigned char windows[] = {0,    0,    6, 4, 0, 0, 0, 0, 0, 0,    4, 0x7f, 0xff,
                                          0xff, 0xff,                                         /* of each stream */
                                          0,    0,    4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0,    0}; /* of all together */
  static char taken[64 << 10];
  int fd = accept(*(int *)arg, NULL, NULL);
  ck_assert_int_eq(write(fd, windows, sizeof windows), sizeof windows);
  ck_assert_int_eq(recv(fd, taken, sizeof taken, MSG_WAITALL), sizeof taken);
  uv_sem_wait(&said);
  shutdown(fd, SHUT_WR);
  uv_sem_wait(&over);
  close(fd);
  return NULL;
}

/* The kernel did not take all of what was to be written, and what gRPC does about that is ended with the rest. */
START_TEST(end_after_a_write_was_held_back)
{
  enum { MUCH = 64 << 20 };
  struct client client;
  struct record r;
  pthread_t thread;
  int port, fd = listen_somewhere(&port);
  char *bytes = calloc(1, MUCH);
  ck_assert_ptr_nonnull(bytes);
  ck_assert_int_eq(uv_sem_init(&said, 0), 0);
  ck_assert_int_eq(uv_sem_init(&over, 0), 0);
  ck_assert_int_eq(pthread_create(&thread, NULL, take_a_little, &fd), 0);
  client_start(&client);
  client_open_channel(&client, (struct rpc_channel_options){.keepalive = true, .answer_ms = 1}, port);
  record_start(&r, &client, "/t/deaf");
  ck_assert_int_eq(rpc_call_send(r.call, rpc_message_copy(bytes, MUCH)), 0);
  uv_sem_post(&said);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_ne(r.status, RPC_OK);
  client_stop(&client);
  uv_sem_post(&over);
  pthread_join(thread, NULL);
  uv_sem_destroy(&said);
  uv_sem_destroy(&over);
  free(bytes);
  close(fd);
}
END_TEST

START_TEST(name_does_not_resolve)
{
  struct client client;
  struct record r;
  client_start(&client);
  client_open_channel(&client, (struct rpc_channel_options){.target = "does-not-exist.invalid:1"}, 0);
  ask(&r, &client, "/t/last", "");
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
  ck_assert_int_gt((int)strlen(r.text), 0);
  client_stop(&client);
}
END_TEST

START_TEST(names_and_brackets)
{
  static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};
  for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
    char address[32], target[32];
    struct server s = {0};
    struct client client;
    struct record r;
    snprintf(address, sizeof address, "%s:0", hosts[i]);
    struct rpc_server_options options = {.address = address};
    ck_assert_int_eq(rpc_queue_create(&s.queue), 0);
    int error = rpc_server_start(&s.server, s.queue, &options, serve_call, &s, &s.port);
    if (error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT) { /* no v6 here */
      rpc_queue_free(s.queue);
      continue;
    }
    ck_assert_int_eq(error, 0);
    ck_assert_int_eq(pthread_create(&s.thread, NULL, server_thread, &s), 0);
    snprintf(target, sizeof target, "%s:%d", hosts[i], s.port);
    client_start(&client);
    client_open_channel(&client, (struct rpc_channel_options){.target = target}, 0);
    ask(&r, &client, "/t/last", "x");
    ck_assert_msg(r.status == RPC_OK, "%s: %s", target, r.text);
    client_stop(&client);
    server_stop(&s);
  }
}
END_TEST

static bool has_v6(void)
{
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
  if (fd >= 0)
    close(fd);
  return has;
}

static void client_open_at(struct client *c, const char *host, int port)
{
  char target[64];
  snprintf(target, sizeof target, "%s:%d", host, port);
  client_start(c);
  client_open_channel(c, (struct rpc_channel_options){.target = target}, 0);
}

struct leaving {
  struct server *server;
  int error, error_again;
  atomic_int done;
};

static void leave_home(void *arg)
{
  struct leaving *l = arg;
  l->error = rpc_server_leave_address(l->server->server);
  l->error_again = rpc_server_leave_address(l->server->server);
  atomic_store(&l->done, 1);
}

/* Another has the address at once; who is connected goes on with the first. */
START_TEST(address_is_left)
{
  static const struct {
    const char *host, *target;
  } rows[] = {{"localhost", "localhost"},
              {"127.0.0.1", "127.0.0.1"},
              {"0.0.0.0", "127.0.0.1"},
              {"[::1]", "[::1]"},
              {"[::]", "[::1]"}};
  char address[64];
  struct server s = {0}, successor = {0};
  struct client client, late;
  struct record r;
  struct leaving l = {.server = &s};
  if (rows[_i].host[0] == '[' && !has_v6())
    return;
  snprintf(address, sizeof address, "%s:0", rows[_i].host);
  server_start_at(&s, address, NULL, NULL);
  client_open_at(&client, rows[_i].target, s.port);
  ask(&r, &client, "/t/last", "before");
  ck_assert_msg(r.status == RPC_OK, "%s: %s", address, r.text);
  ck_assert_int_eq(rpc_queue_post(s.queue, leave_home, &l), 0);
  while (!atomic_load(&l.done))
    sched_yield();
  ck_assert_int_eq(l.error, 0);
  ck_assert_int_eq(l.error_again, -ENOENT);
  snprintf(address, sizeof address, "%s:%d", rows[_i].host, s.port);
  server_start_at(&successor, address, NULL, NULL);
  ask(&r, &client, "/t/last", "after");
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_int_eq(s.calls, 2);
  client_open_at(&late, rows[_i].target, s.port);
  ask(&r, &late, "/t/last", "new");
  ck_assert_msg(r.status == RPC_OK, "%s: %s", address, r.text);
  ck_assert_int_eq(successor.calls, 1);
  client_stop(&client);
  server_stop(&s);
  ask(&r, &late, "/t/last", "still there");
  ck_assert_int_eq(r.status, RPC_OK);
  client_stop(&late);
  server_stop(&successor);
}
END_TEST

/* The server goes and comes back on its port: the same channel finds it. */
START_TEST(server_restarts)
{
  struct server s;
  struct client client;
  struct record r;
  server_start(&s, 0, NULL, NULL);
  int port = s.port;
  client_open(&client, port);
  ask(&r, &client, "/t/last", "before");
  ck_assert_int_eq(r.status, RPC_OK);
  server_stop(&s);
  ask(&r, &client, "/t/last", "nobody");
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
  server_start(&s, port, NULL, NULL);
  uint64_t start = uv_hrtime();
  do {
    ck_assert_msg(uv_hrtime() - start < (uint64_t)PATIENCE_MS * 1000000, "the server was not found again");
    ask(&r, &client, "/t/last", "after");
  } while (r.status != RPC_OK);
  ck_assert_str_eq(r.message, "after");
  if (getenv("TEST_TIMES"))
    printf("found again after %lu ms\n", (unsigned long)((uv_hrtime() - start) / 1000000));
  client_stop(&client);
  server_stop(&s);
}
END_TEST

/* ---- Listening ---- */

static int start_error(const char *address, const char *cert, const char *key)
{
  struct rpc_queue *q;
  struct rpc_server *s;
  struct rpc_server_options options = {.address = address, .cert_pem = cert, .key_pem = key};
  int port = 0;
  ck_assert_int_eq(rpc_queue_create(&q), 0);
  int error = rpc_server_start(&s, q, &options, serve_call, NULL, &port);
  rpc_queue_free(q);
  return error;
}

START_TEST(cannot_listen)
{
  char address[32];
  int port, fd = listen_somewhere(&port);
  snprintf(address, sizeof address, "127.0.0.1:%d", port);
  ck_assert_int_eq(start_error(address, NULL, NULL), -EADDRINUSE);
  close(fd);
  ck_assert_int_eq(start_error("192.0.2.1:0", NULL, NULL), -EADDRNOTAVAIL);
  ck_assert_int_eq(start_error("does-not-exist.invalid:1", NULL, NULL), -EADDRNOTAVAIL);
  ck_assert_int_eq(start_error("127.0.0.1:0", "not a certificate", "not a key"), -EINVAL);
  ck_assert_int_eq(start_error("127.0.0.1:0", "a certificate without a key", NULL), -EINVAL);
}
END_TEST

START_TEST(port_taken_by_a_server)
{
  char address[32];
  struct server s;
  server_start(&s, 0, NULL, NULL);
  snprintf(address, sizeof address, "127.0.0.1:%d", s.port);
  ck_assert_int_eq(start_error(address, NULL, NULL), -EADDRINUSE);
  server_stop(&s);
}
END_TEST

/* ---- Certificates and keys ---- */

static char folder[] = "/tmp/test_proto_channel.XXXXXX";

static char *path_in(const char *name, char out[128])
{
  snprintf(out, 128, "%s/%s", folder, name);
  return out;
}

static char *file_text(const char *name)
{
  char path[128];
  char *text = calloc(1, 65536);
  FILE *f = fopen(path_in(name, path), "r");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_gt(fread(text, 1, 65535, f), 0);
  fclose(f);
  return text;
}

static void make_certificate(const char *cert, const char *key, const char *name)
{
  char cert_path[128], key_path[128], subject[64], alternative[64];
  int status;
  pid_t pid;
  posix_spawn_file_actions_t actions;
  snprintf(subject, sizeof subject, "/CN=%s", name);
  snprintf(alternative, sizeof alternative, "subjectAltName=DNS:%s", name);
  const char *argv[] = {"openssl",
                        "req",
                        "-x509",
                        "-newkey",
                        "ec",
                        "-pkeyopt",
                        "ec_paramgen_curve:prime256v1",
                        "-nodes",
                        "-days",
                        "2",
                        "-subj",
                        subject,
                        "-addext",
                        alternative,
                        "-out",
                        path_in(cert, cert_path),
                        "-keyout",
                        path_in(key, key_path),
                        NULL};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  ck_assert_int_eq(posix_spawnp(&pid, "openssl", &actions, NULL, (char **)(uintptr_t)argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  ck_assert_int_eq(status, 0);
}

static void make_certificates(void)
{
  ck_assert_ptr_nonnull(mkdtemp(folder));
  make_certificate("right.crt", "right.key", "localhost");
  make_certificate("wrong.crt", "wrong.key", "localhost");
  make_certificate("other.crt", "other.key", "other.example");
}

static void remove_certificates(void)
{
  static const char *const names[] = {"right.crt", "right.key", "wrong.crt", "wrong.key", "other.crt", "other.key"};
  char path[128];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    unlink(path_in(names[i], path));
  rmdir(folder);
}

/* A server with `server_name`'s certificate, and a client that trusts `ca` (NULL: the system's). */
static void ask_over_tls(struct record *r, const char *server_name, const char *ca_file, bool tls, const char *bearer)
{
  char cert[32], key[32], target[32];
  struct server s;
  struct client client;
  snprintf(cert, sizeof cert, "%s.crt", server_name);
  snprintf(key, sizeof key, "%s.key", server_name);
  char *cert_pem = file_text(cert), *key_pem = file_text(key), *ca_pem = ca_file ? file_text(ca_file) : NULL;
  server_start(&s, 0, cert_pem, key_pem);
  snprintf(target, sizeof target, "localhost:%d", s.port);
  client_start(&client);
  client_open_channel(
      &client, (struct rpc_channel_options){.target = target, .tls = tls, .ca_pem = ca_pem, .bearer = bearer}, 0);
  ask(r, &client, "/t/metadata", "authorization");
  client_stop(&client);
  server_stop(&s);
  free(cert_pem);
  free(key_pem);
  free(ca_pem);
}

START_TEST(right_certificate)
{
  struct record r;
  ask_over_tls(&r, "right", "right.crt", true, "sesame");
  ck_assert_msg(r.status == RPC_OK, "%s", r.text);
  ck_assert_str_eq(r.message, "Bearer sesame");
}
END_TEST

START_TEST(wrong_certificate)
{
  static const char *const trusted[] = {"wrong.crt", NULL};
  for (int i = 0; i < 2; i++) {
    struct record r;
    ask_over_tls(&r, "right", trusted[i], true, "sesame");
    ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
    ck_assert_msg(strstr(r.text, "CERTIFICATE_VERIFY_FAILED") || strstr(r.text, "certificate verify failed"), "%s",
                  r.text);
    ck_assert_ptr_null(strstr(r.text, "sesame"));
  }
}
END_TEST

START_TEST(certificate_of_another_name)
{
  struct record r;
  ask_over_tls(&r, "other", "other.crt", true, NULL);
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
  ck_assert_msg(strstr(r.text, "localhost") != NULL, "%s", r.text);
}
END_TEST

START_TEST(plaintext_to_tls)
{
  struct record r;
  ask_over_tls(&r, "right", NULL, false, NULL);
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
}
END_TEST

START_TEST(tls_to_plaintext)
{
  struct server s;
  struct client client;
  struct record r;
  char *ca_pem = file_text("right.crt");
  server_start(&s, 0, NULL, NULL);
  client_start(&client);
  client_open_channel(&client, (struct rpc_channel_options){.tls = true, .ca_pem = ca_pem}, s.port);
  ask(&r, &client, "/t/last", "");
  ck_assert_int_eq(r.status, RPC_UNAVAILABLE);
  client_stop(&client);
  server_stop(&s);
  free(ca_pem);
}
END_TEST

START_TEST(roots_that_are_none)
{
  struct server s;
  struct client client;
  server_start(&s, 0, NULL, NULL);
  client_start(&client);
  struct rpc_channel_options options = {.target = "localhost:1", .tls = true, .ca_pem = "not a certificate"};
  ck_assert_int_eq(rpc_channel_open(&client.channel, client.queue, &options), -EINVAL);
  client.channel = NULL;
  client_stop(&client);
  server_stop(&s);
}
END_TEST

START_TEST(key_that_http_does_not_carry)
{
  struct client client;
  client_start(&client);
  struct rpc_channel_options options = {.target = "localhost:1", .bearer = "two\nlines"};
  ck_assert_int_eq(rpc_channel_open(&client.channel, client.queue, &options), -EINVAL);
  client.channel = NULL;
  client_stop(&client);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("channel");
  TCase *plain = tcase_create("plain"), *tls = tcase_create("tls");
  tcase_set_timeout(plain, 60);
  tcase_add_test(plain, nobody_listens);
  tcase_add_test(plain, nobody_answers);
  tcase_add_test(plain, not_grpc);
  tcase_add_test(plain, end_after_a_write_was_held_back);
  tcase_add_test(plain, name_does_not_resolve);
  tcase_add_test(plain, names_and_brackets);
  tcase_add_loop_test(plain, address_is_left, 0, 5);
  tcase_add_test(plain, server_restarts);
  tcase_add_test(plain, cannot_listen);
  tcase_add_test(plain, port_taken_by_a_server);
  suite_add_tcase(suite, plain);
  tcase_set_timeout(tls, 60);
  tcase_add_unchecked_fixture(tls, make_certificates, remove_certificates);
  tcase_add_test(tls, right_certificate);
  tcase_add_test(tls, wrong_certificate);
  tcase_add_test(tls, certificate_of_another_name);
  tcase_add_test(tls, plaintext_to_tls);
  tcase_add_test(tls, tls_to_plaintext);
  tcase_add_test(tls, roots_that_are_none);
  tcase_add_test(tls, key_that_http_does_not_carry);
  suite_add_tcase(suite, tls);
  return suite;
}
