/* What becomes of memory that was freed. */
#ifndef PROTO_HEAP_H
#define PROTO_HEAP_H

#include <stdbool.h>
#include <stddef.h>

enum {
  HEAP_KEPT = 32 << 20, /* bytes: how much freed memory stays for the next message, in each arena */
  HEAP_CROWD = 256,     /* so many streams are a crowd */
  HEAP_LATER_MS = 1000, /* after a crowd is over, all of it has been freed */
};

/* First thing in main. */
void heap_keep(void);

/* All zero is right for a new one. */
struct heap_crowd {
  size_t most; /* there were since the last time that memory was given back */
};

/* There are so many streams now. If it was a crowd and three quarters have gone, their memory goes back to the kernel,
 * which takes some milliseconds: true. What gRPC frees of it only afterwards is left for a heap_give_back in
 * HEAP_LATER_MS. */
bool heap_crowd_is(struct heap_crowd *c, size_t now);
void heap_give_back(void);

#endif
