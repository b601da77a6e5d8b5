/* What is shown to the router, and whom it must be signed by: the files of the options key and cafile, read at the
 * start and again when they are others. On the loop's thread, which never reads. */
#ifndef DAEMON_CREDENTIALS_H
#define DAEMON_CREDENTIALS_H

#include <stdbool.h>

#include "proto/host/credential.h"

struct credentials;
struct uv_loop_s;

struct credentials_events {
  /* credentials_key and credentials_ca are others now. */
  void (*changed)(struct credentials *c, void *arg);
  /* The files cannot be used; the former contents stay in use. Told once for each trouble, and whenever asked. */
  void (*bad)(struct credentials *c, const char *why, void *arg);
  /* The end of a credentials_reload, after the others: whether there was anything to tell. */
  void (*reloaded)(struct credentials *c, bool told, void *arg);
};

/* Reads them, and may block. Each path may be NULL; a relative one means the same file also when the process goes
 * elsewhere. 0, or a negative errno with a sentence in `why`. */
int credentials_open(struct credentials **out, const char *key_file, const char *cafile, char why[CREDENTIAL_WHY_MAX]);
/* Events come from now on. */
void credentials_start(struct credentials *c, struct uv_loop_s *loop, const struct credentials_events *events,
                       void *arg);
/* None does any more. What is being read may keep the loop alive for a moment. NULL is fine. */
void credentials_stop(struct credentials *c);
/* When the loop has ended. NULL is fine. */
void credentials_free(struct credentials *c);

const char *credentials_key(const struct credentials *c); /* NULL: none */
const char *credentials_ca(const struct credentials *c);  /* NULL: the system's */

/* Looks whether the files are others, and reads them if they are. */
void credentials_check(struct credentials *c);
/* Reads them in any case. */
void credentials_reload(struct credentials *c);

#endif
