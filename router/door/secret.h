/* The router's key, as it is asked of every call. */
#ifndef ROUTER_SECRET_H
#define ROUTER_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/host/credential.h"

enum { SECRET_MAX = CREDENTIAL_KEY_MAX, SECRET_SHOWN_MAX = SECRET_MAX + 16 };

/* Does not tell by its time where they differ. */
bool secret_equal(const void *a, const void *b, size_t size);

/* Whether an `authorization` header shows the key, without telling by its time how much of it was right. */
bool secret_shown(const char *key, const char *authorization);

#endif
