/* What comes on a raw stream. As bytes of a stranger nothing of it is taken for a preamble or a word. As what a router
 * or a client with the key has sealed, it is taken or not, and what is taken is sealed again as the same.
 */
#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/raw.h"
#include "proto/wire/raw_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t watch[RAW_WATCH_SIZE];
static const struct raw_place place = {.counter = 1};

static void check(bool good)
{
  if (!good)
    abort();
}

static void as_preamble(const struct raw_keys *keys, const uint8_t *data, size_t size)
{
  uint8_t first[RAW_FIRST_MAX];
  struct raw_head head;
  if (size < RAW_HEAD_SIZE || raw_head_read(data, &head) != 0)
    return;
  check(raw_can_begin(data, size) && head.counter > 0);
  check(head.sealed >= RAW_TAG_SIZE && head.sealed <= RAW_PREAMBLE_MAX - RAW_HEAD_SIZE);
  if (size - RAW_HEAD_SIZE >= head.sealed)
    check(raw_preamble_open(keys, data, data + RAW_HEAD_SIZE, first) < 0);
}

/* As the router sorts who has come: however little is there, what more of it says later is not contradicted. */
static void as_beginning(const uint8_t *data, size_t size)
{
  struct raw_head head;
  int whole = raw_preamble_size(data, size);
  for (size_t known = 0; known < size && known < RAW_HEAD_SIZE; known++) {
    int of_part = raw_preamble_size(data, known);
    check(of_part == 0 || (of_part == -EBADMSG && whole == -EBADMSG));
  }
  if (size >= RAW_HEAD_SIZE)
    check(raw_head_read(data, &head) == 0 ? whole == (int)(RAW_HEAD_SIZE + head.sealed) : whole == -EBADMSG);
  else
    check(whole == (raw_can_begin(data, size) ? 0 : -EBADMSG));
}

static void as_word(const struct raw_keys *keys, const uint8_t *data, size_t size)
{
  struct raw_word word;
  if (size < RAW_LENGTH_SIZE)
    return;
  int sealed = raw_word_length(data), frame = raw_frame_read(data);
  check((sealed > 0) + (frame > 0) <= 1 && sealed <= RAW_WORD_SEALED_MAX && frame <= RAW_FRAME_MAX);
  if (sealed > 0 && size - RAW_LENGTH_SIZE >= (size_t)sealed)
    check(raw_word_open(keys, &place, data, &word) != 0);
}

/* As raw.c seals a word, but whatever is in it. */
static void seal(uint8_t *out, const struct raw_keys *keys, const uint8_t *data, size_t size)
{
  static const uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES] = {[7] = 1};
  size_t sealed = size + RAW_TAG_SIZE;
  out[0] = 0x80;
  out[1] = (uint8_t)(sealed >> 16);
  out[2] = (uint8_t)(sealed >> 8);
  out[3] = (uint8_t)sealed;
  crypto_aead_chacha20poly1305_ietf_encrypt(out + RAW_LENGTH_SIZE, NULL, data, size, out, RAW_LENGTH_SIZE, NULL, nonce,
                                            keys->from_router);
}

static void as_sealed_word(const struct raw_keys *keys, const uint8_t *data, size_t size)
{
  uint8_t *bytes = malloc(RAW_LENGTH_SIZE + size + RAW_TAG_SIZE);
  check(bytes != NULL);
  seal(bytes, keys, data, size);
  struct raw_word word, again;
  if (raw_word_open(keys, &place, bytes, &word) == 0) {
    uint8_t written[RAW_WORD_MAX];
    check(word.kind == RAW_WORD_STATUS || word.kind == RAW_WORD_FIRST);
    if (word.kind == RAW_WORD_STATUS)
      raw_word_seal_status(written, keys, &place, word.status, word.text);
    else
      raw_word_seal_first(written, keys, &place, word.first, word.first_size);
    check(raw_word_open(keys, &place, written, &again) == 0);
    check(again.kind == word.kind && again.status == word.status && strcmp(again.text, word.text) == 0);
    check(again.first_size == word.first_size && memcmp(again.first, word.first, word.first_size) == 0);
  }
  free(bytes);
}

static void as_sealed_preamble(const struct raw_keys *keys, const uint8_t *data, size_t size)
{
  uint8_t bytes[RAW_PREAMBLE_MAX], first[RAW_FIRST_MAX];
  size_t whole = raw_preamble_seal(bytes, keys, watch, 1, data, size);
  check(whole <= sizeof bytes && raw_preamble_open(keys, bytes, bytes + RAW_HEAD_SIZE, first) == (int)size);
  check(size == 0 || memcmp(first, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const uint8_t secret[RAW_SECRET_SIZE];
  struct raw_keys keys;
  raw_keys_derive(&keys, secret);
  as_beginning(data, size);
  as_preamble(&keys, data, size);
  as_word(&keys, data, size);
  if (size <= RAW_WORD_MAX)
    as_sealed_word(&keys, data, size);
  if (size <= RAW_FIRST_MAX)
    as_sealed_preamble(&keys, data, size);
  return 0;
}
