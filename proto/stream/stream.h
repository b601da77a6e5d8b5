/* A stream as a pump sees it: messages go out and come in, each side ends its direction in order, and one status is the
 * end of all. Several kinds of streams implement it. What a pump does must not depend on which it has.
 *
 * The functions of a kind are called by the stream's one user, at any time between `start` and `free`: saying by one
 * thread at a time, hearing by one thread at a time, with locks of the user held. The events come on any thread that
 * the kind has; never inside a function of the kind, and never while the kind holds a lock.
 */
#ifndef PROTO_STREAM_H
#define PROTO_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/status.h"

struct bytes;
struct errand;
struct message;
struct pooled_pipe;
struct stream;

/* What became of something that was to be said. */
enum stream_said {
  STREAM_SAID,   /* another may be said at once */
  STREAM_SAYING, /* another may be said after the event `said` */
  STREAM_BROKEN, /* nothing can be said any more */
};

enum { STREAM_HEAD_MAX = 256 }; /* bytes */

struct stream_say {
  const void *head;         /* how the message begins; copied */
  size_t head_size;         /* at most STREAM_HEAD_MAX */
  const struct bytes *body; /* NULL, or what stands behind it; the kind takes a reference of its own */
  struct pooled_pipe *pipe; /* NULL, or holds what stands behind it, and nothing else; the kind takes the pipe */
  bool last;                /* ends this direction in order, behind the message; with neither head nor body only that */
  bool more;                /* another message follows at once: this one may wait for it, to go out together */
};

/* What is in the way of a kind while the user holds its locks goes to `later`, at the front: the user runs that list by
 * errands_run as soon as it holds none. */
struct stream_kind {
  const char *name; /* for humans */
  /* Opens the stream, and says the first message, which is copied: a Payload with a Header, or what a router of the
   * first version wants. Whatever it returns, `ended` follows some day. */
  enum stream_said (*start)(struct stream *s, const void *first, size_t size, struct errand **later);
  /* One message at a time: not while `said` is awaited. */
  enum stream_said (*say)(struct stream *s, const struct stream_say *what, struct errand **later);
  /* Asks for the next message: `heard` follows. One at a time. False: nothing more arrives, and `heard` does not
   * follow. */
  bool (*hear)(struct stream *s);
  /* Ends it at once: all that is asked for is answered, and `ended` follows, with this status unless another was there
   * before. Any thread; also more than once, and after the end. */
  void (*cancel)(struct stream *s, enum rpc_status status, const char *text);
  /* To be asked when the stream should have begun: true if there is a way to the router and the stream has not begun,
   * because what stands before the router lets no further stream through. On the loop. */
  bool (*has_no_room)(struct stream *s);
  /* When it never started; or after `ended`, with all answered that was asked for. On the loop. */
  void (*free)(struct stream *s);
  size_t message_max; /* bytes of data that a message should have at most */
  bool splices;       /* bodies may be in pipes, on the way out and, where it is asked for, on the way in */
};

struct stream_user {
  /* Answers STREAM_SAYING. False: nothing can be said any more. */
  void (*said)(void *arg, bool ok);
  /* Answers `hear`. The callee frees the message. NULL: nothing more arrives. */
  void (*heard)(void *arg, struct message *m);
  /* The other side speaks the first version. At most once. */
  void (*original)(void *arg);
  /* At most once, and last but for answers to `say` and `hear`, which may still follow. A status may come before all
   * messages that were sent with it were asked for. `text` lives until `free`. */
  void (*ended)(void *arg, enum rpc_status status, const char *text);
};

/* Each kind's own begins with it. */
struct stream {
  const struct stream_kind *kind;
  const struct stream_user *user; /* set before `start`, with `arg` */
  void *arg;
  bool by_pipe; /* set before `hear`: the next message may have its data in a pipe */
};

#endif
