/* Keys and certificates in files that both programs name on their command lines: one rule for both of what is taken.
 * They are read whole, which may block. Any thread. */
#ifndef PROTO_CREDENTIAL_H
#define PROTO_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>

enum { CREDENTIAL_KEY_MAX = 4096, CREDENTIAL_WHY_MAX = 512 };

/* The first line of `path` without blanks at its ends: 1 to CREDENTIAL_KEY_MAX printable ASCII bytes.
 *
 * A file that others may read or write is refused if we could change its mode. A file system that is mounted read-only,
 * or a file of somebody else's, as platforms hand out their secrets, is not ours to mend: then it is taken, unless
 * everybody may write it. 0, or a negative errno with a sentence in `why`, which never tells what is in the file. */
int credential_read_key(const char *path, char **out, char why[CREDENTIAL_WHY_MAX]);
/* Text in PEM form, up to 1 MiB. 0, or a negative errno with a sentence in `why`. */
int credential_read_pem(const char *path, char **out, char why[CREDENTIAL_WHY_MAX]);
/* The same, but what has a private key in it must be as private as a key file (see above). */
int credential_read_private_pem(const char *path, char **out, char why[CREDENTIAL_WHY_MAX]);
/* Wipes and frees it; NULL does nothing. */
void credential_free(char *text);

/* What a file is like, to see whether it is another one since. Take it before the file is read. */
struct credential_mark {
  int error; /* why it cannot be looked at; the rest is 0 then */
  uint32_t mode, owner;
  uint64_t device, inode, size;
  int64_t modified, modified_ns;
};
struct credential_mark credential_look(const char *path); /* NULL is fine */
bool credential_same(const struct credential_mark *a, const struct credential_mark *b);

#endif
