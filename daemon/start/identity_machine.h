/* Which machine this is. Private to own_identity.c. */
#ifndef DAEMON_IDENTITY_MACHINE_H
#define DAEMON_IDENTITY_MACHINE_H

#include <stdbool.h>

#include "identity_text.h"

/* Of `file`, which is as machine-id(5) says. False: it says nothing, as on an image that was not booted yet. */
bool identity_machine_read(const char *file, uint8_t out[IDENTITY_MACHINE_SIZE]);

#endif
