/* Headers are copied, to be read; of the traffic that may follow an original's token, nothing is. */
#include "first_message.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "proto/rpc/rpc.h"
#include "proto/wire/payload.h"

enum { PARTS_FEW = 16, CHUNK = 512 };

static enum rpc_status malformed(const char **why, const char *sentence)
{
  *why = sentence;
  return RPC_INVALID_ARGUMENT;
}

static enum rpc_status short_of_memory(const char **why)
{
  *why = "the router is short of memory";
  return RPC_RESOURCE_EXHAUSTED;
}

struct parts {
  struct iovec few[PARTS_FEW];
  struct iovec *many;
  size_t count;
};

static const struct iovec *parts_open(struct parts *p, const struct rpc_message *m)
{
  p->many = NULL;
  p->count = rpc_message_parts(m, p->few, PARTS_FEW);
  if (p->count <= PARTS_FEW)
    return p->few;
  p->many = calloc(p->count, sizeof *p->many);
  if (p->many)
    rpc_message_parts(m, p->many, p->count);
  return p->many;
}

static enum rpc_status header_find(const struct iovec *parts, size_t count, struct header *out, const char **why)
{
  struct payload payload;
  if (payload_parse(parts, count, &payload) != 0)
    return malformed(why, "the message is not a Payload");
  if (!payload.has_header || payload.fields != 1)
    return malformed(why, "a connection begins with a header, alone in its message");
  if (payload.header_size > HEADER_SIZE_MAX)
    return malformed(why, "the header is too long");
  uint8_t bytes[HEADER_SIZE_MAX];
  payload_copy(parts, count, payload.header_at, payload.header_size, bytes);
  int error = header_unpack(bytes, payload.header_size, out, why);
  explicit_bzero(bytes, sizeof bytes);
  return error ? RPC_INVALID_ARGUMENT : RPC_OK;
}

enum rpc_status first_message_header(const struct rpc_message *m, struct header *out, const char **why)
{
  memset(out, 0, sizeof *out);
  struct parts p;
  const struct iovec *parts = parts_open(&p, m);
  if (!parts)
    return short_of_memory(why);
  enum rpc_status status = header_find(parts, p.count, out, why);
  free(p.many);
  return status;
}

enum rpc_status first_message_read(const void *bytes, size_t size, struct header *out, const char **why)
{
  const struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
  memset(out, 0, sizeof *out);
  return header_find(&part, 1, out, why);
}

/* How much of the data belongs to the token, or -EBADMSG. */
static int data_feed(const struct iovec *parts, size_t count, const struct payload *payload, struct token_stream *t,
                     bool *done)
{
  size_t used = 0;
  while (!*done && used < payload->data_size) {
    uint8_t chunk[CHUNK];
    size_t size = payload->data_size - used;
    if (size > sizeof chunk)
      size = sizeof chunk;
    payload_copy(parts, count, payload->data_at + used, size, chunk);
    int took = token_stream_feed(t, chunk, size, done);
    if (took < 0)
      return took;
    used += (size_t)took;
  }
  return (int)used;
}

static enum rpc_status rest_cut(const struct rpc_message *m, const struct payload *payload, size_t used,
                                struct rpc_message **rest, const char **why)
{
  uint8_t prefix[PAYLOAD_PREFIX_MAX];
  size_t size = payload->data_size - used;
  if (size == 0)
    return RPC_OK;
  size_t prefix_size = payload_prefix(prefix, size, false);
  *rest = rpc_message_cut(m, prefix, prefix_size, payload->data_at + used, size);
  return *rest ? RPC_OK : short_of_memory(why);
}

static enum rpc_status token_find(const struct rpc_message *m, const struct iovec *parts, size_t count,
                                  struct token_stream *t, bool *done, struct rpc_message **rest, const char **why)
{
  struct payload payload;
  if (payload_parse(parts, count, &payload) != 0)
    return malformed(why, "the message is not a Payload");
  if (payload.has_header)
    return malformed(why, "the token of a ProxyConnection stands in its data, not in a header");
  int used = payload.has_data ? data_feed(parts, count, &payload, t, done) : 0;
  if (used < 0)
    return malformed(why, "the data does not begin with a token");
  return *done ? rest_cut(m, &payload, (size_t)used, rest, why) : RPC_OK;
}

enum rpc_status first_message_token(const struct rpc_message *m, struct token_stream *t, bool *done,
                                    struct rpc_message **rest, const char **why)
{
  *done = false;
  *rest = NULL;
  struct parts p;
  const struct iovec *parts = parts_open(&p, m);
  if (!parts)
    return short_of_memory(why);
  enum rpc_status status = token_find(m, parts, p.count, t, done, rest, why);
  free(p.many);
  return status;
}
