/* Bytes are passed on as they are, each way by itself, with its end. */
#include <errno.h>

#include "gate_internal.h"

/* `source`: where it comes from, unless that is a client. */
static bool pass(struct gate *g, struct gate_socket *from, struct gate_socket *to, struct upstream *source)
{
  if (!gate_socket_flush(to) || to->shut)
    return false;
  size_t size = gate_socket_read(from, g->scratch, GATE_READ);
  if (size == 0 && from->ended) {
    if (source == NULL || upstream_is_orderly(source))
      gate_socket_shut(to);
    else
      from->read_error = ECONNRESET;
    return true;
  }
  if (size > 0 && source != NULL)
    upstream_answered(source);
  http1_out_put(&to->out, g->scratch, size);
  gate_socket_flush(to);
  return size > 0;
}

static bool is_broken(const struct gate_socket *s)
{
  return s->read_error != 0 || s->write_error != 0;
}

bool opaque_pass(struct gate *g, struct gate_socket *client, struct upstream *u, enum opaque_state *state)
{
  bool moved = pass(g, client, &u->socket, NULL);
  moved |= pass(g, &u->socket, client, u);
  if (is_broken(client) || is_broken(&u->socket))
    *state = OPAQUE_BROKEN;
  else
    *state = client->shut && u->socket.shut ? OPAQUE_OVER : OPAQUE_OPEN;
  return moved;
}

bool opaque_move(struct client *c)
{
  struct upstream *u = c->exchange.upstream;
  enum opaque_state state;

  if (http1_out_waiting(&c->kept) > 0) {
    http1_out_put(&u->socket.out, c->kept.bytes + c->kept.at, http1_out_waiting(&c->kept));
    http1_out_free(&c->kept);
  }
  bool moved = opaque_pass(c->gate, &c->socket, u, &state);
  if (state == OPAQUE_BROKEN)
    client_cut(c);
  else if (state == OPAQUE_OVER)
    c->state = CLIENT_GONE;
  return moved || state != OPAQUE_OPEN;
}
