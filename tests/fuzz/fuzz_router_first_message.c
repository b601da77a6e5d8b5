/* The first messages of a connection's stream: a header, or a token inside the data of several messages. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/rpc/rpc.h"
#include "router/meet/first_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_header(const uint8_t *bytes, size_t size)
{
  struct header h;
  const char *why = NULL;
  struct rpc_message *m = rpc_message_copy(bytes, size);
  if (!m)
    return;
  if (first_message_header(m, &h, &why) != RPC_OK && !why)
    abort();
  rpc_message_free(m);
}

/* Each message is preceded by a byte that says how long it is. */
static void feed_messages(const uint8_t *bytes, size_t size)
{
  struct token_stream t = {0};
  bool done = false;
  enum rpc_status status = RPC_OK;
  while (size > 0 && !done && status == RPC_OK) {
    size_t length = bytes[0] < size - 1 ? bytes[0] : size - 1;
    struct rpc_message *m = rpc_message_copy(bytes + 1, length), *rest = NULL;
    const char *why = NULL;
    if (!m)
      return;
    status = first_message_token(m, &t, &done, &rest, &why);
    if (status != RPC_OK && (!why || rest))
      abort();
    if (rest && (!done || rpc_message_size(rest) > length + 16))
      abort();
    rpc_message_free(rest);
    rpc_message_free(m);
    bytes += 1 + length;
    size -= 1 + length;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  read_header(bytes, size);
  feed_messages(bytes, size);
  return 0;
}
