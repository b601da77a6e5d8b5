/* What cannot be, and is. In builds for tests (those with a sanitizer, and Debug) the program ends where it is found.
 * In the field whoever calls tells the user, gives up the one connection, service or dial that it is of, and all else
 * goes on. */
#ifndef DAEMON_BUG_H
#define DAEMON_BUG_H

#include <stdlib.h>

static inline void bug_found(void)
{
#ifdef MM_STRICT
  abort();
#endif
}

#endif
