/* For what is checked within loops of thousands: Check writes down each check that it makes, which takes longer there
 * than all that is checked. */
#ifndef HOLDS_H
#define HOLDS_H

#include <check.h>

#define holds(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition))                                                                                                  \
      ck_abort_msg("does not hold: %s", #condition);                                                                   \
  } while (0)

#endif
