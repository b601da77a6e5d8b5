/* A client and a service that speak TLS with each other: the gate passes on what it cannot read, each way with its end.
 * The hello that brought the client here is the first of it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "gate/tls/hello.h"
#include "gate_internal.h"
#include "guard.h"

enum { ROUNDS_MAX = 16 };

struct passage {
  struct gate_socket client; /* first */
  struct gate *gate;
  char *peer;
  struct exchange exchange; /* whose upstream it is */
  struct passage *prev, *next;
};

static void release(struct passage *p, bool reset)
{
  if (p->exchange.upstream != NULL)
    upstream_close(p->exchange.upstream, reset);
  gate_socket_close(&p->client, reset);
  DL_DELETE(p->gate->passages, p);
  free(p->peer);
  free(p);
}

/* Whoever has heard nothing yet is told that it is not the client's fault. Nothing that came is left unread: all of it
 * is on its way to the service. */
static void break_off(struct passage *p)
{
  upstream_failed(p->exchange.upstream);
  bool silent = p->client.out.capacity == 0 && p->client.read_error == 0 && p->client.write_error == 0;

  if (silent) {
    http1_out_put(&p->client.out, hello_refusal, HELLO_REFUSAL_SIZE);
    gate_socket_flush(&p->client);
    upstream_close(p->exchange.upstream, true);
    p->exchange.upstream = NULL;
  }
  release(p, !silent);
}

static void run(struct passage *p)
{
  struct gate *g = p->gate;
  enum opaque_state state = OPAQUE_OPEN;
  unsigned rounds = 0;

  if (gate_socket_trouble(&p->client) != 0)
    state = OPAQUE_BROKEN;
  while (state == OPAQUE_OPEN && rounds < ROUNDS_MAX && opaque_pass(g, &p->client, p->exchange.upstream, &state))
    rounds++;
  if (state == OPAQUE_OPEN) {
    if (rounds == ROUNDS_MAX)
      poller_again(g->poller, &p->client.watch);
    return;
  }
  if (state == OPAQUE_BROKEN)
    break_off(p);
  else
    release(p, false);
  gate_client_gone(g);
}

static void on_ready(struct gate_socket *s)
{
  run((struct passage *)s);
}

static void wake(struct exchange *x)
{
  run((struct passage *)((char *)x - offsetof(struct passage, exchange)));
}

static const struct exchange_side passage_side = {.wake = wake};

void passages_close(struct gate *g)
{
  while (g->passages != NULL)
    release(g->passages, true); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
}

void passage_open(struct gate *g, int fd, const char *peer, struct backend *backend)
{
  const char *service = backend->service;
  struct passage *p = guard_lets_in(g, &service, 1, peer) ? calloc(1, sizeof *p) : NULL;
  if (p == NULL || (p->peer = strdup(peer)) == NULL) {
    free(p);
    close(fd);
    return;
  }
  if (gate_socket_open(&p->client, g->poller, fd, NULL, on_ready) != 0) {
    free(p->peer);
    free(p);
    return;
  }
  p->gate = g;
  p->exchange = (struct exchange){
      .gate = g, .side = &passage_side, .peer = p->peer, .client = p->peer, .client_fd = fd, .alone = true};
  DL_APPEND(g->passages, p);
  p->exchange.upstream = upstream_take(backend, &p->exchange, true);
  if (p->exchange.upstream == NULL)
    release(p, true);
}
