/* What comes in. Nothing is received unless a message is asked for; then as much as there is, up to a bound, and the
 * messages in it are told one after the other as long as the next one is asked for meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/stream/message.h"
#include "raw_internal.h"

enum { TURN_BYTES = 1 << 20 /* before others get their turn */ };

bool raw_hear(struct stream *stream)
{
  struct raw_stream *s = (struct raw_stream *)stream;
  if (raw_stream_is_over(s) || atomic_load(&s->heard_end))
    return false;
  atomic_store(&s->asked, true);
  bool here = pthread_equal(pthread_self(), s->line->set->thread);
  if (!here || (!s->hearing && (s->readable || raw_gather_has_rest(&s->gather))))
    raw_stream_do(s, RAW_DUE_HEAR);
  return true;
}

/* ---- Words of the router ---- */

/* True: that was the end. The stream may be gone. */
static bool take_status(struct raw_stream *s, const struct raw_word *word)
{
  if (word->status == RPC_UNIMPLEMENTED) {
    raw_goals_add(&s->line->goals, s->goal);
    raw_stream_end(s, RPC_UNAVAILABLE, "the other side takes no raw streams");
  } else {
    raw_stream_end(s, word->status, word->text);
  }
  return true;
}

static void tell(struct raw_stream *s, struct message *m)
{
  atomic_store(&s->asked, false);
  s->stream.user->heard(s->stream.arg, m);
}

static bool malformed(struct raw_stream *s)
{
  raw_stream_end(s, RPC_INTERNAL, "what came on the raw stream cannot be read");
  return true;
}

/* As take_status. */
static bool take_word(struct raw_stream *s, struct message *m)
{
  uint8_t bytes[RAW_WORD_MAX];
  size_t size = RAW_LENGTH_SIZE;
  struct raw_word word;
  memcpy(bytes, s->gather.length, RAW_LENGTH_SIZE);
  for (size_t i = 0; i < m->count; i++) {
    memcpy(bytes + size, m->parts[i].at, m->parts[i].size);
    size += m->parts[i].size;
  }
  message_free(m);
  if (s->state != RAW_OPENING || raw_word_open(&s->line->keys, &s->place, bytes, &word) != 0)
    return malformed(s);
  s->place.index++;
  if (word.kind == RAW_WORD_STATUS)
    return take_status(s, &word);
  struct message *first = message_copy(word.first, word.first_size);
  explicit_bzero(&word, sizeof word);
  if (first == NULL) {
    raw_stream_fail(s, ENOMEM);
    return true;
  }
  raw_stream_is_paired(s);
  tell(s, first);
  return false;
}

/* As take_status. */
static bool take(struct raw_stream *s, struct message *m, bool is_word)
{
  if (is_word)
    return take_word(s, m);
  raw_stream_is_paired(s);
  tell(s, m);
  return false;
}

/* ---- The socket ---- */

/* The router, or the other side, has said its end. */
static bool take_end(struct raw_stream *s)
{
  s->readable = false;
  if (s->state != RAW_PAIRED || !raw_gather_is_even(&s->gather)) {
    raw_stream_fail(s, ECONNRESET);
    return true;
  }
  atomic_store(&s->heard_end, true);
  tell(s, NULL);
  return false;
}

static void adapt(struct raw_stream *s, size_t asked, size_t got)
{
  if (got == asked && s->read_size < RAW_READ_MAX)
    s->read_size *= 2;
  else if (got < asked / 4 && s->read_size > RAW_READ_MIN)
    s->read_size /= 2;
}

/* In bulk only the rest of a frame, where that is less: the next one may be spliced. */
static size_t size_to_read(const struct raw_stream *s)
{
  size_t missing = s->gather.want - s->gather.have;
  bool to_its_end = s->stream.by_pipe && s->read_size >= RAW_READ_BULK && missing > 0 && missing < s->read_size;
  return to_its_end ? missing : s->read_size;
}

/* True: the stream is over. */
static bool receive(struct raw_stream *s, size_t *bytes)
{
  struct slab_carver *carver = &s->line->set->carver;
  if (s->read_size == 0)
    s->read_size = RAW_READ_MIN;
  size_t size = size_to_read(s);
  void *room = slab_carver_room(carver, size);
  if (room == NULL) {
    raw_stream_fail(s, ENOMEM);
    return true;
  }
  ssize_t n = recv(s->fd, room, size, MSG_DONTWAIT);
  if (n == 0)
    return take_end(s);
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    raw_stream_fail(s, errno);
    return true;
  }
  s->readable = n == (ssize_t)size || (n > 0 && s->hung_up) || (n < 0 && errno == EINTR);
  if (n < 0)
    return false;
  *bytes += (size_t)n;
  adapt(s, size, (size_t)n);
  raw_gather_put(&s->gather, n <= RAW_COPY_MAX ? (struct bytes){.at = room, .size = (size_t)n}
                                               : slab_carver_take(carver, (size_t)n));
  return false;
}

/* As receive; *wait: nothing more has come. */
static bool receive_any(struct raw_stream *s, size_t *bytes, bool *wait)
{
  struct message *m;
  *wait = false;
  switch (raw_splice_wants(s) ? raw_splice_receive(s, &m, bytes) : RAW_SPLICE_NOT) {
  case RAW_SPLICE_WHOLE:
    return take(s, m, false);
  case RAW_SPLICE_WAITS:
    *wait = true;
    return false;
  case RAW_SPLICE_LEFT:
    return false;
  case RAW_SPLICE_BROKE:
    raw_stream_fail(s, errno);
    return true;
  case RAW_SPLICE_NOT:
    break;
  }
  return receive(s, bytes);
}

/* True: the stream is over, and may be gone. */
static bool hear_all(struct raw_stream *s)
{
  size_t bytes = 0;
  while (atomic_load(&s->asked) && !raw_stream_is_over(s) && !atomic_load(&s->heard_end)) {
    struct message *m;
    bool is_word;
    int got = raw_gather_next(&s->gather, &m, &is_word);
    if (got == -ENOMEM) {
      raw_stream_fail(s, ENOMEM);
      return true;
    }
    if (got < 0)
      return malformed(s);
    if (got > 0 && take(s, m, is_word))
      return true;
    if (got > 0)
      continue;
    if (!s->readable)
      break;
    if (bytes >= TURN_BYTES) {
      poller_again(s->line->set->poller, &s->watch);
      break;
    }
    bool wait;
    if (receive_any(s, &bytes, &wait))
      return true;
    if (wait)
      break;
  }
  return false;
}

void raw_hear_go(struct raw_stream *s)
{
  if (s->hearing || s->state < RAW_OPENING || raw_stream_is_over(s))
    return;
  s->hearing = true;
  if (hear_all(s))
    return;
  s->hearing = false;
  if (raw_gather_keep(&s->gather) != 0)
    raw_stream_fail(s, ENOMEM);
  else if (atomic_load(&s->heard_end) && s->half_closed)
    raw_stream_end(s, RPC_OK, "");
}
