/* One message that came on a stream: its bytes in the memory that they arrived in, in as many parts as that has. One
 * thread at a time. */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <stddef.h>

#include "bytes.h"

struct iovec;
struct pooled_pipe;

struct message {
  size_t count;
  size_t size;              /* bytes, of all parts and of the pipe */
  struct pooled_pipe *pipe; /* NULL, or has what follows the parts: its data, whole */
  struct bytes parts[];
};

/* Room for so many parts, which the caller fills in, and `size` as well. NULL: memory is short. */
struct message *message_create(size_t count);
/* One part, copied. NULL: memory is short. */
struct message *message_copy(const void *from, size_t size);
/* Lets go of all parts. NULL is fine. */
void message_free(struct message *m);
/* Points `out` at the parts, the first `max` of them; what is in a pipe is one more, without memory. Returns how many
 * those are. */
size_t message_iovecs(const struct message *m, struct iovec *out, size_t max);

#endif
