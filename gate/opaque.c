/* After 101 bytes are passed on as they are, each way by itself, with its end. */
#include "gate_internal.h"

static bool pass(struct gate *g, struct gate_socket *from, struct gate_socket *to)
{
  if (!gate_socket_flush(to) || to->shut)
    return false;
  size_t size = gate_socket_read(from, g->scratch, GATE_READ);
  if (size == 0 && from->ended) {
    gate_socket_shut(to);
    return true;
  }
  http1_out_put(&to->out, g->scratch, size);
  gate_socket_flush(to);
  return size > 0;
}

static bool is_broken(const struct gate_socket *s)
{
  return s->read_error != 0 || s->write_error != 0;
}

bool opaque_move(struct client *c)
{
  struct upstream *u = c->exchange.upstream;
  if (http1_out_waiting(&c->kept) > 0) {
    http1_out_put(&u->socket.out, c->kept.bytes + c->kept.at, http1_out_waiting(&c->kept));
    http1_out_free(&c->kept);
  }
  bool moved = pass(c->gate, &c->socket, &u->socket);
  moved |= pass(c->gate, &u->socket, &c->socket);
  if (is_broken(&c->socket) || is_broken(&u->socket)) {
    client_cut(c);
    return true;
  }
  if (c->socket.shut && u->socket.shut) {
    c->state = CLIENT_GONE;
    return true;
  }
  return moved;
}
