/* The line before a chunk: its size, and extensions, which nobody may rely on and which are not passed on. Pure. */
#ifndef PROTO_HTTP1_CHUNK_H
#define PROTO_HTTP1_CHUNK_H

#include <stdint.h>

#include "grammar.h"

enum { HTTP1_CHUNK_LINE_MAX = 1024, HTTP1_CHUNK_HEAD_MAX = 18 };

/* False: it is no such line, or the size is above 2^63 - 1. */
bool http1_chunk_parse(struct http1_text line, uint64_t *size);
/* Writes one, with the end of the line; returns its length. */
size_t http1_chunk_write(char out[HTTP1_CHUNK_HEAD_MAX], uint64_t size);

#endif
