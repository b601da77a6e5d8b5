/* What a receiver says of a direction: the field `ack` of a Payload. */
#ifndef PROTO_ACK_H
#define PROTO_ACK_H

#include <stdint.h>

struct ack {
  uint64_t taken, messages; /* since the beginning */
  uint64_t queued;          /* what arrived and is not taken, as the window counts it */
  uint32_t held_us;         /* how long ago the last of it was taken */
  uint64_t limit;           /* what the receiver is ready to queue from now on; 0: as it was */
};

#endif
