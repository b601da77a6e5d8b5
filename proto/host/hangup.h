/* What SIGHUP means to a program that reads its files anew at it. When the terminal goes at which it was started, and
 * nobody said that it should outlive it, it is the end, as for any program. */
#ifndef PROTO_HANGUP_H
#define PROTO_HANGUP_H

#include <stdbool.h>

struct hangup {
  bool ends; /* with its terminal */
};

/* Before the disposition of SIGHUP is changed. */
void hangup_prepare(struct hangup *h);
/* At SIGHUP: whether that was the terminal. */
bool hangup_is_end(const struct hangup *h);

#endif
