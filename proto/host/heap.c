/* Each message is read into memory of its own, which is freed once the message is sent on. glibc gives what is free at
 * the end of the heap back to the kernel above 128 KiB, so that the pages of each message would be new ones: that cost
 * a third of the throughput. What is under way at a time varies by some tens of megabytes when all windows are open.
 *
 * The setting also makes glibc map whatever is larger than 128 KiB by itself, always, and give that back at once.
 *
 * Many streams leave their memory in small pieces all over the heap, so that its end is never free, and most of it is
 * given back only on request. When the last stream has closed, gRPC still holds some memory: so the request is repeated
 * a moment later.
 */
#include "heap.h"

#include <malloc.h>

void heap_keep(void)
{
#ifdef __GLIBC__
  mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
#endif
}

void heap_give_back(void)
{
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

bool heap_crowd_is(struct heap_crowd *c, size_t now)
{
  if (now > c->most)
    c->most = now;
  if (c->most < HEAP_CROWD || now > c->most / 4)
    return false;
  c->most = now;
  heap_give_back();
  return true;
}
