/* The router's key: read from a file, and asked of every call. */
#ifndef ROUTER_SECRET_H
#define ROUTER_SECRET_H

#include <stdbool.h>
#include <stddef.h>

enum { SECRET_MAX = 4096, SECRET_SHOWN_MAX = SECRET_MAX + 16 };

/* Does not tell by its time where they differ. */
bool secret_equal(const void *a, const void *b, size_t size);

/* Whether an `authorization` header shows the key, without telling by its time how much of it was right. */
bool secret_shown(const char *key, const char *authorization);

/* Reads the first line of a file, trimmed. 0, or -1 with a sentence in `why` that never holds any of the file. */
int secret_read(const char *path, char out[SECRET_MAX + 1], char *why, size_t why_size);

#endif
