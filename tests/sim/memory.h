/* Memory and randomness for the real sources that are simulated. */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <stddef.h>
#include <sys/types.h>

struct world;

/* Whose memory it is from now on. */
void memory_of(struct world *w);
struct world *memory_world(void);

/* The real ones, for the world itself. */
void *__real_malloc(size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);
ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags);

#endif
