/* Payload by hand against protobuf-c, whole and cut at every place, and what is malformed. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "mindmeld.pb-c.h"
#include "proto/wire/header.h"
#include "proto/wire/payload.h"

#include "runner.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

struct row {
  const uint8_t *bytes;
  size_t size;
  struct payload want;
};

static const struct row good[] = {
    {BYTES(""), {0}},
    {BYTES("\x12\x03"
           "abc"),
     {.has_data = true, .data_at = 2, .data_size = 3}},
    {BYTES("\x12\x00"), {.has_data = true, .data_at = 2}},
    {BYTES("\x18\x01\x12\x01"
           "a"),
     {.eof = true, .has_data = true, .data_at = 4, .data_size = 1}},
    {BYTES("\x0a\x02xy"), {.has_header = true, .header_at = 2, .header_size = 2}},
    {BYTES("\x22\x02xy"), {.has_reset = true, .reset_at = 2, .reset_size = 2}},
    /* the last one counts, also of a oneof */
    {BYTES("\x12\x01"
           "a\x12\x02"
           "bc"),
     {.has_data = true, .data_at = 5, .data_size = 2}},
    {BYTES("\x0a\x01h\x12\x01"
           "d"),
     {.has_data = true, .header_at = 2, .header_size = 1, .data_at = 5, .data_size = 1}},
    {BYTES("\x12\x01"
           "d\x0a\x01h"),
     {.has_header = true, .header_at = 5, .header_size = 1, .data_at = 2, .data_size = 1}},
    {BYTES("\x18\x01\x18\x00"), {0}},
    {BYTES("\x40\x85\x80\x10\x12\x01"
           "y"),
     {.has_window = true, .window = 262149, .has_data = true, .data_at = 6, .data_size = 1}},
    {BYTES("\x42\x01\x05"), {0}},                                           /* not a number */
    {BYTES("\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), {.eof = true}}, /* 1 << 63 */
    /* longer than need be */
    {BYTES("\x92\x00\x81\x80\x80\x00z"), {.has_data = true, .data_at = 6, .data_size = 1}},
    /* unknown fields, and known numbers of another type */
    {BYTES("\x28\x96\x01\x31"
           "12345678\x3d"
           "1234\x42\x01x\x12\x01y"),
     {.has_data = true, .data_at = 22, .data_size = 1}},
    {BYTES("\x10\x05\x1a\x01x\x0d"
           "1234"),
     {0}},
    {BYTES("\xfa\xff\xff\xff\x0f\x01x"), {0}},
    /* acks: empty, whole, before data; another type is not one */
    {BYTES("\x2a\x00"), {.has_ack = true}},
    {BYTES("\x2a\x0b\x08\x80\x02\x10\x03\x18\x04\x20\x05\x28\x06"),
     {.has_ack = true, .ack = {.taken = 256, .messages = 3, .held_us = 4, .queued = 5, .limit = 6}}},
    {BYTES("\x2a\x02\x08\x07\x18\x01\x12\x01z"),
     {.has_ack = true, .ack = {.taken = 7}, .eof = true, .has_data = true, .data_at = 8, .data_size = 1}},
    {BYTES("\x28\x01"), {0}},
    {BYTES("\x2a\x04\x08\x07\x08\x08"), {.has_ack = true, .ack = {.taken = 8}}},
    /* within: unknown fields of each type, known numbers of another, more than 32 bits where 32 are read */
    {BYTES("\x2a\x1e\x38\x96\x01\x31"
           "12345678\x3d"
           "1234\x42\x01x\x0a\x01y\x08\x06\x15"
           "1234"),
     {.has_ack = true, .ack = {.taken = 6}}},
    {BYTES("\x2a\x06\x18\x83\x80\x80\x80\x10"), {.has_ack = true, .ack = {.held_us = 3}}},
};

static const struct row bad[] = {
    {BYTES("\x12"), {0}},
    {BYTES("\x12\x04"
           "abc"),
     {0}},
    {BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), {0}},     /* a length of all bits */
    {BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), {0}},     /* beyond 64 bits */
    {BYTES("\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), {0}}, /* eleven bytes */
    {BYTES("\x18"), {0}},
    {BYTES("\x18\x80"), {0}},
    {BYTES("\x31"
           "1234567"),
     {0}},
    {BYTES("\x3d"
           "123"),
     {0}},
    {BYTES("\x13\x14"), {0}}, /* a group */
    {BYTES("\x14"), {0}},
    {BYTES("\x16"), {0}},
    {BYTES("\x17"), {0}},
    {BYTES("\x02\x00"), {0}},                     /* field 0 */
    {BYTES("\x80\x80\x80\x80\x10\x00"), {0}},     /* a tag beyond 32 bits */
    {BYTES("\x82\x80\x80\x80\x80\x01\x00"), {0}}, /* and longer */
    {BYTES("\x12\x01"
           "a\x00"),
     {0}},
    {BYTES("\x2a\x01"), {0}},             /* an ack beyond the end */
    {BYTES("\x2a\x01\x08\x01"), {0}},     /* a number beyond the end of its ack */
    {BYTES("\x2a\x02\x08\x80\x01"), {0}}, /* and one that goes on there */
    {BYTES("\x2a\x02\x42\x01x"), {0}},    /* and bytes */
    {BYTES("\x2a\x02\x0b\x0c"), {0}},     /* a group within */
    {BYTES("\x2a\x00\x2a\x01\x08"), {0}}, /* the second one */
};

static int parse_cut(const struct row *row, size_t first, size_t second, struct payload *out)
{
  uint8_t *bytes = malloc(row->size + 1);
  memcpy(bytes, row->bytes, row->size);
  struct iovec parts[5] = {
      {bytes, 0}, {bytes, first}, {bytes + first, second - first}, {bytes, 0}, {bytes + second, row->size - second}};
  int result = payload_parse(parts, 5, out);
  free(bytes);
  return result;
}

static void check_same(const struct payload *p, const struct payload *q)
{
  ck_assert(p->has_data == q->has_data && p->has_header == q->has_header && p->has_reset == q->has_reset);
  ck_assert(p->has_refused == q->has_refused && p->has_offset == q->has_offset && p->offset == q->offset);
  ck_assert_int_eq(p->eof, q->eof);
  ck_assert_uint_eq(p->data_at, q->data_at);
  ck_assert_uint_eq(p->data_size, q->data_size);
  ck_assert_uint_eq(p->header_at, q->header_at);
  ck_assert_uint_eq(p->header_size, q->header_size);
  ck_assert_uint_eq(p->reset_at, q->reset_at);
  ck_assert_uint_eq(p->reset_size, q->reset_size);
  ck_assert_int_eq(p->has_ack, q->has_ack);
  ck_assert_uint_eq(p->ack.taken, q->ack.taken);
  ck_assert_uint_eq(p->ack.messages, q->ack.messages);
  ck_assert_uint_eq(p->ack.held_us, q->ack.held_us);
  ck_assert_uint_eq(p->ack.queued, q->ack.queued);
  ck_assert_uint_eq(p->ack.limit, q->ack.limit);
  ck_assert(p->has_window == q->has_window && p->window == q->window);
}

/* What protobuf-c says of the ack, unless it refuses what others pass over. */
static void check_ack(const struct row *row)
{
  Mindmeld__Payload *m = mindmeld__payload__unpack(NULL, row->size, row->bytes);
  if (m == NULL)
    return;
  ck_assert_int_eq(m->ack != NULL, row->want.has_ack);
  if (m->ack != NULL) {
    ck_assert_uint_eq(m->ack->taken, row->want.ack.taken);
    ck_assert_uint_eq(m->ack->messages, row->want.ack.messages);
    ck_assert_uint_eq(m->ack->held_us, row->want.ack.held_us);
    ck_assert_uint_eq(m->ack->queued, row->want.ack.queued);
  }
  mindmeld__payload__free_unpacked(m, NULL);
}

static void check_row(const struct row *row, int want)
{
  for (size_t first = 0; first <= row->size; first++)
    for (size_t second = first; second <= row->size; second++) {
      struct payload p;
      ck_assert_int_eq(parse_cut(row, first, second, &p), want);
      if (want == 0)
        check_same(&p, &row->want);
    }
}

START_TEST(well_formed)
{
  check_row(&good[_i], 0);
  check_ack(&good[_i]);
}
END_TEST

START_TEST(malformed)
{
  check_row(&bad[_i], -EBADMSG);
}
END_TEST

/* What follows a cut is not in memory: either it is the rest of data, and all is found as if it were there, or it
 * cannot be read. */
START_TEST(what_is_elsewhere_may_only_be_data)
{
  const struct row *row = &good[_i];
  for (size_t cut = 0; cut < row->size; cut++) {
    struct iovec parts[] = {{.iov_base = (void *)(uintptr_t)row->bytes, .iov_len = cut}, {.iov_len = row->size - cut}};
    bool is_data = row->want.has_data && row->want.data_at <= cut;
    is_data = is_data && row->want.data_at + row->want.data_size == row->size;
    struct payload p;
    ck_assert_int_eq(payload_parse(parts, 2, &p), is_data ? 0 : -EBADMSG);
    if (is_data)
      check_same(&p, &row->want);
  }
}
END_TEST

START_TEST(no_parts)
{
  struct payload p;
  ck_assert_int_eq(payload_parse(NULL, 0, &p), 0);
  ck_assert(!p.has_data && !p.has_header && !p.has_reset && !p.eof);
}
END_TEST

START_TEST(copies_across_cuts)
{
  char text[] = "0123456789", out[11];
  struct iovec parts[] = {{text, 3}, {text, 0}, {text + 3, 4}, {text + 7, 3}};
  for (size_t at = 0; at <= 10; at++)
    for (size_t size = 0; size <= 10 - at; size++) {
      memset(out, '#', sizeof out);
      payload_copy(parts, 4, at, size, out);
      ck_assert_mem_eq(out, text + at, size);
      ck_assert_int_eq(out[size], '#');
    }
}
END_TEST

START_TEST(prefix_is_what_protobuf_writes)
{
  static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, 1 << 20, (1 << 21) - 1};
  uint8_t prefix[PAYLOAD_PREFIX_MAX];
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int eof = 0; eof <= 1; eof++) {
      size_t size = sizes[i];
      size_t length = payload_prefix(prefix, size, eof);
      uint8_t *message = calloc(1, length + size + 1);
      memcpy(message, prefix, length);
      Mindmeld__Payload *p = mindmeld__payload__unpack(NULL, length + size, message);
      ck_assert_ptr_nonnull(p);
      ck_assert_int_eq(p->eof, eof);
      ck_assert_int_eq(p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA, size > 0);
      if (size > 0)
        ck_assert_uint_eq(p->data.len, size);
      mindmeld__payload__free_unpacked(p, NULL);
      struct iovec part = {message, length + size};
      struct payload found;
      ck_assert_int_eq(payload_parse(&part, 1, &found), 0);
      ck_assert_int_eq(found.eof, eof);
      ck_assert_uint_eq(found.data_size, size);
      free(message);
    }
  ck_assert_uint_eq(payload_prefix(prefix, SIZE_MAX, true), 13);
}
END_TEST

static const uint64_t extremes[] = {0, 1, 127, 128, UINT32_MAX, UINT64_C(1) << 63, UINT64_MAX};

enum { EXTREMES = sizeof extremes / sizeof *extremes };

/* As protobuf-c writes it, byte by byte, and read back by both. */
START_TEST(ack_is_what_protobuf_writes)
{
  size_t longest = 0;
  for (int taken = 0; taken < EXTREMES; taken++)
    for (int messages = 0; messages < EXTREMES; messages++)
      for (int held = 0; held < EXTREMES; held++)
        for (int queued = 0; queued < EXTREMES; queued++) {
          struct ack ack = {extremes[taken], extremes[messages], extremes[queued], (uint32_t)extremes[held],
                            extremes[EXTREMES - 1 - taken]};
          Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
          Mindmeld__Ack same = MINDMELD__ACK__INIT;
          uint8_t want[2 * PAYLOAD_ACK_MAX], got[PAYLOAD_ACK_MAX + PAYLOAD_PREFIX_MAX + 1];
          same.taken = ack.taken;
          same.messages = ack.messages;
          same.held_us = ack.held_us;
          same.queued = ack.queued;
          same.limit = ack.limit;
          p.ack = &same;
          size_t size = payload_ack(got, &ack);
          ck_assert_uint_le(size, PAYLOAD_ACK_MAX);
          ck_assert_uint_eq(size, mindmeld__payload__pack(&p, want));
          ck_assert_mem_eq(got, want, size);
          longest = size > longest ? size : longest;

          size += payload_prefix(got + size, 1, true) + 1;
          got[size - 1] = 'x';
          struct row row = {got, size, {.has_ack = true, .ack = ack, .eof = true, .has_data = true}};
          row.want.data_at = size - 1;
          row.want.data_size = 1;
          struct payload found;
          ck_assert_int_eq(parse_cut(&row, size / 3, size / 2, &found), 0);
          check_same(&found, &row.want);
        }
  ck_assert_uint_eq(longest, 2 + 3 * 11 + 2 + 6);
}
END_TEST

/* Of two acks, as protobuf would have it, which protobuf-c does not do. */
START_TEST(acks_merge)
{
  const struct row row = {BYTES("\x2a\x04\x08\x07\x10\x02\x2a\x02\x08\x09"),
                          {.has_ack = true, .ack = {.taken = 9, .messages = 2}}};
  check_row(&row, 0);
}
END_TEST

/* An ack with fields that we do not know may have up to 256 bytes. */
START_TEST(ack_too_long)
{
  uint8_t bytes[300] = {0x2a};
  for (size_t size = 130; size <= 270; size++) {
    struct payload found;
    bytes[1] = (uint8_t)(0x80 | (size & 0x7f));
    bytes[2] = (uint8_t)(size >> 7);
    bytes[3] = 0x42; /* what fills it */
    bytes[4] = (uint8_t)(0x80 | ((size - 5) & 0x7f));
    bytes[5] = (uint8_t)((size - 5) >> 7);
    bytes[3 + size - 2] = 0x08;
    bytes[3 + size - 1] = 9;
    struct row row = {bytes, 3 + size, {0}};
    ck_assert_int_eq(parse_cut(&row, size / 2, size, &found), size <= 256 ? 0 : -EBADMSG);
    if (size <= 256)
      ck_assert(found.has_ack && found.ack.taken == 9);
    bytes[3 + size - 2] = bytes[3 + size - 1] = 0;
  }
}
END_TEST

/* ---- Each field that mindmeld.proto has: numbers by hand against those that are generated ---- */

static char a_code[] = "c";
static uint8_t a_byte[] = {'x'};
static Mindmeld__Header a_header = {.base = PROTOBUF_C_MESSAGE_INIT(&mindmeld__header__descriptor), .park = true};
static Mindmeld__Reset a_word = {.base = PROTOBUF_C_MESSAGE_INIT(&mindmeld__reset__descriptor), .code = a_code};
static Mindmeld__Ack an_ack = {.base = PROTOBUF_C_MESSAGE_INIT(&mindmeld__ack__descriptor), .taken = 300};

static size_t write_header(uint8_t *out)
{
  const struct header h = {.park = true};
  return header_pack(&h, out);
}

static size_t write_data(uint8_t *out)
{
  size_t size = payload_prefix(out, sizeof a_byte, false);
  memcpy(out + size, a_byte, sizeof a_byte);
  return size + sizeof a_byte;
}

static size_t write_eof(uint8_t *out)
{
  return payload_prefix(out, 0, true);
}

static size_t write_ack(uint8_t *out)
{
  const struct ack ack = {.taken = 300};
  return payload_ack(out, &ack);
}

static size_t write_offset(uint8_t *out)
{
  return payload_offset(out, 301);
}

static size_t write_window(uint8_t *out)
{
  return payload_window(out, 302);
}

#define PAYLOAD_WITH(...)                                                                                              \
  {                                                                                                                    \
    .base = PROTOBUF_C_MESSAGE_INIT(&mindmeld__payload__descriptor), __VA_ARGS__                                       \
  }

/* `what` is the only field of the message. Of what lies in the message, the place is told when it is packed. */
static const struct tie {
  const char *what;
  Mindmeld__Payload message;
  struct payload found;
  size_t (*write)(uint8_t *out); /* NULL: protobuf-c writes it */
} ties[] = {
    {"header",
     PAYLOAD_WITH(.payload_case = MINDMELD__PAYLOAD__PAYLOAD_HEADER, .header = &a_header),
     {.has_header = true},
     write_header},
    {"data",
     PAYLOAD_WITH(.payload_case = MINDMELD__PAYLOAD__PAYLOAD_DATA, .data = {sizeof a_byte, a_byte}),
     {.has_data = true},
     write_data},
    {"eof", PAYLOAD_WITH(.eof = true), {.eof = true}, write_eof},
    {"reset", PAYLOAD_WITH(.reset = &a_word), {.has_reset = true}, NULL},
    {"ack", PAYLOAD_WITH(.ack = &an_ack), {.has_ack = true, .ack = {.taken = 300}}, write_ack},
    {"offset", PAYLOAD_WITH(.offset = 301), {.has_offset = true, .offset = 301}, write_offset},
    {"refused", PAYLOAD_WITH(.refused = &a_word), {.has_refused = true}, NULL},
    {"window", PAYLOAD_WITH(.window = 302), {.has_window = true, .window = 302}, write_window},
};

static const struct tie *tie_of(const ProtobufCFieldDescriptor *field)
{
  for (size_t i = 0; i < sizeof ties / sizeof *ties; i++) {
    if (strcmp(ties[i].what, field->name) == 0)
      return &ties[i];
  }
  ck_abort_msg("payload.c does not know the field %s of mindmeld.proto, or this test does not", field->name);
}

/* Where the one field begins and ends, behind its tag and its length. */
static struct payload expected(const struct tie *t, size_t size)
{
  struct payload want = t->found;
  if (want.has_header)
    want.header_at = 2, want.header_size = size - 2;
  if (want.has_data)
    want.data_at = 2, want.data_size = size - 2;
  if (want.has_reset || want.has_refused)
    want.reset_at = 2, want.reset_size = size - 2;
  return want;
}

START_TEST(each_field_has_its_number)
{
  const struct tie *t = tie_of(&mindmeld__payload__descriptor.fields[_i]);
  uint8_t packed[HEADER_SIZE_MAX], written[HEADER_SIZE_MAX];
  size_t size = mindmeld__payload__pack(&t->message, packed);
  struct iovec part = {packed, size};
  struct payload found, want = expected(t, size);
  ck_assert_int_eq(payload_parse(&part, 1, &found), 0);
  check_same(&found, &want);
  if (t->write == NULL)
    return;
  ck_assert_uint_eq(t->write(written), size);
  ck_assert_mem_eq(written, packed, size);
}
END_TEST

/* In both, one field after the other has a value. */
START_TEST(each_field_of_an_ack_has_its_number)
{
  static const struct {
    const char *what;
    struct ack ack;
  } rows[] = {{"taken", {.taken = 300}},
              {"messages", {.messages = 300}},
              {"held_us", {.held_us = 300}},
              {"queued", {.queued = 300}},
              {"limit", {.limit = 300}}};
  const ProtobufCFieldDescriptor *field = &mindmeld__ack__descriptor.fields[_i];
  size_t row = 0;
  while (row < sizeof rows / sizeof *rows && strcmp(rows[row].what, field->name) != 0)
    row++;
  ck_assert_msg(row < sizeof rows / sizeof *rows,
                "payload.c does not know the field %s of an ack, or this test does not", field->name);
  Mindmeld__Ack ack = MINDMELD__ACK__INIT;
  Mindmeld__Payload message = PAYLOAD_WITH(.ack = &ack);
  if (field->type == PROTOBUF_C_TYPE_UINT32)
    *(uint32_t *)((char *)&ack + field->offset) = 300;
  else
    *(uint64_t *)(void *)((char *)&ack + field->offset) = 300;
  uint8_t packed[PAYLOAD_ACK_MAX], written[PAYLOAD_ACK_MAX];
  size_t size = mindmeld__payload__pack(&message, packed);
  struct iovec part = {packed, size};
  struct payload found, want = {.has_ack = true, .ack = rows[row].ack};
  ck_assert_int_eq(payload_parse(&part, 1, &found), 0);
  check_same(&found, &want);
  ck_assert_uint_eq(payload_ack(written, &rows[row].ack), size);
  ck_assert_mem_eq(written, packed, size);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("payload");
  TCase *tests = tcase_create("payload");
  tcase_add_loop_test(tests, well_formed, 0, sizeof good / sizeof *good);
  tcase_add_loop_test(tests, malformed, 0, sizeof bad / sizeof *bad);
  tcase_add_loop_test(tests, what_is_elsewhere_may_only_be_data, 0, sizeof good / sizeof *good);
  tcase_add_test(tests, no_parts);
  tcase_add_test(tests, copies_across_cuts);
  tcase_add_test(tests, prefix_is_what_protobuf_writes);
  tcase_add_test(tests, ack_is_what_protobuf_writes);
  tcase_add_test(tests, acks_merge);
  tcase_add_test(tests, ack_too_long);
  tcase_add_loop_test(tests, each_field_has_its_number, 0, (int)mindmeld__payload__descriptor.n_fields);
  tcase_add_loop_test(tests, each_field_of_an_ack_has_its_number, 0, (int)mindmeld__ack__descriptor.n_fields);
  suite_add_tcase(suite, tests);
  return suite;
}
