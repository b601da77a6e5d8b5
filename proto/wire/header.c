/* protobuf-c does the reading and writing; what it makes along the way may hold keys, and is wiped. */
#include "header.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <string.h>

static ProtobufCBinaryData bytes_if(bool has, const uint8_t *bytes, size_t size)
{
  /* protobuf-c only reads what it packs. */
  return has ? (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)bytes} : (ProtobufCBinaryData){0};
}

size_t header_pack(const struct header *h, uint8_t out[HEADER_SIZE_MAX])
{
  Mindmeld__Header header = MINDMELD__HEADER__INIT;
  header.token = (char *)(uintptr_t)h->token;
  header.service = (char *)(uintptr_t)h->service;
  header.park = h->park;
  header.member = bytes_if(h->has_member, h->member, sizeof h->member);
  header.member_key = bytes_if(h->has_member_key, h->member_key, sizeof h->member_key);
  header.connection = bytes_if(h->has_connection, h->connection, sizeof h->connection);
  header.attach = bytes_if(h->has_attach, h->attach, sizeof h->attach);
  header.limit = h->limit;
  header.epoch = h->epoch;
  header.established = h->established;
  header.received = h->received;
  header.hops = h->hops;
  header.origin = h->origin;
  header.client = bytes_if(true, h->ends.client.bytes, h->ends.client.size);
  header.client_at = bytes_if(true, h->ends.client_at.bytes, h->ends.client_at.size);
  Mindmeld__Payload payload = MINDMELD__PAYLOAD__INIT;
  payload.payload_case = MINDMELD__PAYLOAD__PAYLOAD_HEADER;
  payload.header = &header;
  return mindmeld__payload__pack(&payload, out);
}

/* Either nothing, or exactly as much as there must be. */
static bool take_bytes(const ProtobufCBinaryData *from, uint8_t *out, size_t size, bool *has)
{
  *has = from->len > 0;
  if (from->len == size)
    memcpy(out, from->data, size);
  return from->len == 0 || from->len == size;
}

static bool take_end(const ProtobufCBinaryData *from, struct end_address *out)
{
  if (from->len != 0 && from->len != END_ADDRESS_V4 && from->len != END_ADDRESS_V6)
    return false;
  out->size = (uint8_t)from->len;
  if (from->len > 0)
    memcpy(out->bytes, from->data, from->len);
  return true;
}

static bool take_text(const char *from, char *out, size_t max)
{
  size_t size = strlen(from);
  if (size > max)
    return false;
  memcpy(out, from, size + 1);
  return true;
}

/* NULL, or what is wrong. */
static const char *take(const Mindmeld__Header *from, struct header *out)
{
  out->park = from->park;
  out->limit = from->limit;
  out->epoch = from->epoch;
  out->established = from->established;
  out->received = from->received;
  out->hops = from->hops;
  out->origin = from->origin;
  if (!take_text(from->token, out->token, HEADER_TOKEN_MAX))
    return "the token is too long";
  if (!take_text(from->service, out->service, HEADER_SERVICE_MAX))
    return "a service's name has at most 63 characters";
  if (!take_bytes(&from->member, out->member, sizeof out->member, &out->has_member))
    return "a member has 16 bytes";
  if (!take_bytes(&from->member_key, out->member_key, sizeof out->member_key, &out->has_member_key))
    return "a member's key has 32 bytes";
  if (!take_bytes(&from->connection, out->connection, sizeof out->connection, &out->has_connection))
    return "a connection has 16 bytes";
  if (!take_bytes(&from->attach, out->attach, sizeof out->attach, &out->has_attach))
    return "a member to attach to has 16 bytes";
  if (!take_end(&from->client, &out->ends.client) || !take_end(&from->client_at, &out->ends.client_at))
    return "the address of a client has 6 or 18 bytes";
  return NULL;
}

int header_unpack(const uint8_t *bytes, size_t size, struct header *out, const char **why)
{
  memset(out, 0, sizeof *out);
  /* It does not tell when memory was short. */
  Mindmeld__Header *h = mindmeld__header__unpack(NULL, size, bytes);
  *why = h ? take(h, out) : "that is not a Header";
  if (h) {
    explicit_bzero(h->token, strlen(h->token));
    if (h->member_key.len > 0)
      explicit_bzero(h->member_key.data, h->member_key.len);
    mindmeld__header__free_unpacked(h, NULL);
  }
  if (!*why)
    return 0;
  explicit_bzero(out, sizeof *out);
  return -EBADMSG;
}
