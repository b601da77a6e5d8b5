/* Data in bulk that is never in our memory, where both ends of the way are near: from the socket into a pipe, and on
 * into the stream; from the stream in a pipe, and on into the socket. What was sent is kept in a second pipe, which
 * shares the pages with the first (tee), until it is acknowledged: the pipe is in the order of the messages, as acks
 * are. A body in it has an owner and no address.
 *
 * Whatever comes in the way, a stream that ends, memory in pipes that is short, a socket that is not read, what is in
 * pipes is read into memory, and all goes on there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pump_internal.h"

enum {
  READ_LEAST = 64 << 10,
  KEPT_MAX = 2 << 20,     /* bytes in a pipe of 256 pages: neighbours there are up to 32 KiB each */
  SMALL_SHARE = 4,        /* a read that brings less than a quarter is no bulk */
  PAUSE_US = 1000 * 1000, /* after something was in the way */
};

struct pump_splice {
  struct chunk owner; /* of the bodies in `kept` */
  struct pooled_pipe *kept, *read;
  uint64_t read_at;    /* what is in `read` begins there, and was not said yet */
  uint64_t not_before; /* us */
};

static struct pump_splice *splice_of(const struct bytes *b)
{
  return (struct pump_splice *)((char *)b->owner - offsetof(struct pump_splice, owner));
}

bool pump_splice_has(const struct bytes *b)
{
  return b->owner != NULL && b->at == NULL;
}

static void drop_read(struct pump_splice *sp)
{
  pipes_give(sp->read);
  sp->read = NULL;
}

static void drop_kept(struct pump_splice *sp)
{
  pipes_give(sp->kept);
  sp->kept = NULL;
}

static void pause_splicing(struct pump_splice *sp)
{
  sp->not_before = pump_now_us() + PAUSE_US;
}

void pump_splice_free(struct pump *p)
{
  struct pump_splice *sp = p->up.splice;
  if (sp == NULL)
    return;
  drop_read(sp);
  drop_kept(sp);
  free(sp);
  p->up.splice = NULL;
}

/* ---- From the socket ---- */

/* Small reads have been left behind, and all that was read is said. */
bool pump_splice_wants(struct pump *p)
{
  const struct pump_splice *sp = p->up.splice;
  uint64_t rtt = window_rtt(&p->up.window);
  if (p->up.read_size < READ_LEAST || !p->up.windowed || p->is_unix || p->set->pipes == NULL)
    return false;
  if (rtt == 0 || rtt >= p->set->limits.near_us || !p->stream->stream->kind->splices)
    return false;
  if (sequence_out_peek(&p->up.sequence) != NULL)
    return false;
  if (p->observer != NULL && atomic_load_explicit(&p->observer->watches_from, memory_order_relaxed))
    return false;
  return sp == NULL || (sp->read == NULL && pump_now_us() >= sp->not_before);
}

/* Both pipes. False: they are not to be had. */
static bool prepare(struct pump *p)
{
  if (p->up.splice == NULL) {
    p->up.splice = calloc(1, sizeof *p->up.splice);
    if (p->up.splice == NULL)
      return false;
    chunk_begin(&p->up.splice->owner, 1, NULL);
  }
  struct pump_splice *sp = p->up.splice;
  if (sp->kept == NULL)
    sp->kept = pipes_take(p->set->pipes);
  if (sp->kept != NULL)
    sp->read = pipes_take(p->set->pipes);
  if (sp->read != NULL)
    return true;
  if (sp->kept != NULL && sp->kept->held == 0)
    drop_kept(sp);
  pause_splicing(sp);
  return false;
}

/* What is in the pipe becomes memory. 0, or a negative errno. */
static int land(struct slab_carver *carver, struct pooled_pipe *pipe, size_t size, struct bytes *out)
{
  void *room = slab_carver_room(carver, size);
  int error = room != NULL ? pipe_read(pipe, room, size) : -ENOMEM;
  if (error == 0)
    *out = slab_carver_take(carver, size);
  return error;
}

/* It is not to go on through pipes: no bulk, or the other pipe has no room for it. */
static ssize_t read_by_copy(struct pump *p, size_t size, struct bytes *out)
{
  int error = land(pump_carver_here(p), p->up.splice->read, size, out);
  drop_read(p->up.splice);
  return error == 0 ? (ssize_t)size : error;
}

/* What does not fit leaves a beginning there, which is in nobody's order: so the pipe is left as a whole. */
static ssize_t leave(struct pump *p, size_t size, struct bytes *out)
{
  int error = pump_splice_land(p);
  if (error != 0)
    return error;
  drop_kept(p->up.splice);
  pause_splicing(p->up.splice);
  return read_by_copy(p, size, out);
}

ssize_t pump_splice_read(struct pump *p, size_t size, struct bytes *out)
{
  if (!prepare(p))
    return -ENOTSUP;
  struct pump_splice *sp = p->up.splice;
  ssize_t n = pipe_fill(sp->read, p->fd, size);
  if (n <= 0) {
    drop_read(sp);
    return n;
  }
  if ((size_t)n < size / SMALL_SHARE)
    return read_by_copy(p, (size_t)n, out);
  if (pipe_share(sp->read, sp->kept, (size_t)n) != n)
    return leave(p, (size_t)n, out);
  atomic_fetch_add_explicit(&p->spliced, (uint64_t)n, memory_order_relaxed);
  sp->read_at = p->up.sequence.added;
  *out = (struct bytes){.owner = &sp->owner, .size = (size_t)n};
  return n;
}

size_t pump_splice_room(const struct pump *p)
{
  const struct pump_splice *sp = p->up.splice;
  size_t kept = sp != NULL && sp->kept != NULL ? sp->kept->held : 0;
  return kept < KEPT_MAX ? KEPT_MAX - kept : 0;
}

struct pooled_pipe *pump_splice_say(struct pump *p, const struct piece *piece)
{
  struct pump_splice *sp = p->up.splice;
  struct pooled_pipe *pipe = sp->read;
  if (pipe == NULL || piece->at != sp->read_at || piece->size != pipe->held)
    return NULL;
  sp->read = NULL;
  return pipe;
}

/* ---- What is kept ---- */

void pump_splice_forget(struct bytes *b)
{
  pipe_forget(splice_of(b)->kept, b->size); /* if it fails the pipe is known to be spoiled */
}

int pump_splice_land(struct pump *p)
{
  struct pump_splice *sp = p->up.splice;
  struct piece *piece;
  if (sp == NULL || sp->kept == NULL)
    return 0;
  for (size_t i = 0; (piece = sequence_out_kept(&p->up.sequence, i)) != NULL; i++) {
    struct bytes b;
    memcpy(&b, piece->body, sizeof b);
    if (piece->size == 0 || !pump_splice_has(&b))
      continue;
    int error = sp->kept->spoiled ? -EIO : land(pump_carver_here(p), sp->kept, b.size, &b);
    if (error != 0)
      return error;
    memcpy(piece->body, &b, sizeof b);
  }
  drop_kept(sp);
  return 0;
}

void pump_splice_stop(struct pump *p)
{
  if (p->up.splice == NULL)
    return;
  drop_read(p->up.splice);
  pump_splice_land(p); /* or else when it is to be sent again */
}

void pump_splice_acked(struct pump *p)
{
  if (p->up.splice != NULL && p->up.splice->kept != NULL && p->up.splice->kept->held == 0)
    drop_kept(p->up.splice);
}

/* ---- To the socket ---- */

bool pump_splice_may_hear(const struct pump *p)
{
  if (p->observer != NULL && atomic_load_explicit(&p->observer->watches_to, memory_order_relaxed))
    return false;
  return p->fd >= 0 && !p->is_unix && p->down.queueing && !p->down.drop && p->down.first == NULL;
}

bool pump_splice_blocks(const struct pump *p)
{
  return p->down.first != NULL && p->down.first->message->pipe != NULL;
}

ssize_t pump_splice_write(struct pump *p, struct pump_message *m)
{
  ssize_t n = pipe_drain(m->message->pipe, p->fd, m->left);
  if (n <= 0) {
    errno = n < 0 ? (int)-n : EIO;
    return -1;
  }
  atomic_fetch_add_explicit(&p->spliced, (uint64_t)n, memory_order_relaxed);
  return n;
}

/* Without memory for it, it stays where it is. */
static void land_first(struct pump *p)
{
  struct pump_message *m = p->down.first;
  struct message *in_memory = message_create(1);
  if (in_memory == NULL)
    return;
  int error = land(pump_carver_here(p), m->message->pipe, m->left, &in_memory->parts[0]);
  if (error == 0) {
    message_free(m->message);
    m->message = in_memory;
    m->part = m->part_used = 0;
    in_memory->size = m->left;
    return;
  }
  message_free(in_memory);
  if (error != -ENOMEM)
    pump_tell_socket_failed(p, -error);
}

static void unblock(struct pump *p)
{
  pthread_mutex_lock(&p->down.lock);
  if (pump_splice_blocks(p)) {
    land_first(p);
    pump_down_run(p);
  }
  pthread_mutex_unlock(&p->down.lock);
  pump_ack_go(p);
}

void pump_splice_starved(struct pump *p)
{
  if (atomic_load_explicit(&p->up.starved, memory_order_relaxed) &&
      atomic_load_explicit(&p->down.blocked, memory_order_relaxed))
    unblock(p);
}

void pump_splice_rest(struct pump *p)
{
  uint64_t written = atomic_load_explicit(&p->bytes_written, memory_order_relaxed);
  bool stuck = written == p->down.written_at_rest;
  p->down.written_at_rest = written;
  if (stuck && atomic_load_explicit(&p->down.blocked, memory_order_relaxed))
    unblock(p);
}
