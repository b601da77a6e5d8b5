/* The known word that was meant by an unknown one. Pure. */
#ifndef PROTO_SPELLING_H
#define PROTO_SPELLING_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `word` is `known` but for a slip or two: letters that are missing, too many, others, or in the wrong order.
 * Short words allow fewer. */
bool spelling_near(const char *word, size_t size, const char *known);

#endif
