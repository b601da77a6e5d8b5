/* Who this process is: the identity that its mountpoint has from process to process, and the member and instance that
 * are this process's own. Kept in a file, which one process at a time holds.
 */
#ifndef DAEMON_OWN_IDENTITY_H
#define DAEMON_OWN_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/identity.h"

enum { OWN_IDENTITY_WHY_MAX = 1024 };

struct identity_place;

/* The keys and the seed are secret. */
struct own_identity {
  uint8_t seed[IDENTITY_SEED_SIZE];
  uint64_t instance;
  uint8_t member_key[HEADER_MEMBER_KEY_SIZE];
  bool has_former;
  uint8_t former_key[HEADER_MEMBER_KEY_SIZE]; /* of the process before */
  int lock;                                   /* the descriptor that holds the file, or -1 */
  struct identity_place *place; /* of the file in which this process has followed another; NULL: it has not */
};

/* One that nobody had before, in memory only. */
void own_identity_make(struct own_identity *out);
/* Reads that of `mountpoint` (absolute), or that in `file` if it is not NULL, or makes one, and writes what the next
 * process is to know, before it returns. A file that another process holds is waited for, for up to 2 s.
 *
 * 0: with an empty `why`, or, if it could not be kept, so that the next process will be somebody else or know less,
 * with a sentence about that. A negative errno with a sentence: the file is damaged (-EINVAL), of another version
 * (-EPROTONOSUPPORT), open to others or not ours (-EPERM), held by another process (-EBUSY), or `file` cannot be made;
 * it was not touched. Blocks. */
int own_identity_open(struct own_identity *out, const char *file, const char *mountpoint,
                      char why[OWN_IDENTITY_WHY_MAX]);
/* This process ends before it has done anything: the next one is to follow the one that this one has followed, whose
 * connections nobody has declared over. */
void own_identity_withdraw(struct own_identity *o);
/* Lets go of the file, and wipes. For one that was made or opened. */
void own_identity_close(struct own_identity *o);

#endif
