/* What a Join says: who this is, and that it was said now, to this router, in answer to its challenge. And what its
 * answer says. */
#include <string.h>

#include "link_internal.h"

struct rpc_message *link_pack_join(struct link *l, const ProtobufCBinaryData *challenge)
{
  Mindmeld__JoinRequest request = MINDMELD__JOIN_REQUEST__INIT;
  struct identity_claim claim = {.instance = l->instance};
  uint8_t signature[IDENTITY_SIGNATURE_SIZE];

  memcpy(claim.challenge, challenge->data, sizeof claim.challenge);
  memcpy(claim.identity, l->public_key, sizeof claim.identity);
  memcpy(claim.member, l->member, sizeof claim.member);
  identity_sign(&claim, l->seed, signature);
  request.member = (ProtobufCBinaryData){.len = sizeof claim.member, .data = claim.member};
  request.member_key = (ProtobufCBinaryData){.len = sizeof l->member_key, .data = l->member_key};
  request.identity = (ProtobufCBinaryData){.len = sizeof claim.identity, .data = claim.identity};
  request.instance = claim.instance;
  request.challenge = (ProtobufCBinaryData){.len = sizeof claim.challenge, .data = claim.challenge};
  request.signature = (ProtobufCBinaryData){.len = sizeof signature, .data = signature};
  if (l->has_former)
    request.former_key = (ProtobufCBinaryData){.len = sizeof l->former_key, .data = l->former_key};
  return rpc_message_pack(&request.base);
}

static void forget(Mindmeld__WatchServicesResponse *first, const char *name)
{
  for (size_t i = 0; i < first->n_services; i++) {
    if (strcmp(first->services[i]->name, name) == 0) {
      mindmeld__service__free_unpacked(first->services[i], NULL);
      first->services[i--] = first->services[--first->n_services];
    }
  }
}

void link_forget_removed(Mindmeld__WatchServicesResponse *first, const struct rpc_message *answer)
{
  Mindmeld__JoinResponse *response =
      (Mindmeld__JoinResponse *)rpc_message_unpack(answer, &mindmeld__join_response__descriptor);

  for (size_t i = 0; response != NULL && i < response->n_removed; i++)
    forget(first, response->removed[i]);
  if (response != NULL)
    mindmeld__join_response__free_unpacked(response, NULL);
}
