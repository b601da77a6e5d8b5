/* Who looks on while a pump carries a connection: one seam for both ways. */
#ifndef PROTO_PUMP_OBSERVER_H
#define PROTO_PUMP_OBSERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Sees what goes through a socket, each way in its order, and before the other end can answer it: what is for the
 * socket as soon as it came, what the socket brought as soon as it was read. `bytes` NULL: so many went by unseen,
 * which happens where the way is not watched; `size` 0: the end. On either thread, with locks held: it must be quick,
 * and call nothing here. */
struct pump_observer {
  void (*to_socket)(struct pump_observer *o, const char *bytes, size_t size);
  void (*from_socket)(struct pump_observer *o, const char *bytes, size_t size);
  atomic_bool watches_to, watches_from; /* its own: what goes that way is to be seen; it costs a copy of data in bulk */
};

#endif
