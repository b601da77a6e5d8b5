/* What a client of ACME has put into its webroot to prove that a host is ours (RFC 8555, 8.3). */
#ifndef GATE_CHALLENGE_H
#define GATE_CHALLENGE_H

#include <stdbool.h>
#include <stddef.h>

enum { CHALLENGE_TOKEN_MAX = 128, CHALLENGE_SIZE_MAX = 4096 };

/* Whether the path is that of a challenge, and then its token. Pure. */
bool challenge_is(const char *path, size_t size, char token[CHALLENGE_TOKEN_MAX + 1]);
/* 0, and the contents of the regular file of that name, which is looked up on the disk; or a negative errno. */
int challenge_read(const char *webroot, const char *token, char contents[CHALLENGE_SIZE_MAX], size_t *size);
/* Whether there is such a directory: 0, or a negative errno. */
int challenge_check(const char *webroot);

#endif
