/* The header of a connection: what is packed is read again, and what cannot be is told. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "mindmeld.pb-c.h"
#include "proto/wire/header.h"
#include "proto/wire/payload.h"

#include "runner.h"

static struct header full(void)
{
  struct header h = {.park = true, .has_member = true, .has_member_key = true, .has_connection = true};
  memset(h.token, 't', HEADER_TOKEN_MAX);
  memset(h.service, 's', HEADER_SERVICE_MAX);
  memset(h.member, 1, sizeof h.member);
  memset(h.member_key, 2, sizeof h.member_key);
  memset(h.connection, 3, sizeof h.connection);
  h.limit = h.origin = UINT64_MAX;
  h.hops = UINT32_MAX;
  h.ends.client = h.ends.client_at = (struct end_address){.size = END_ADDRESS_V6, .bytes = {0x20, 1}};
  return h;
}

static bool same(const struct header *a, const struct header *b)
{
  return strcmp(a->token, b->token) == 0 && strcmp(a->service, b->service) == 0 && a->park == b->park &&
         a->has_member == b->has_member && a->has_member_key == b->has_member_key &&
         a->has_connection == b->has_connection && a->limit == b->limit && a->hops == b->hops &&
         a->origin == b->origin && a->epoch == b->epoch && a->established == b->established &&
         a->received == b->received && a->has_attach == b->has_attach &&
         memcmp(a->attach, b->attach, sizeof a->attach) == 0 && memcmp(a->member, b->member, sizeof a->member) == 0 &&
         memcmp(a->member_key, b->member_key, sizeof a->member_key) == 0 &&
         memcmp(a->connection, b->connection, sizeof a->connection) == 0 &&
         memcmp(&a->ends, &b->ends, sizeof a->ends) == 0;
}

static struct header repeated(const struct header *h)
{
  uint8_t bytes[HEADER_SIZE_MAX];
  struct iovec part = {.iov_base = bytes, .iov_len = header_pack(h, bytes)};
  struct payload payload;
  struct header out;
  const char *why = NULL;
  ck_assert_uint_le(part.iov_len, sizeof bytes);
  ck_assert_int_eq(payload_parse(&part, 1, &payload), 0);
  ck_assert(payload.has_header && !payload.has_data && !payload.eof && !payload.has_reset);
  ck_assert_int_eq(header_unpack(bytes + payload.header_at, payload.header_size, &out, &why), 0);
  ck_assert_ptr_null(why);
  return out;
}

START_TEST(packed_and_read)
{
  const struct header all = full(), none = {0};
  struct header h = repeated(&all);
  ck_assert(same(&h, &all));
  h = repeated(&none);
  ck_assert(same(&h, &none));
  /* Each alone. */
  struct header one = {.park = true};
  h = repeated(&one);
  ck_assert(same(&h, &one));
  one = (struct header){.service = "web", .limit = 1};
  h = repeated(&one);
  ck_assert(same(&h, &one));
  one = (struct header){.has_connection = true, .connection = {1}};
  h = repeated(&one);
  ck_assert(same(&h, &one));
}
END_TEST

/* ---- Each field that mindmeld.proto has ---- */

static const struct {
  const char *what;
  struct header h; /* in which only that is set */
} alone[] = {
    {"token", {.token = "t"}},
    {"member", {.has_member = true, .member = {1}}},
    {"member_key", {.has_member_key = true, .member_key = {1}}},
    {"service", {.service = "s"}},
    {"park", {.park = true}},
    {"connection", {.has_connection = true, .connection = {1}}},
    {"limit", {.limit = 300}},
    {"epoch", {.epoch = 300}},
    {"established", {.established = true}},
    {"received", {.received = 300}},
    {"attach", {.has_attach = true, .attach = {1}}},
    {"hops", {.hops = 300}},
    {"origin", {.origin = 300}},
    {"client", {.ends.client = {.size = END_ADDRESS_V4, .bytes = {192, 0, 2, 1, 0, 80}}}},
    {"client_at", {.ends.client_at = {.size = END_ADDRESS_V6, .bytes = {0x20, 1, [17] = 80}}}},
};

/* With one field set, its number is in the first tag of the Header, behind a tag and a length of one byte each. */
START_TEST(each_field_has_its_number)
{
  const ProtobufCFieldDescriptor *field = &mindmeld__header__descriptor.fields[_i];
  size_t row = 0;
  while (row < sizeof alone / sizeof *alone && strcmp(alone[row].what, field->name) != 0)
    row++;
  ck_assert_msg(row < sizeof alone / sizeof *alone,
                "header.c does not know the field %s of mindmeld.proto, or this test does not", field->name);
  uint8_t bytes[HEADER_SIZE_MAX];
  size_t size = header_pack(&alone[row].h, bytes);
  ck_assert_uint_gt(size, 2);
  ck_assert_uint_eq(bytes[2] >> 3, field->id);
  Mindmeld__Payload *p = mindmeld__payload__unpack(NULL, size, bytes);
  ck_assert_ptr_nonnull(p);
  ck_assert_int_eq(p->payload_case, MINDMELD__PAYLOAD__PAYLOAD_HEADER);
  ck_assert_uint_eq(protobuf_c_message_get_packed_size(&p->header->base), size - 2);
  mindmeld__payload__free_unpacked(p, NULL);
  struct header read = repeated(&alone[row].h);
  ck_assert(same(&read, &alone[row].h));
}
END_TEST

/* What is not said to be there is not told, even if it is. */
START_TEST(left_out)
{
  struct header h = full();
  h.has_member_key = false;
  uint8_t bytes[HEADER_SIZE_MAX];
  size_t size = header_pack(&h, bytes);
  ck_assert_ptr_null(memmem(bytes, size, h.member_key, sizeof h.member_key));
  ck_assert_ptr_nonnull(memmem(bytes, size, h.member, sizeof h.member));
  h = repeated(&h);
  ck_assert(h.has_member && !h.has_member_key && h.has_connection);
}
END_TEST

START_TEST(wrong_sizes)
{
  static const struct {
    uint8_t field;
    uint8_t right;
    const char *why;
  } rows[] = {{2, HEADER_MEMBER_SIZE, "a member has 16 bytes"},
              {3, HEADER_MEMBER_KEY_SIZE, "a member's key has 32 bytes"},
              {6, HEADER_CONNECTION_SIZE, "a connection has 16 bytes"},
              {14, END_ADDRESS_V6, "the address of a client has 6 or 18 bytes"},
              {15, END_ADDRESS_V6, "the address of a client has 6 or 18 bytes"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (uint8_t size = 0; size < 100; size++) {
      uint8_t bytes[102] = {(uint8_t)(rows[i].field << 3 | 2), size};
      struct header h;
      const char *why = NULL;
      int error = header_unpack(bytes, (size_t)size + 2, &h, &why);
      bool other = rows[i].right == END_ADDRESS_V6 && size == END_ADDRESS_V4;
      if (size == 0 || size == rows[i].right || other) {
        bool has =
            h.has_member || h.has_member_key || h.has_connection || h.ends.client.size + h.ends.client_at.size == size;
        ck_assert_int_eq(error, 0);
        ck_assert(has || size == 0);
        continue;
      }
      ck_assert_int_eq(error, -EBADMSG);
      ck_assert_str_eq(why, rows[i].why);
    }
  }
}
END_TEST

START_TEST(too_long)
{
  static const struct {
    uint8_t field;
    size_t max;
    const char *why;
  } rows[] = {{1, HEADER_TOKEN_MAX, "the token is too long"}, {4, HEADER_SERVICE_MAX, "at most 63 characters"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t size = rows[i].max - 1; size <= rows[i].max + 1; size++) {
      uint8_t bytes[256] = {(uint8_t)(rows[i].field << 3 | 2), (uint8_t)(size | 0x80), (uint8_t)(size >> 7)};
      memset(bytes + 3, 'x', size);
      struct header h;
      const char *why = NULL;
      int error = header_unpack(bytes, size + 3, &h, &why);
      ck_assert_int_eq(error, size > rows[i].max ? -EBADMSG : 0);
      if (error)
        ck_assert_ptr_nonnull(strstr(why, rows[i].why));
      else
        ck_assert_uint_eq(strlen(rows[i].field == 1 ? h.token : h.service), size);
    }
  }
}
END_TEST

START_TEST(malformed)
{
  struct header h;
  const char *why = NULL;
  ck_assert_int_eq(header_unpack((const uint8_t *)"\xff\xff", 2, &h, &why), -EBADMSG);
  ck_assert_str_eq(why, "that is not a Header");
  const struct header nothing = {0};
  ck_assert(same(&h, &nothing));
  /* Cut anywhere: either malformed, or a field less. */
  const struct header all = full();
  uint8_t bytes[HEADER_SIZE_MAX];
  size_t size = header_pack(&all, bytes);
  for (size_t i = 3; i < size; i++) {
    uint8_t *cut = malloc(i - 3 + 1);
    memcpy(cut, bytes + 3, i - 3);
    int error = header_unpack(cut, i - 3, &h, &why);
    ck_assert(error == 0 || (error == -EBADMSG && why));
    free(cut);
  }
}
END_TEST

/* What later versions say besides is passed over. */
START_TEST(unknown_fields)
{
  static const uint8_t bytes[] = {8 << 3, 5, 9 << 3 | 2, 3, 'n', 'e', 'w', 5 << 3, 1};
  struct header h;
  const char *why;
  ck_assert_int_eq(header_unpack(bytes, sizeof bytes, &h, &why), 0);
  ck_assert(h.park);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("header");
  TCase *tcase = tcase_create("header");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, packed_and_read);
  tcase_add_loop_test(tcase, each_field_has_its_number, 0, (int)mindmeld__header__descriptor.n_fields);
  tcase_add_test(tcase, left_out);
  tcase_add_test(tcase, wrong_sizes);
  tcase_add_test(tcase, too_long);
  tcase_add_test(tcase, malformed);
  tcase_add_test(tcase, unknown_fields);
  return suite;
}
