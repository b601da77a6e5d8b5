/* The names that this daemon gave up a moment ago. Private to the services. */
#ifndef DAEMON_LEFT_NAMES_H
#define DAEMON_LEFT_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct left_name;

/* All zero: none. Times are the loop's, in ms. */
struct left_names {
  struct left_name *first;
};

/* Forgotten when memory is short. */
void left_names_add(struct left_names *names, const char *name, uint64_t now);
bool left_names_has(struct left_names *names, const char *name, uint64_t now);
void left_names_free(struct left_names *names);

#endif
