/* Where the file of an identity is. Private to own_identity.c. */
#ifndef DAEMON_IDENTITY_PLACE_H
#define DAEMON_IDENTITY_PLACE_H

#include "own_identity.h"
#include <limits.h>

enum { IDENTITY_PLACE_NAME_SIZE = 256 };

struct identity_place {
  char folder[PATH_MAX], name[IDENTITY_PLACE_NAME_SIZE];
  int fd;                 /* of the folder, or -1; the caller closes it in any case */
  const char *mountpoint; /* for which it is wanted */
};

/* That of the mountpoint, in $XDG_STATE_HOME/mindmeld/identities, ~/.local/state/... or, for root without a home,
 * /var/lib/...; the folders are made. -ENOENT: there is none that can be used; -EPERM: others may write into it. Both
 * with a sentence. */
int identity_place_default(struct identity_place *p, const char *mountpoint, char why[OWN_IDENTITY_WHY_MAX]);
/* 0 or a negative errno with a sentence. Makes no folder. */
int identity_place_given(struct identity_place *p, const char *file, char why[OWN_IDENTITY_WHY_MAX]);
/* The file's name for a mountpoint (absolute). */
void identity_place_name(const char *mountpoint, char out[IDENTITY_PLACE_NAME_SIZE]);
/* Writes "FILE: reason". Returns `error`. */
int identity_place_explain(char why[OWN_IDENTITY_WHY_MAX], int error, const struct identity_place *p,
                           const char *reason);

#endif
