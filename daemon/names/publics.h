/* The public names of one service that is declared here: what was written, and what the router answered. Private to the
 * services. On the loop's thread.
 */
#ifndef DAEMON_PUBLICS_H
#define DAEMON_PUBLICS_H

#include <stdbool.h>
#include <stddef.h>

#include "services.h"

struct public_item;

/* All zero: none. */
struct publics {
  struct public_item *first;
  size_t count;
  bool given_up; /* some were granted and are not wanted any more, which the router was not told yet */
};

/* An answer of the router to one name. */
struct public_answer {
  const char *host, *url;
  int error; /* 0, or a negative errno and why */
  const char *why;
};

/* The next one that the router is to be asked for, after `item`, or the first. */
const struct public_item *publics_next(const struct publics *p, const struct public_item *item);
const struct public_name *publics_name(const struct public_item *item);

/* Who waits for these names is answered; others that are refused now, and were not before, are told. True: something
 * changed that can be seen. */
bool publics_answered(struct service *s, const struct public_name *name, const struct public_answer *answer);
/* The same, with one answer for all. */
bool publics_all_answered(struct service *s, const struct public_answer *answer);
/* Tells all who wait. With an error, what they wrote does not count. */
void publics_end_waits(struct service *s, int error, const char *why);
/* Some are refused, by a router that may grant them later. */
bool publics_refused(const struct publics *p);
void publics_free(struct service *s);

#endif
