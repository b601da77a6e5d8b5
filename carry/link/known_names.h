/* The names that the router told, kept to see what is new in what it tells next. Private to the link. */
#ifndef CARRY_KNOWN_NAMES_H
#define CARRY_KNOWN_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct known_name;

/* All zero: none yet. */
struct known_names {
  struct known_name *table;
  uint64_t round;       /* counts whole catalogues */
  uint64_t first_round; /* of this connection */
};

enum known_change { KNOWN_UNCHANGED, KNOWN_NEW, KNOWN_AGAIN };

/* A catalogue begins: the router tells all names again. On another connection they are news again, too. */
void known_names_restart(struct known_names *names, bool reconnected);
/* The service of this name was made at that time. KNOWN_AGAIN: the name was there before, but it is another service, or
 * another connection. Names that do not fit into memory are KNOWN_UNCHANGED. */
enum known_change known_names_add(struct known_names *names, const char *name, int64_t seconds, int32_t nanos);
/* True when it was there. */
bool known_names_remove(struct known_names *names, const char *name);
/* The catalogue is whole: `gone` is told each name that was not in it. */
void known_names_complete(struct known_names *names, void (*gone)(const char *name, void *arg), void *arg);
void known_names_free(struct known_names *names);

#endif
