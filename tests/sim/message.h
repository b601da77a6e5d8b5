/* What travels on the streams. Bytes are not made: of a piece of data it is known whose it is and where it stands in
 * what that socket sends, so that one byte at the wrong place is seen at once.
 */
#ifndef SIM_MESSAGE_H
#define SIM_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/flow/window.h"

/* Bytes [at, at + size) of what the socket `origin` sends. */
struct content {
  uint32_t origin, size;
  uint64_t at;
};

/* The header. */
struct label {
  bool attach, established, answer;
  bool token;          /* it shows one, as in the first version; of `connection`, which nobody but the simulator sees */
  uint32_t member, to; /* of whom it is, and whose connection goes on */
  uint64_t connection, epoch, received, limit;
};

struct message {
  bool has_label, has_offset, has_ack, has_window, has_reset, has_refused, eof;
  bool original;   /* said by the router: the other side speaks the first version */
  bool half_close; /* nothing follows */
  struct label label;
  struct content content; /* size 0: no data */
  uint64_t offset, window;
  struct ack ack;
};

#endif
