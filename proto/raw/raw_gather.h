/* What came on a raw stream, cut into what was said: frames, and the router's words before them. Of a large frame the
 * bytes stay in the memory that they arrived in; small ones are copied, so that they do not pin it. Pure; one thread at
 * a time.
 */
#ifndef PROTO_RAW_GATHER_H
#define PROTO_RAW_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/stream/bytes.h"
#include "proto/wire/raw_frame.h"

struct message;

enum { RAW_COPY_MAX = 2 << 10 }; /* bytes: so little is copied */

/* Zeroed before first use. */
struct raw_gather {
  struct bytes rest; /* came, and was not looked at yet */
  uint8_t length[RAW_FRAME_LENGTH_SIZE];
  uint8_t length_have;
  bool is_word;
  uint32_t want, have; /* of one that is not whole; want 0: its length is not */
  struct bytes *parts; /* of it */
  uint32_t count, room;
};

/* Takes over what came; all that came before must have been looked at. Without an owner it stays only until
 * raw_gather_keep. */
void raw_gather_put(struct raw_gather *g, struct bytes came);
/* 1: one is whole, which the caller frees. 0: more must come. -EBADMSG: what came cannot be; -ENOMEM. Then nothing is
 * to be asked any more. */
int raw_gather_next(struct raw_gather *g, struct message **out, bool *is_word);
/* What has no owner is copied. -ENOMEM. */
int raw_gather_keep(struct raw_gather *g);
/* Something came that was not looked at. */
static inline bool raw_gather_has_rest(const struct raw_gather *g)
{
  return g->rest.size > 0;
}
/* Nothing is begun: here it may end. */
bool raw_gather_is_even(const struct raw_gather *g);
void raw_gather_free(struct raw_gather *g);

#endif
