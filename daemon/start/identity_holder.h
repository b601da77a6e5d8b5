/* A sentence that names the process that holds the identity we want. Private to own_identity.c. */
#ifndef DAEMON_IDENTITY_HOLDER_H
#define DAEMON_IDENTITY_HOLDER_H

#include <sys/stat.h>

enum { IDENTITY_HOLDER_WHY_MAX = 512 };

/* `file` is locked by another process, and `mountpoint` (absolute) is wanted, on which nothing is mounted here: which
 * process, where its tree is, what to do. */
void identity_holder_explain(const struct stat *file, const char *mountpoint, char why[IDENTITY_HOLDER_WHY_MAX]);

#endif
