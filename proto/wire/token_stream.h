/* The token as the first version sends it: inside the data, as a length in four bytes, little-endian, and a serialised
 * Header, cut anywhere. Pure; any thread. */
#ifndef PROTO_TOKEN_STREAM_H
#define PROTO_TOKEN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOKEN_MAX = 128, TOKEN_STREAM_HEADER_MAX = 1024 };

/* Zeroed before first use. */
struct token_stream {
  size_t have;
  uint8_t bytes[4 + TOKEN_STREAM_HEADER_MAX];
  char token[TOKEN_MAX + 1]; /* valid once token_stream_feed returned true in `done` */
};

/* Takes up to `size` bytes. Returns how many it used: what remains is traffic. *done says that the token is there.
 * -EBADMSG: no such header, or too long. */
int token_stream_feed(struct token_stream *t, const void *bytes, size_t size, bool *done);

/* Writes length and Header for a token. Returns the size, or -E2BIG. */
int token_stream_write(uint8_t *out, size_t size, const char *token);

#endif
