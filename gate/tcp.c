/* Public TCP ports: for each that a service has, a listener beside the gate's own. What comes there is the service's,
 * and is passed on unread: the connection is a tunnel's at once.
 *
 * A port that cannot be had is tried again and again, and told once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "carry/host/carrier.h"
#include "carry/net/listener.h"
#include "carry/tunnel/tunnels.h"
#include "gate_internal.h"
#include "guard.h"

enum { SERVICES_MAX = 8, SERVICE_SIZE = 64 };

struct tcp_port {
  UT_hash_handle hh;
  struct gate *gate;
  struct listener *listener; /* NULL: it is to be tried again */
  struct poller_deadline again;
  bool told; /* that it cannot be had */
  uint16_t number;
  unsigned count, next; /* services that share it; whose turn it is */
  char services[SERVICES_MAX][SERVICE_SIZE];
};

static void try(struct tcp_port *p);

static void say(const struct tcp_port *p, const char *what, const char *why)
{
  char sentence[GATE_WHY_MAX];
  snprintf(sentence, sizeof sentence, "port %u of service %s: %s%.400s", p->number, p->services[0], what, why);
  p->gate->events->says(sentence, p->gate->arg);
}

/* ---- What the listener tells ---- */

static void try_again(struct tcp_port *p, const char *why)
{
  if (!p->told)
    say(p, "cannot be listened on, and is tried again: ", why);
  p->told = true;
  poller_deadline_set(&p->gate->retry, &p->again);
}

static void opened(struct listener *l, int error, const char *why, void *arg)
{
  struct tcp_port *p = arg;
  if (error == 0) {
    say(p, "listening", "");
    p->told = false;
    return;
  }
  listener_close(l);
  p->listener = NULL;
  try_again(p, why);
}

static void accepted(struct listener *l, int fd, const char *peer, void *arg)
{
  struct tcp_port *p = arg;
  (void)l;
  p->next = (p->next + 1) % p->count;
  const char *service = p->services[p->next];
  if (!guard_lets_in(p->gate, &service, 1, peer)) {
    close(fd);
    return;
  }
  tunnels_forward(carrier_tunnels(p->gate->carrier), service, fd, peer, NULL);
}

static void starved(struct listener *l, int error, void *arg)
{
  struct tcp_port *p = arg;
  (void)l;
  say(p, error != 0 ? "cannot accept: " : "accepts again", error != 0 ? strerror(-error) : "");
}

static const struct listener_events listener_news = {.opened = opened, .accepted = accepted, .starved = starved};

/* ---- A port ---- */

const struct address *tcp_address(const struct gate *g)
{
  const struct address *http = g->http != NULL ? listener_address(g->http) : NULL;
  const struct address *https = g->https != NULL ? listener_address(g->https) : NULL;
  if (http != NULL && http->kind == ADDRESS_TCP)
    return http;
  return https != NULL && https->kind == ADDRESS_TCP ? https : NULL;
}

static void try(struct tcp_port *p)
{
  struct gate *g = p->gate;
  const struct address *own = tcp_address(g);
  if (own == NULL || g->draining)
    return;
  struct address at = *own;
  at.port = p->number;
  int error = listener_open_shared(&p->listener, g->lookups, &at, &listener_news, p);
  if (error == 0)
    return;
  p->listener = NULL;
  try_again(p, strerror(-error));
}

void tcp_due(struct poller_deadline *d)
{
  try((struct tcp_port *)((char *)d - offsetof(struct tcp_port, again)));
}

static void port_close(struct tcp_port *p)
{
  struct gate *g = p->gate;
  if (p->listener != NULL)
    listener_close(p->listener);
  poller_deadline_clear(&g->retry, &p->again);
  HASH_DEL(g->tcp, p); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it is in it */
  free(p);
}

/* NULL: out of memory. */
static struct tcp_port *port_of(struct gate *g, uint16_t number)
{
  struct tcp_port *p;
  HASH_FIND(hh, g->tcp, &number, sizeof number, p);
  if (p != NULL)
    return p;
  p = calloc(1, sizeof *p);
  if (p == NULL)
    return NULL;
  p->gate = g;
  p->number = number;
  HASH_ADD(hh, g->tcp, number, sizeof p->number, p);
  if (p->hh.tbl != NULL)
    return p;
  free(p);
  return NULL;
}

/* ---- All of them ---- */

void tcp_begin(struct gate *g)
{
  struct tcp_port *p, *next;
  HASH_ITER(hh, g->tcp, p, next)
  {
    p->count = 0;
  }
}

int tcp_add(struct gate *g, uint16_t number, const char *service)
{
  struct tcp_port *p = port_of(g, number);
  if (p == NULL)
    return -ENOMEM;
  if (p->count < SERVICES_MAX)
    snprintf(p->services[p->count++], SERVICE_SIZE, "%s", service);
  return 0;
}

void tcp_settle(struct gate *g)
{
  struct tcp_port *p, *next;
  HASH_ITER(hh, g->tcp, p, next)
  {
    if (p->count == 0) {
      say(p, "closed", "");
      port_close(p);
    } else if (p->listener == NULL && !p->told) {
      try(p);
    }
  }
}

void tcp_leave(struct gate *g)
{
  struct tcp_port *p, *next;
  HASH_ITER(hh, g->tcp, p, next)
  {
    if (p->listener != NULL)
      listener_leave(p->listener);
  }
}

void tcp_close(struct gate *g)
{
  struct tcp_port *p, *next;
  HASH_ITER(hh, g->tcp, p, next)
  {
    port_close(p);
  }
}
