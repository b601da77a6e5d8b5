/* What a router holds at most, and how long it waits, unless it is told otherwise. */
#include "limits.h"

struct router_limits router_limits_default(void)
{
  return (struct router_limits){
      .services = 16384, /* so that one message can list them all */
      .services_per_caller = 2048,
      .hosts_per_identity = 256,
      .rules_bytes = 256 << 20,
      .streams = 65536,
      .streams_per_caller = 16384,
      .parked = 16384,
      .parked_per_caller = 128, /* calls and raw streams, up to 64 of each */
      .warm = 4096,
      .warm_per_watch = 64,
      .waiting = 16384,
      .waiting_per_caller = 4096,
      .tokens = 16384,
      .tokens_per_caller = 4096,
      .watchers = 4096,
      .watchers_per_caller = 1024, /* a front brings those of many on one connection */
      .health_checks = 256,
      .health_watches = 256,
      .health_watches_per_host = 16,
      .page = ROUTER_PAGE_MAX,
      .lost = 4096,
      .openings = 16384,
      .answers = 16384,
      .answer_bytes = 64 << 20,
      .unsent = 16384, /* a crowd that dials one service at once */
      .reports = 4096,
      .report_ms = 200,
      .opening_ms = 10000,
      .token_ms = 30000,
      .dial_ms = 10000,
      .gone_ms = 15000,
      .young_ms = 10000,
      .heartbeat_ms = 5000,
      .reset_ms = 1000,
      .leave_ms = 10000,
      .linger_ms = 60000,
      .drain_ms = 9000, /* Cloud Run kills after 10 s */
      .farewell_ms = 500,
  };
}
