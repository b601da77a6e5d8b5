/* What a client and the router say to each other on a raw stream before it is one of a pair: the client's preambles,
 * the router's words. Each is sealed with a key that comes from the secret of the client's watch. proto/README.md has
 * the bytes. Pure; any thread. The keys are secret, and so is what a preamble says.
 */
#ifndef PROTO_RAW_H
#define PROTO_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define RAW_MAGIC "mmraw1" /* a raw stream begins with it, and nothing else that comes to a router does */

enum {
  RAW_MAGIC_SIZE = sizeof RAW_MAGIC - 1,
  RAW_WATCH_SIZE = 16,
  RAW_SECRET_SIZE = 32,
  RAW_KEY_SIZE = 32,
  RAW_TAG_SIZE = 16,
  RAW_FIRST_MAX = 1024, /* of a first message, a Payload with a Header */
  RAW_TEXT_MAX = 256,   /* of a status, in bytes; a longer one is cut */

  RAW_HEAD_SIZE = 32, /* a preamble: this much in the clear, then what is sealed */
  RAW_PREAMBLE_MAX = RAW_HEAD_SIZE + RAW_FIRST_MAX + RAW_TAG_SIZE,

  RAW_LENGTH_SIZE = 4, /* before each word, and before each frame */
  RAW_WORD_SEALED_MAX = 1 + RAW_FIRST_MAX + RAW_TAG_SIZE,
  RAW_WORD_MAX = RAW_LENGTH_SIZE + RAW_WORD_SEALED_MAX,
};

struct raw_keys {
  uint8_t to_router[RAW_KEY_SIZE], from_router[RAW_KEY_SIZE];
};

void raw_keys_derive(struct raw_keys *out, const uint8_t secret[RAW_SECRET_SIZE]);
void raw_keys_wipe(struct raw_keys *keys);

/* ---- Preambles: from the client. An empty one is a greeting: another follows later on the same connection. One of
 * the byte 0 alone is a question, which the router answers with the status RPC_OK if raw streams work. ---- */

struct raw_head {
  uint8_t watch[RAW_WATCH_SIZE];
  uint64_t counter; /* from 1; each is good once, of all preambles of the watch */
  size_t sealed;    /* so many bytes follow: RAW_TAG_SIZE at least, RAW_FIRST_MAX + RAW_TAG_SIZE at most */
};

/* Whether these bytes, which may be few, can be the beginning of a preamble. */
bool raw_can_begin(const void *bytes, size_t size);
/* 0, or -EBADMSG. Nothing in a head is to be believed before the preamble is open. */
int raw_head_read(const uint8_t head[RAW_HEAD_SIZE], struct raw_head *out);

/* How many bytes a whole preamble has that begins with these; 0: more of them must be known; or -EBADMSG, as soon as
 * they cannot be the beginning of one. */
int raw_preamble_size(const uint8_t *bytes, size_t size);

/* `size` is RAW_FIRST_MAX at most. Returns the size of the whole. */
size_t raw_preamble_seal(uint8_t out[RAW_PREAMBLE_MAX], const struct raw_keys *keys,
                         const uint8_t watch[RAW_WATCH_SIZE], uint64_t counter, const void *first, size_t size);
/* `sealed` has as many bytes as the head says. Returns the size of the first message (0: a greeting), or -EBADMSG.
 * Whether the counter was used before is not looked at (see raw_window.h). */
int raw_preamble_open(const struct raw_keys *keys, const uint8_t head[RAW_HEAD_SIZE], const uint8_t *sealed,
                      uint8_t first[RAW_FIRST_MAX]);

/* ---- Words: from the router. Each belongs to the latest preamble of the connection that is no greeting. ---- */

enum raw_word_kind {
  RAW_WORD_STATUS = 1, /* there is no pair; nothing follows */
  RAW_WORD_FIRST = 2,  /* there is one, and this is what its other side began with; nothing follows but frames */
};

struct raw_word {
  enum raw_word_kind kind;
  enum rpc_status status;
  char text[RAW_TEXT_MAX + 1]; /* UTF-8 as far as the router keeps to it, without control characters */
  size_t first_size;
  uint8_t first[RAW_FIRST_MAX];
};

/* Which preamble a word answers, and how many words were before it. */
struct raw_place {
  uint64_t counter;
  uint32_t index;
};

size_t raw_word_seal_status(uint8_t out[RAW_WORD_MAX], const struct raw_keys *keys, const struct raw_place *place,
                            enum rpc_status status, const char *text);
/* `size` is from 1 to RAW_FIRST_MAX. */
size_t raw_word_seal_first(uint8_t out[RAW_WORD_MAX], const struct raw_keys *keys, const struct raw_place *place,
                           const void *first, size_t size);

/* How many sealed bytes follow, if it is the length of a word; 0 if it is that of a frame; or -EBADMSG. */
int raw_word_length(const uint8_t length[RAW_LENGTH_SIZE]);
/* `word` is the length and what follows it. 0, or -EBADMSG. */
int raw_word_open(const struct raw_keys *keys, const struct raw_place *place, const uint8_t *word,
                  struct raw_word *out);

#endif
