/* A connection to the port of https, until its hello has said for which host it is: then the service of that host gets
 * it unread, or it becomes a client. The hello is only looked at, and stays in the socket for whoever reads it.
 *
 * A host that belongs to such a service, or did lately, is never read, whatever certificates there are. So nobody is
 * let in before it is known which hosts there are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#include "gate/balance/choose.h"
#include "gate/tls/hello.h"
#include "gate/tls/tls.h"
#include "gate_internal.h"

struct newcomer {
  struct gate_socket socket; /* first */
  struct gate *gate;
  char *peer;
  struct poller_deadline deadline;
  struct newcomer *prev, *next;
};

static void release(struct newcomer *s)
{
  struct gate *g = s->gate;
  poller_deadline_clear(&g->hello, &s->deadline);
  gate_socket_close(&s->socket, false);
  DL_DELETE(g->newcomers, s);
  free(s->peer);
  free(s);
}

static void leave(struct newcomer *s)
{
  struct gate *g = s->gate;
  release(s);
  gate_client_gone(g);
}

/* The hello is taken first: what is left unread would turn the end into a reset. */
static void turn_away(struct newcomer *s)
{
  gate_socket_read(&s->socket, s->gate->scratch, GATE_READ);
  http1_out_put(&s->socket.out, hello_refusal, HELLO_REFUSAL_SIZE);
  gate_socket_flush(&s->socket);
  gate_socket_shut(&s->socket);
  leave(s);
}

/* The next one has it before this one is gone, so that the gate does not count as empty in between. */
static void let_in(struct newcomer *s, struct backend *backend)
{
  struct gate *g = s->gate;
  int fd = gate_socket_release(&s->socket);
  struct tls *tls = backend == NULL ? tls_open(g->tls, fd) : NULL;

  if (backend != NULL)
    passage_open(g, fd, s->peer, backend);
  else if (tls != NULL)
    client_open(g, fd, tls, s->peer);
  else
    close(fd);
  leave(s);
}

static void decide(struct newcomer *s, enum hello hello, const char *name)
{
  struct gate *g = s->gate;
  struct http1_text host = {name, strlen(name)}, path = {"/", 1};
  const char *services[CHOOSE_MAX];
  bool named = hello == HELLO_NAMED;
  size_t passes = named ? sites_find(g->passing, host, path, services, CHOOSE_MAX) : 0;
  struct backend *backend = backends_choose(g, services, passes, NULL);
  bool unknown = named && passes == 0 && !sites_have(g->sites, host);

  if (unknown && !g->settled && !g->draining)
    return;
  if ((passes > 0 && backend == NULL) || (unknown && sites_know(g->passing, host, uv_now(g->loop))))
    turn_away(s);
  else
    let_in(s, backend);
}

static void look(struct newcomer *s)
{
  char name[HELLO_NAME_SIZE] = "";
  ssize_t size = recv(s->socket.fd, s->gate->scratch, HELLO_PEEK, MSG_PEEK);

  if (size < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  enum hello hello = size > 0 ? hello_read((const uint8_t *)s->gate->scratch, (size_t)size, name) : HELLO_MORE;
  if (hello != HELLO_MORE)
    decide(s, hello, name);
  else if (size <= 0 || s->socket.hung_up)
    leave(s);
}

static void on_ready(struct gate_socket *s)
{
  look((struct newcomer *)s);
}

void newcomers_told(struct gate *g)
{
  struct newcomer *s, *next;
  DL_FOREACH_SAFE(g->newcomers, s, next)
  {
    look(s);
  }
}

void newcomer_due(struct poller_deadline *d)
{
  turn_away((struct newcomer *)((char *)d - offsetof(struct newcomer, deadline)));
}

void newcomers_close(struct gate *g)
{
  while (g->newcomers != NULL)
    release(g->newcomers); /* NOLINT(clang-analyzer-unix.Malloc): it leaves the list */
}

void newcomer_open(struct gate *g, int fd, const char *peer)
{
  struct newcomer *s = calloc(1, sizeof *s);
  if (s == NULL || (s->peer = strdup(peer)) == NULL) {
    close(fd);
  } else if (gate_socket_open(&s->socket, g->poller, fd, NULL, on_ready) == 0) {
    s->gate = g;
    DL_APPEND(g->newcomers, s);
    poller_deadline_set(&g->hello, &s->deadline);
    return;
  } else {
    free(s->peer);
  }
  free(s);
}
