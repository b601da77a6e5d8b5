/* Messages that protobuf-c parses: the first byte says which. What was taken packs, and is parsed once more. */
#include <stdint.h>
#include <stdlib.h>

#include "health.pb-c.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc/rpc.h"

enum { TYPES = 11 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const ProtobufCMessageDescriptor *const types[TYPES] = {
      &mindmeld__payload__descriptor,
      &mindmeld__header__descriptor,
      &mindmeld__reset__descriptor,
      &mindmeld__create_service_request__descriptor,
      &mindmeld__create_service_response__descriptor,
      &mindmeld__forward_to_service_request__descriptor,
      &mindmeld__forward_to_service_response__descriptor,
      &mindmeld__list_services_response__descriptor,
      &mindmeld__watch_services_response__descriptor,
      &mindmeld__join_request__descriptor,
      &grpc__health__v1__health_check_request__descriptor,
  };
  if (size == 0)
    return 0;
  const ProtobufCMessageDescriptor *type = types[data[0] % TYPES];
  struct rpc_message *m = rpc_message_copy(data + 1, size - 1);
  struct rpc_message *cut =
      m ? rpc_message_cut(m, data + 1, (size - 1) / 2, (size - 1) / 2, size - 1 - (size - 1) / 2) : NULL;
  if (!cut || rpc_message_size(cut) != size - 1)
    abort();
  rpc_message_free(m);
  ProtobufCMessage *parsed = rpc_message_unpack(cut, type);
  rpc_message_free(cut);
  if (!parsed)
    return 0;
  m = rpc_message_pack(parsed);
  protobuf_c_message_free_unpacked(parsed, NULL);
  if (!m)
    abort();
  /* It may be refused: protobuf-c keeps a field of number 0, if it is written long enough. */
  parsed = rpc_message_unpack(m, type);
  if (parsed)
    protobuf_c_message_free_unpacked(parsed, NULL);
  rpc_message_free(m);
  return 0;
}
