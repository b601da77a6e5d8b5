/* The parts lie behind the head of the message: one allocation. */
#include "message.h"

#include <stdlib.h>
#include <sys/uio.h>

#include "proto/host/pipes.h"

struct message *message_create(size_t count)
{
  struct message *m = calloc(1, sizeof *m + count * sizeof m->parts[0]);
  if (m != NULL)
    m->count = count;
  return m;
}

struct message *message_copy(const void *from, size_t size)
{
  struct message *m = message_create(1);
  if (m == NULL)
    return NULL;
  m->size = size;
  if (bytes_copy(&m->parts[0], from, size) == 0)
    return m;
  free(m);
  return NULL;
}

void message_free(struct message *m)
{
  if (m == NULL)
    return;
  for (size_t i = 0; i < m->count; i++)
    bytes_drop(&m->parts[i]);
  pipes_give(m->pipe);
  free(m);
}

size_t message_iovecs(const struct message *m, struct iovec *out, size_t max)
{
  size_t count = m->count < max ? m->count : max;
  for (size_t i = 0; i < count; i++)
    out[i] = (struct iovec){.iov_base = (void *)(uintptr_t)m->parts[i].at, .iov_len = m->parts[i].size};
  if (m->pipe != NULL && count < max)
    out[count++] = (struct iovec){.iov_len = m->pipe->held};
  return count;
}
