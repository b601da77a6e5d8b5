/* How much memory this process may use. */
#ifndef PROTO_ALLOWED_H
#define PROTO_ALLOWED_H

#include <stdint.h>

/* Bytes: all of the machine's, or less if a control group says so. */
uint64_t allowed_memory(void);

/* What control groups of version 2 say, in a file system whose root is `root` (tests have their own). UINT64_MAX:
 * nothing. */
uint64_t allowed_by_groups(const char *root);

#endif
