/* Pipes for splice(2): made when they are needed, and kept for the next one when they are empty again. A byte left in
 * a pipe would come out in another connection, so each pipe counts what goes in and out, here and nowhere else: one
 * that is not known to be empty is closed.
 *
 * A pool may be used on any thread; a pipe belongs to whoever took it. */
#ifndef PROTO_PIPES_H
#define PROTO_PIPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pipes;

enum {
  PIPE_SIZE_MOST = 1 << 20,   /* what is asked for */
  PIPE_SIZE_LEAST = 64 << 10, /* below that, a copy is as good */
};

struct pooled_pipe {
  struct pipes *of;
  int in, out;  /* ends: what is written to, what is read from */
  size_t size;  /* bytes, if every page in it is full */
  size_t slots; /* pages */
  size_t held;  /* bytes that are in it */
  bool spoiled; /* an error came, so that `held` is not certain */
  struct pooled_pipe *next;
};

struct pipes_stats {
  size_t taken, idle; /* pipes */
  size_t bytes;       /* the sizes of both together */
  uint64_t made, refused;
};

/* Pipes of at most `budget` bytes together, by their sizes; `idle_most` of them are kept. 0 or a negative errno. */
int pipes_open(struct pipes **out, size_t budget, size_t idle_most);
void pipes_close(struct pipes *ps); /* it goes when the last pipe is given back */

/* An empty one, the larger the more of the budget is left. NULL: there is none to be had now (the budget, the
 * descriptors, the memory that a user may have in pipes): copy. That costs next to nothing to ask. */
struct pooled_pipe *pipes_take(struct pipes *ps);
void pipes_give(struct pooled_pipe *p); /* back to its pool; NULL is fine */
void pipes_stats(struct pipes *ps, struct pipes_stats *out);

/* From a descriptor into the pipe, and back; neither blocks. Bytes that were moved, 0 at the end of the input, or a
 * negative errno. -EAGAIN of an empty pipe means that the descriptor has nothing. */
ssize_t pipe_fill(struct pooled_pipe *p, int fd, size_t most);
ssize_t pipe_drain(struct pooled_pipe *p, int fd, size_t most);
/* So few bytes cannot have filled an empty pipe, whatever their pieces were: the descriptor had no more of them. */
bool pipe_has_room_after(const struct pooled_pipe *p, size_t bytes);

/* The first `size` bytes that it holds go into another one as well, which shares the pages. Less if that gets full. */
ssize_t pipe_share(struct pooled_pipe *p, struct pooled_pipe *with, size_t size);
/* The first `size` bytes that it holds, all of them: into memory, or nowhere. 0, or a negative errno: some of them are
 * gone then, and the pipe is of no use any more. */
int pipe_read(struct pooled_pipe *p, void *out, size_t size);
int pipe_forget(struct pooled_pipe *p, size_t size);

#endif
