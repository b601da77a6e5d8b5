/* gRPC decides by a monotonic clock which of its timers are due, but the thread that looks after them sleeps until a
 * time of the wall clock. When that is set back, everything that gRPC does by itself is late by as much: it would
 * notice dead peers, handshakes without an end and missed deadlines only then. Woken, the thread looks at all timers
 * anew, and reckons anew how long to sleep; so it is woken every second, by a clock that nobody sets.
 *
 * The only way to it is this function of C++, grpc_kick_poller; gRPC calls it whenever there is an earlier timer. In a
 * gRPC without it, nothing is lost but that.
 */
#include "rpc_nudge.h"

#include <dlfcn.h>

rpc_nudge_cb rpc_nudge_find(void)
{
  return (rpc_nudge_cb)dlsym(RTLD_DEFAULT, "_Z16grpc_kick_pollerv");
}
