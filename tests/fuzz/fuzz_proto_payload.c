/* Payload by hand: the first byte says where it is cut; every field lies inside, the cut does not matter, and what
 * protobuf-c takes is taken and found at the same place. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "mindmeld.pb-c.h"
#include "proto/wire/payload.h"
#include "proto/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_acks(const struct payload *p, const struct payload *q)
{
  return p->has_ack == q->has_ack && p->ack.taken == q->ack.taken && p->ack.messages == q->ack.messages &&
         p->ack.held_us == q->ack.held_us && p->ack.queued == q->ack.queued;
}

static bool same_fields(const struct payload *p, const struct payload *q)
{
  return p->has_data == q->has_data && p->has_header == q->has_header && p->has_reset == q->has_reset &&
         p->eof == q->eof && p->data_at == q->data_at && p->data_size == q->data_size && p->header_at == q->header_at &&
         p->header_size == q->header_size && p->reset_at == q->reset_at && p->reset_size == q->reset_size &&
         same_acks(p, q);
}

static void check_inside(size_t at, size_t length, size_t size)
{
  if (at > size || length > size - at)
    abort();
}

/* Several are merged, which protobuf-c does not do. */
static int acks_in(const uint8_t *bytes, size_t size)
{
  struct iovec part = {(void *)(uintptr_t)bytes, size};
  struct wire w = wire_open(&part, 1);
  struct wire_field field;
  int count = 0;
  while (wire_next(&w, &field) > 0)
    count += field.number == 5;
  return count;
}

/* But for eof: protobuf-c takes a number of any size for a bool, where others pass over it. */
static void check_same(const struct payload *p, const uint8_t *bytes, size_t size)
{
  Mindmeld__Payload *m = mindmeld__payload__unpack(NULL, size, bytes);
  if (!m)
    return;
  if ((m->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA) != p->has_data ||
      (m->payload_case == MINDMELD__PAYLOAD__PAYLOAD_HEADER) != p->has_header)
    abort();
  if (p->has_data && (m->data.len != p->data_size ||
                      (p->data_size > 0 && memcmp(m->data.data, bytes + p->data_at, p->data_size) != 0)))
    abort();
  const Mindmeld__Ack *ack = m->ack;
  if ((ack != NULL) != p->has_ack)
    abort();
  if (ack != NULL && acks_in(bytes, size) == 1 &&
      (ack->taken != p->ack.taken || ack->messages != p->ack.messages || ack->held_us != p->ack.held_us ||
       ack->queued != p->ack.queued))
    abort();
  mindmeld__payload__free_unpacked(m, NULL);
}

/* What was read is written so that it is read again. */
static void check_written(const struct payload *p)
{
  uint8_t bytes[PAYLOAD_ACK_MAX];
  struct iovec part = {bytes, payload_ack(bytes, &p->ack)};
  struct payload again;
  if (part.iov_len > sizeof bytes || payload_parse(&part, 1, &again) != 0 || !again.has_ack)
    abort();
  again.has_ack = p->has_ack;
  if (!same_acks(p, &again))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0)
    return 0;
  size_t cut = data[0];
  data++;
  size--;
  cut = cut < size ? cut : size;
  struct iovec whole = {(void *)(uintptr_t)data, size};
  struct iovec parts[] = {{(void *)(uintptr_t)data, cut}, {NULL, 0}, {(void *)(uintptr_t)(data + cut), size - cut}};
  struct payload p, q;
  int result = payload_parse(&whole, 1, &p);
  if (payload_parse(parts, 3, &q) != result || !same_fields(&p, &q))
    abort();
  check_inside(p.data_at, p.data_size, size);
  check_inside(p.header_at, p.header_size, size);
  check_inside(p.reset_at, p.reset_size, size);
  if (result == 0)
    check_same(&p, data, size);
  check_written(&p);
  uint8_t *copy = malloc(size + 1);
  if (copy)
    payload_copy(parts, 3, cut / 2, size - cut / 2, copy);
  if (copy && memcmp(copy, data + cut / 2, size - cut / 2) != 0)
    abort();
  free(copy);
  return 0;
}
