/* ChaCha20-Poly1305 (IETF) under two keys, one for each direction, so that a nonce needs no direction in it. A
 * preamble's nonce is its counter; a word's is the counter of the preamble that it answers, and its place among those
 * words.
 */
#include "raw.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
  SIZE_AT = RAW_MAGIC_SIZE,
  WATCH_AT = SIZE_AT + 2,
  COUNTER_AT = WATCH_AT + RAW_WATCH_SIZE,
  NONCE_SIZE = crypto_aead_chacha20poly1305_IETF_NPUBBYTES,
  STATUS_HEAD = 2, /* the kind, the code */
};

_Static_assert(COUNTER_AT + 8 == RAW_HEAD_SIZE, "a head has no other fields");
_Static_assert(RAW_KEY_SIZE == crypto_aead_chacha20poly1305_IETF_KEYBYTES, "");
_Static_assert(RAW_TAG_SIZE == crypto_aead_chacha20poly1305_IETF_ABYTES, "");
_Static_assert(STATUS_HEAD + RAW_TEXT_MAX <= 1 + RAW_FIRST_MAX, "a status fits wherever a first message does");

static void put(uint8_t *out, size_t size, uint64_t value)
{
  for (size_t i = size; i-- > 0; value >>= 8)
    out[i] = (uint8_t)value;
}

static uint64_t get(const uint8_t *in, size_t size)
{
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++)
    value = value << 8 | in[i];
  return value;
}

/* ---- Keys ---- */

static void derive(uint8_t out[RAW_KEY_SIZE], const uint8_t secret[RAW_SECRET_SIZE], const char *purpose)
{
  crypto_generichash(out, RAW_KEY_SIZE, (const uint8_t *)purpose, strlen(purpose), secret, RAW_SECRET_SIZE);
}

void raw_keys_derive(struct raw_keys *out, const uint8_t secret[RAW_SECRET_SIZE])
{
  /* Harmless when it is done already; it fails only where there is no source of randomness at all. */
  if (sodium_init() < 0)
    abort();
  derive(out->to_router, secret, "mindmeld raw to router");
  derive(out->from_router, secret, "mindmeld raw from router");
}

void raw_keys_wipe(struct raw_keys *keys)
{
  explicit_bzero(keys, sizeof *keys);
}

/* ---- Preambles ---- */

bool raw_can_begin(const void *bytes, size_t size)
{
  return memcmp(bytes, RAW_MAGIC, size < RAW_MAGIC_SIZE ? size : RAW_MAGIC_SIZE) == 0;
}

int raw_head_read(const uint8_t head[RAW_HEAD_SIZE], struct raw_head *out)
{
  *out = (struct raw_head){.sealed = (size_t)get(head + SIZE_AT, 2), .counter = get(head + COUNTER_AT, 8)};
  memcpy(out->watch, head + WATCH_AT, sizeof out->watch);
  bool fits = out->sealed >= RAW_TAG_SIZE && out->sealed <= RAW_FIRST_MAX + RAW_TAG_SIZE;
  return raw_can_begin(head, RAW_HEAD_SIZE) && fits && out->counter > 0 ? 0 : -EBADMSG;
}

int raw_preamble_size(const uint8_t *bytes, size_t size)
{
  struct raw_head head;
  if (!raw_can_begin(bytes, size))
    return -EBADMSG;
  if (size < RAW_HEAD_SIZE)
    return 0;
  return raw_head_read(bytes, &head) == 0 ? (int)(RAW_HEAD_SIZE + head.sealed) : -EBADMSG;
}

static void make_nonce(uint8_t out[NONCE_SIZE], const struct raw_place *place)
{
  put(out, 8, place->counter);
  put(out + 8, 4, place->index);
}

size_t raw_preamble_seal(uint8_t out[RAW_PREAMBLE_MAX], const struct raw_keys *keys,
                         const uint8_t watch[RAW_WATCH_SIZE], uint64_t counter, const void *first, size_t size)
{
  uint8_t nonce[NONCE_SIZE];
  make_nonce(nonce, &(struct raw_place){.counter = counter});
  memcpy(out, RAW_MAGIC, RAW_MAGIC_SIZE);
  put(out + SIZE_AT, 2, size + RAW_TAG_SIZE);
  memcpy(out + WATCH_AT, watch, RAW_WATCH_SIZE);
  put(out + COUNTER_AT, 8, counter);
  crypto_aead_chacha20poly1305_ietf_encrypt(out + RAW_HEAD_SIZE, NULL, first, size, out, RAW_HEAD_SIZE, NULL, nonce,
                                            keys->to_router);
  return RAW_HEAD_SIZE + size + RAW_TAG_SIZE;
}

int raw_preamble_open(const struct raw_keys *keys, const uint8_t head[RAW_HEAD_SIZE], const uint8_t *sealed,
                      uint8_t first[RAW_FIRST_MAX])
{
  struct raw_head h;
  if (raw_head_read(head, &h) != 0)
    return -EBADMSG;
  uint8_t nonce[NONCE_SIZE];
  make_nonce(nonce, &(struct raw_place){.counter = h.counter});
  if (crypto_aead_chacha20poly1305_ietf_decrypt(first, NULL, NULL, sealed, h.sealed, head, RAW_HEAD_SIZE, nonce,
                                                keys->to_router) != 0)
    return -EBADMSG;
  return (int)(h.sealed - RAW_TAG_SIZE);
}

/* ---- Words ---- */

static const uint32_t is_word = UINT32_C(1) << 31;

static size_t seal_word(uint8_t out[RAW_WORD_MAX], const struct raw_keys *keys, const struct raw_place *place,
                        const uint8_t *plain, size_t size)
{
  uint8_t nonce[NONCE_SIZE];
  make_nonce(nonce, place);
  put(out, RAW_LENGTH_SIZE, is_word | (uint32_t)(size + RAW_TAG_SIZE));
  crypto_aead_chacha20poly1305_ietf_encrypt(out + RAW_LENGTH_SIZE, NULL, plain, size, out, RAW_LENGTH_SIZE, NULL, nonce,
                                            keys->from_router);
  return RAW_LENGTH_SIZE + size + RAW_TAG_SIZE;
}

size_t raw_word_seal_status(uint8_t out[RAW_WORD_MAX], const struct raw_keys *keys, const struct raw_place *place,
                            enum rpc_status status, const char *text)
{
  uint8_t plain[STATUS_HEAD + RAW_TEXT_MAX] = {RAW_WORD_STATUS, (uint8_t)status};
  size_t size = strnlen(text, RAW_TEXT_MAX);
  memcpy(plain + STATUS_HEAD, text, size);
  return seal_word(out, keys, place, plain, STATUS_HEAD + size);
}

size_t raw_word_seal_first(uint8_t out[RAW_WORD_MAX], const struct raw_keys *keys, const struct raw_place *place,
                           const void *first, size_t size)
{
  uint8_t plain[1 + RAW_FIRST_MAX] = {RAW_WORD_FIRST};
  memcpy(plain + 1, first, size);
  size_t sealed = seal_word(out, keys, place, plain, 1 + size);
  explicit_bzero(plain, sizeof plain);
  return sealed;
}

int raw_word_length(const uint8_t length[RAW_LENGTH_SIZE])
{
  uint32_t size = (uint32_t)get(length, RAW_LENGTH_SIZE);
  if ((size & is_word) == 0)
    return 0;
  size &= ~is_word;
  return size >= 1 + RAW_TAG_SIZE && size <= RAW_WORD_SEALED_MAX ? (int)size : -EBADMSG;
}

static int take_status(const uint8_t *plain, size_t size, struct raw_word *out)
{
  if (size < STATUS_HEAD || size > STATUS_HEAD + RAW_TEXT_MAX)
    return -EBADMSG;
  out->status = (enum rpc_status)plain[1];
  memcpy(out->text, plain + STATUS_HEAD, size - STATUS_HEAD);
  for (size_t i = 0; i < size - STATUS_HEAD; i++)
    if ((uint8_t)out->text[i] < ' ' || out->text[i] == 0x7f)
      out->text[i] = ' ';
  return plain[1] <= RPC_UNAUTHENTICATED ? 0 : -EBADMSG;
}

static int take_word(const uint8_t *plain, size_t size, struct raw_word *out)
{
  out->kind = (enum raw_word_kind)plain[0];
  if (plain[0] == RAW_WORD_STATUS)
    return take_status(plain, size, out);
  out->first_size = size - 1;
  memcpy(out->first, plain + 1, out->first_size);
  return plain[0] == RAW_WORD_FIRST && out->first_size > 0 ? 0 : -EBADMSG;
}

int raw_word_open(const struct raw_keys *keys, const struct raw_place *place, const uint8_t *word, struct raw_word *out)
{
  memset(out, 0, sizeof *out);
  int sealed = raw_word_length(word);
  if (sealed <= 0)
    return -EBADMSG;
  uint8_t nonce[NONCE_SIZE], plain[1 + RAW_FIRST_MAX];
  make_nonce(nonce, place);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, word + RAW_LENGTH_SIZE, (size_t)sealed, word,
                                                RAW_LENGTH_SIZE, nonce, keys->from_router) != 0)
    return -EBADMSG;
  int error = take_word(plain, (size_t)sealed - RAW_TAG_SIZE, out);
  explicit_bzero(plain, sizeof plain);
  return error;
}
