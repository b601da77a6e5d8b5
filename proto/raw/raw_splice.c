/* Data in bulk comes in through a pipe, and is never seen: of a frame only its beginning is looked at, and read, and
 * the rest of it, which is all data, goes into a pipe that the message then has. So it must be whole there. What does
 * not fit, since a pipe has room for so many packets, is read into memory, and received on as anything else.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "proto/stream/message.h"
#include "proto/wire/payload.h"
#include "raw_internal.h"

enum {
  LOOK_SIZE = RAW_FRAME_LENGTH_SIZE + PAYLOAD_ACK_MAX + 3 * PAYLOAD_PREFIX_MAX, /* where data begins, if it is ours */
  DATA_MIN = 32 << 10,
  DATA_MAX = 512 << 10,
};

void raw_splice_free(struct raw_stream *s)
{
  message_free(s->splicing);
  s->splicing = NULL;
}

bool raw_splice_wants(const struct raw_stream *s)
{
  if (s->splicing != NULL)
    return true;
  return s->line->set->pipes != NULL && s->stream.by_pipe && s->state == RAW_PAIRED && s->read_size >= RAW_READ_BULK &&
         raw_gather_is_even(&s->gather);
}

/* What stands before data that is the rest of the frame: so many bytes of the Payload; 0: this is something else. */
static size_t size_of_head(const uint8_t *bytes, size_t size, size_t *data_size)
{
  if (size <= RAW_FRAME_LENGTH_SIZE)
    return 0;
  int frame = raw_frame_read(bytes);
  size_t here = size - RAW_FRAME_LENGTH_SIZE;
  if (frame < 0 || (size_t)frame <= here)
    return 0;
  struct iovec parts[] = {{.iov_base = (void *)(uintptr_t)(bytes + RAW_FRAME_LENGTH_SIZE), .iov_len = here},
                          {.iov_len = (size_t)frame - here}};
  struct payload payload;
  if (payload_parse(parts, 2, &payload) != 0 || !payload.has_data)
    return 0;
  *data_size = payload.data_size;
  bool is_the_rest = payload.data_at <= here && payload.data_at + payload.data_size == (size_t)frame;
  return is_the_rest && *data_size >= DATA_MIN && *data_size <= DATA_MAX ? payload.data_at : 0;
}

/* Room for the data, and the head as its one part. */
static struct message *begin_message(struct raw_stream *s, const uint8_t *head, size_t head_size, size_t data_size)
{
  struct pooled_pipe *pipe = pipes_take(s->line->set->pipes);
  struct message *m = pipe != NULL && pipe->size >= data_size ? message_copy(head, head_size) : NULL;
  if (m == NULL) {
    pipes_give(pipe);
    return NULL;
  }
  m->pipe = pipe;
  m->size += data_size;
  return m;
}

static enum raw_spliced begin(struct raw_stream *s)
{
  uint8_t look[LOOK_SIZE];
  size_t data_size = 0;
  ssize_t n = recv(s->fd, look, sizeof look, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) {
    s->readable = false;
    return RAW_SPLICE_WAITS;
  }
  if (n <= 0)
    return RAW_SPLICE_NOT;
  size_t head_size = size_of_head(look, (size_t)n, &data_size);
  if (head_size == 0) {
    s->read_size = RAW_READ_MIN;
    return RAW_SPLICE_NOT;
  }
  struct message *m = begin_message(s, look + RAW_FRAME_LENGTH_SIZE, head_size, data_size);
  if (m == NULL)
    return RAW_SPLICE_NOT;
  size_t before = RAW_FRAME_LENGTH_SIZE + head_size;
  if (recv(s->fd, look, before, MSG_DONTWAIT) != (ssize_t)before) { /* it was there a moment ago */
    message_free(m);
    errno = EIO;
    return RAW_SPLICE_BROKE;
  }
  s->splicing = m;
  s->splice_left = data_size;
  return RAW_SPLICE_WAITS;
}

/* The frame, as far as it came, goes to where frames are gathered in memory. */
static enum raw_spliced land(struct raw_stream *s)
{
  struct slab_carver *carver = &s->line->set->carver;
  struct message *m = s->splicing;
  size_t head_size = m->parts[0].size, have = m->pipe->held, all = RAW_FRAME_LENGTH_SIZE + head_size + have;
  uint8_t *room = slab_carver_room(carver, all);
  if (room == NULL) {
    errno = ENOMEM;
    return RAW_SPLICE_BROKE;
  }
  raw_frame_write(room, m->size);
  memcpy(room + RAW_FRAME_LENGTH_SIZE, m->parts[0].at, head_size);
  int error = pipe_read(m->pipe, room + RAW_FRAME_LENGTH_SIZE + head_size, have);
  if (error != 0) {
    errno = -error;
    return RAW_SPLICE_BROKE;
  }
  raw_gather_put(&s->gather, slab_carver_take(carver, all));
  raw_splice_free(s);
  return RAW_SPLICE_LEFT;
}

/* The same error says that the socket is empty, and that the pipe is full. */
static enum raw_spliced filled_up(struct raw_stream *s)
{
  int waiting = 0;
  if (ioctl(s->fd, FIONREAD, &waiting) == 0 && waiting > 0)
    return land(s);
  s->readable = false;
  return RAW_SPLICE_WAITS;
}

enum raw_spliced raw_splice_receive(struct raw_stream *s, struct message **out, size_t *bytes)
{
  if (s->splicing == NULL) {
    enum raw_spliced begun = begin(s);
    if (s->splicing == NULL)
      return begun;
  }
  struct message *m = s->splicing;
  while (s->splice_left > 0) {
    ssize_t n = pipe_fill(m->pipe, s->fd, s->splice_left);
    if (n == -EAGAIN)
      return filled_up(s);
    if (n <= 0) {
      errno = n < 0 ? (int)-n : ECONNRESET;
      return RAW_SPLICE_BROKE;
    }
    s->splice_left -= (size_t)n;
    *bytes += (size_t)n;
  }
  s->splicing = NULL;
  *out = m;
  return RAW_SPLICE_WHOLE;
}
