/* Who this process is: the identity that its mountpoint has from process to process, and the member and instance that
 * are this process's own. Kept in a file, which one process at a time holds.
 */
#ifndef DAEMON_OWN_IDENTITY_H
#define DAEMON_OWN_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "identity_text.h"
#include "proto/wire/identity.h"

enum { OWN_IDENTITY_WHY_MAX = 1024 };

struct uv_loop_s;

/* The keys and the seed are secret. */
struct own_identity {
  uint8_t seed[IDENTITY_SEED_SIZE];
  uint64_t instance;
  uint8_t member_key[HEADER_MEMBER_KEY_SIZE];
  bool has_former;
  uint8_t former_key[HEADER_MEMBER_KEY_SIZE]; /* of the process before, which joined last */
  bool has_machine;
  uint8_t machine[IDENTITY_MACHINE_SIZE]; /* to which the file is bound */
  bool is_copy;                           /* there was a file, of another machine */
  int lock;                               /* the descriptor that holds the file, or -1 */
  bool former_kept;                       /* that file says who was before, too */
  bool cutting;                           /* and is being cut */
};

/* One that nobody had before, in memory only. */
void own_identity_make(struct own_identity *out);
/* Reads that of `mountpoint` (absolute), or that in `file` if it is not NULL, or makes one, and writes what the next
 * process is to know, before it returns. A file that another process holds is waited for, for up to 2 s.
 *
 * The file is bound to the machine of which `machine_id` (a path, of a file as in machine-id(5)) tells: one that was
 * written on another machine is a copy, and is replaced by one that nobody had before. What is bound to none is taken,
 * and bound; where the machine is not known, a file is taken as it is.
 *
 * 0: with an empty `why`, or with a sentence: it could not be kept, so that the next process will be somebody else or
 * know less; or there was such a copy. A negative errno with a sentence: the file is damaged (-EINVAL), of another
 * version
 * (-EPROTONOSUPPORT), open to others or not ours (-EPERM), held by another process (-EBUSY), or `file` cannot be made.
 * The file was not touched. Blocks. */
int own_identity_open(struct own_identity *out, const char *file, const char *mountpoint, const char *machine_id,
                      char why[OWN_IDENTITY_WHY_MAX]);
/* A router has been told that the process before is over. Until then the file names that process, too: if this one ends
 * before it comes so far, the next one still follows the one before, since nothing was done in the name of this one.
 * Does not block: the file is cut in the loop's thread pool. `o` must outlive the loop. */
void own_identity_joined(struct own_identity *o, struct uv_loop_s *loop);
/* Lets go of the file, and wipes. For one that was made or opened. */
void own_identity_close(struct own_identity *o);

#endif
