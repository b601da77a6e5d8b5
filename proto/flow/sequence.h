/* One direction of a connection as a sequence: byte 0 to n - 1, and the end, which counts as byte n. Streams come and
 * go under it; the sequence goes on. Pure; one thread at a time.
 *
 * The sender keeps every message until it is acknowledged, and can go back to any of them: after a new stream it sends
 * again from where the receiver says it is, in the same messages as at first. The receiver drops what it has already;
 * a gap is an error.
 */
#ifndef PROTO_SEQUENCE_H
#define PROTO_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- The sender ---- */

enum { SEQUENCE_BODY_SIZE = 32 };

/* One message: data, or the end. */
struct piece {
  uint64_t at;                                        /* where it begins */
  uint32_t size;                                      /* bytes of data; 0: the end */
  _Alignas(8) unsigned char body[SEQUENCE_BODY_SIZE]; /* the owner's: what holds the data */
};

struct sequence_out {
  uint64_t acked; /* up to here nothing is needed any more */
  uint64_t next;  /* the first that was not sent on this stream */
  uint64_t added; /* what there is in all, the end included */
  bool ended;

  /* sequence.c's: a ring of messages that are not acknowledged */
  struct piece *ring;
  size_t room, head, count, sent; /* `sent` of `count` went out on this stream */
  void (*drop)(void *body);
};

/* `drop` frees what a body holds; NULL: nothing. */
void sequence_out_start(struct sequence_out *s, void (*drop)(void *body));
void sequence_out_free(struct sequence_out *s);
/* Behind all others; `size` 0: the end, after which nothing can be added. Takes what the body holds, but not when it
 * fails. -ENOMEM. */
int sequence_out_add(struct sequence_out *s, uint32_t size, const void *body);
/* The next one to send on this stream, or NULL. It stays until it is acknowledged. */
const struct piece *sequence_out_peek(const struct sequence_out *s);
void sequence_out_sent(struct sequence_out *s); /* that one */
/* The other side's socket has taken so much. A message is dropped when all of it is; one that is not sent on this
 * stream yet need not be sent then. -EPROTO: it cannot be. */
int sequence_out_acked(struct sequence_out *s, uint64_t taken);
/* A new stream: goes back to the message in which `received` lies; if that is acknowledged by now (who said it did so a
 * while ago), to the oldest that is kept. -EPROTO if so much was never added: then nothing has changed. */
bool sequence_out_possible(const struct sequence_out *s, uint64_t received);
int sequence_out_resume(struct sequence_out *s, uint64_t received);
/* The messages that are kept, the oldest first: NULL for an index too large. For those who want to move their bodies.
 */
struct piece *sequence_out_kept(struct sequence_out *s, size_t index);

/* ---- The receiver ---- */

struct sequence_in {
  uint64_t received; /* what arrived, the end included */
  uint64_t at;       /* where the next message on this stream begins */
  bool ended;
};

/* A new stream: without an offset its first message begins at 0. */
void sequence_in_attach(struct sequence_in *s);
/* A message of `size` bytes, with `end` behind them. *skip: so many of the bytes are known already. 1: there is
 * something new in it; 0: nothing; -EPROTO: a gap, or something behind the end, or an end elsewhere. */
int sequence_in_message(struct sequence_in *s, bool has_offset, uint64_t offset, uint64_t size, bool end,
                        uint64_t *skip);

#endif
