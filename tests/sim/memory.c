/* The linker puts these in the place of malloc and its kind (--wrap). What the glue allocates lasts as long as the
 * world: a process that crashes leaves no leak behind. What is freed is spoilt, so that nobody goes on using it.
 */
#include "memory.h"

#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "proto/wire/identity.h"

enum { SPOILT = 0xdd, HEAD = 16 };

static struct world *here;

void memory_of(struct world *w)
{
  here = w;
}

struct world *memory_world(void)
{
  return here;
}

void *__wrap_malloc(size_t size)
{
  unsigned char *block = world_alloc(here, HEAD + size);
  memcpy(block, &size, sizeof size);
  here->blocks++;
  return block + HEAD;
}

void *__wrap_calloc(size_t count, size_t size)
{
  return __wrap_malloc(count * size); /* the world's memory is zeroed */
}

void __wrap_free(void *memory)
{
  size_t size;
  if (memory == NULL)
    return;
  unsigned char *block = (unsigned char *)memory - HEAD;
  memcpy(&size, block, sizeof size);
  if (size == SIZE_MAX)
    broken(here, "memory is freed twice");
  memset(memory, SPOILT, size);
  size = SIZE_MAX;
  memcpy(block, &size, sizeof size);
  here->blocks--;
}

char *__wrap_strdup(const char *text)
{
  size_t size = strlen(text) + 1;
  return memcpy(__wrap_malloc(size), text, size);
}

/* Whose connection it is, when a forward begins. */
void identity_random(void *out, size_t size)
{
  memset(out, 0, size);
  memcpy(out, &here->forward->next_connection, sizeof(uint64_t));
}

/* How the streams of many connections are spread is drawn, too. */
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags)
{
  (void)flags;
  uint64_t dice = roll(here, UINT64_MAX);
  memcpy(out, &dice, size < sizeof dice ? size : sizeof dice);
  return (ssize_t)size;
}
