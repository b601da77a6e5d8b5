/* What a Join says: who this is, and that it was said now, to this router, in answer to its challenge. */
#include <string.h>

#include "link_internal.h"
#include "proto/identity.h"

struct rpc_message *link_pack_join(const struct link *l, const ProtobufCBinaryData *challenge)
{
  Mindmeld__JoinRequest request = MINDMELD__JOIN_REQUEST__INIT;
  struct identity_claim claim = {.instance = l->identity.instance};
  struct own_identity me = l->identity;
  uint8_t signature[IDENTITY_SIGNATURE_SIZE];

  memcpy(claim.challenge, challenge->data, sizeof claim.challenge);
  memcpy(claim.identity, l->public_key, sizeof claim.identity);
  memcpy(claim.member, l->member, sizeof claim.member);
  identity_sign(&claim, me.seed, signature);
  request.member = (ProtobufCBinaryData){.len = sizeof claim.member, .data = claim.member};
  request.member_key = (ProtobufCBinaryData){.len = sizeof me.member_key, .data = me.member_key};
  request.identity = (ProtobufCBinaryData){.len = sizeof claim.identity, .data = claim.identity};
  request.instance = claim.instance;
  request.challenge = (ProtobufCBinaryData){.len = sizeof claim.challenge, .data = claim.challenge};
  request.signature = (ProtobufCBinaryData){.len = sizeof signature, .data = signature};
  if (me.has_former)
    request.former_key = (ProtobufCBinaryData){.len = sizeof me.former_key, .data = me.former_key};
  struct rpc_message *m = rpc_message_pack(&request.base);
  explicit_bzero(&me, sizeof me);
  return m;
}
