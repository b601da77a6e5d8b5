/* What becomes of memory that was freed. */
#ifndef PROTO_HEAP_H
#define PROTO_HEAP_H

#include <stddef.h>

/* In bytes: how much freed memory stays for the next message, in each arena. */
enum { HEAP_KEPT = 16 << 20 };

/* First thing in main. */
void heap_keep(void);

#endif
