/* A client, from its first byte to its last.
 *
 *     HEAD --a head is complete--> EXCHANGE --both over--> HEAD ...
 *                                     +--101--> OPAQUE --both sides ended--> GONE
 *     HEAD --the preface of HTTP/2--> STREAMS --nothing is to be said any more--> LINGER
 *     HEAD, EXCHANGE --an answer after which nothing can follow--> LINGER --it has left, or its time is over--> GONE
 *
 * Deadlines are for what is wanted of the client. The target may take its time.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "gate/http2/session.h"
#include "gate/paths/page.h"
#include "gate/tls/tls.h"
#include "gate_internal.h"

enum { ROUNDS_MAX = 16 };

static void arm(struct client *c, struct poller_delay *delay)
{
  if (c->delay != NULL)
    poller_deadline_clear(c->delay, &c->deadline);
  c->delay = delay;
  if (delay != NULL)
    poller_deadline_set(delay, &c->deadline);
}

static void free_client(struct client *c)
{
  struct gate *g = c->gate;
  arm(c, NULL);
  exchange_drop(&c->exchange);
  streams_close(c);
  gate_socket_close(&c->socket, c->reset);
  http1_parser_free(&c->parser);
  http1_out_free(&c->kept);
  DL_DELETE(g->clients, c);
  free(c->peer);
  free(c);
  gate_client_gone(g);
}

void client_close(struct client *c)
{
  if (c->state == CLIENT_OPAQUE || c->state == CLIENT_EXCHANGE || c->state == CLIENT_STREAMS)
    c->reset = true;
  free_client(c);
}

void client_cut(struct client *c)
{
  c->reset = true;
  c->state = CLIENT_GONE;
}

static void begin_streams(struct client *c)
{
  c->unknown = false;
  if (streams_open(c) == 0)
    c->state = CLIENT_STREAMS;
  else
    client_cut(c);
}

/* With HTTP/2 a client begins with a line that is no request. */
bool client_is_known(struct client *c, const char *bytes, size_t size)
{
  size_t had = http1_out_waiting(&c->kept), count = HTTP2_PREFACE_SIZE - had;

  if (!c->unknown)
    return true;
  if (count > size)
    count = size;
  if (gate_socket_speaks_http2(&c->socket)) {
    begin_streams(c);
    return false;
  }
  c->unknown = memcmp(http2_preface + had, bytes, count) == 0;
  if (!c->unknown)
    return had == 0;
  if (had + count == HTTP2_PREFACE_SIZE)
    begin_streams(c);
  return false;
}

/* ---- Between exchanges ---- */

static void next_request(struct client *c)
{
  bool more = http1_out_waiting(&c->kept) > 0;
  http1_parser_next(&c->parser, more);
  if (!more)
    http1_out_free(&c->kept);
  c->state = CLIENT_HEAD;
  c->exchange.answer_begun = false;
}

void client_exchange_over(struct client *c)
{
  if (!c->exchange.request_over || c->close_after)
    c->state = CLIENT_LINGER;
  else
    next_request(c);
}

void client_answer(struct client *c, const struct page *page)
{
  bool understood = c->parser.state != HTTP1_BROKEN && c->state == CLIENT_EXCHANGE;
  bool goes_on = understood && (c->exchange.request_over || c->parser.framing.body == HTTP1_NO_BODY) && !c->close_after;

  exchange_drop(&c->exchange);
  page_write(&c->socket.out, page, c->exchange.to_head && understood, !goes_on);
  if (goes_on)
    next_request(c);
  else
    c->state = CLIENT_LINGER;
}

/* ---- Going on ---- */

static bool linger_move(struct client *c)
{
  if (!gate_socket_flush(&c->socket)) {
    if (c->socket.write_error != 0)
      c->state = CLIENT_GONE;
    return false;
  }
  gate_socket_shut(&c->socket);
  size_t size = gate_socket_read(&c->socket, c->gate->scratch, GATE_READ);
  if (size == 0 && (c->socket.ended || c->socket.read_error != 0))
    c->state = CLIENT_GONE;
  return size > 0;
}

static bool move(struct client *c)
{
  switch (c->state) {
  case CLIENT_HEAD:
    return request_move(c);
  case CLIENT_EXCHANGE: {
    bool moved = request_move(c);
    return (c->state == CLIENT_EXCHANGE && exchange_move(&c->exchange)) || moved;
  }
  case CLIENT_OPAQUE:
    return opaque_move(c);
  case CLIENT_STREAMS:
    return streams_move(c);
  case CLIENT_LINGER:
    return linger_move(c);
  default:
    return false;
  }
}

static bool waits_for_client(const struct client *c)
{
  if (http1_out_waiting(&c->socket.out) > 0)
    return true;
  return c->state == CLIENT_EXCHANGE && !c->exchange.request_over && c->exchange.upstream != NULL &&
         http1_out_waiting(&c->exchange.upstream->socket.out) == 0;
}

/* A request may be on its way when the gate is told to end: it is answered, and it is said that none may follow. */
static struct poller_delay *delay_of_head(const struct client *c)
{
  struct gate *g = c->gate;
  bool begun = !http1_parser_is_idle(&c->parser) || (c->unknown && http1_out_waiting(&c->kept) > 0);
  if (begun || !gate_socket_is_greeted(&c->socket))
    return &g->head;
  if (!g->draining)
    return &g->idle;
  return c->asked ? &g->parting : &g->head;
}

static void arm_anew(struct client *c, bool moved)
{
  struct poller_delay *delay = NULL;
  if (c->state == CLIENT_HEAD)
    delay = delay_of_head(c);
  else if (c->state == CLIENT_STREAMS)
    delay = streams_delay(c);
  else if (waits_for_client(c))
    delay = &c->gate->idle;
  else if (c->state == CLIENT_LINGER)
    delay = &c->gate->linger;
  /* A head, and a good-bye, have one time for all their bytes; and without a stream nothing that comes is of use. */
  bool counts = moved && (c->state != CLIENT_STREAMS || http1_out_waiting(&c->socket.out) > 0);
  if (delay != c->delay || (counts && delay == &c->gate->idle))
    arm(c, delay);
}

void client_run(struct client *c)
{
  bool moved = false;
  unsigned rounds = 0;

  if (c->state != CLIENT_LINGER && gate_socket_trouble(&c->socket) != 0)
    client_cut(c);
  while (c->state != CLIENT_GONE && rounds < ROUNDS_MAX && move(c)) {
    moved = true;
    rounds++;
  }
  if ((c->state == CLIENT_EXCHANGE || c->state == CLIENT_STREAMS) && c->socket.write_error != 0)
    client_cut(c);
  if (c->state == CLIENT_GONE) {
    free_client(c);
    return;
  }
  arm_anew(c, moved);
  if (rounds == ROUNDS_MAX)
    poller_again(c->gate->poller, &c->socket.watch);
}

void client_due(struct poller_deadline *d)
{
  struct client *c = (struct client *)((char *)d - offsetof(struct client, deadline));
  bool begun = c->state == CLIENT_HEAD && !http1_parser_is_idle(&c->parser);
  bool uploads = c->state == CLIENT_EXCHANGE && !c->exchange.answer_begun && http1_out_waiting(&c->socket.out) == 0;

  if (begun || uploads)
    client_answer(c, &(struct page){.status = 408});
  else if (c->state == CLIENT_STREAMS)
    streams_late(c);
  else if (c->state == CLIENT_LINGER && c->socket.shut)
    c->state = CLIENT_GONE;
  else if (c->state == CLIENT_HEAD && c->gate->draining)
    c->state = CLIENT_LINGER;
  else
    client_cut(c);
  client_run(c);
}

static void on_ready(struct gate_socket *s)
{
  client_run((struct client *)s);
}

void client_open(struct gate *g, int fd, struct tls *tls, const char *peer)
{
  struct client *c = calloc(1, sizeof *c);
  if (c == NULL || (c->peer = strdup(peer)) == NULL ||
      gate_socket_open(&c->socket, g->poller, fd, tls, on_ready) != 0) {
    if (c == NULL || c->peer == NULL) {
      tls_close(tls);
      close(fd);
    } else {
      free(c->peer);
    }
    free(c);
    return;
  }
  c->gate = g;
  c->unknown = true;
  c->exchange = (struct exchange){.gate = g,
                                  .side = &client_side,
                                  .request = &c->parser.head,
                                  .framing = &c->parser.framing,
                                  .peer = c->peer,
                                  .client_fd = fd,
                                  .tls = tls != NULL};
  http1_parser_init(&c->parser, false);
  DL_APPEND(g->clients, c);
  arm(c, tls != NULL ? &g->head : &g->idle);
}
