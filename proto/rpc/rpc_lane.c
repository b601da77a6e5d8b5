/* Calls fill the lanes from the first on, so that the last ones become empty. A lane that cannot connect, because a
 * front lets only so many connections come from one place, is left out as long as that lasts: more of them would fare
 * no better, and the calls go where the fewest are.
 */
#include "rpc_lane.h"

#include <errno.h>
#include <linux/tcp.h> /* glibc's own is older than the counters */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <utlist.h>

static struct rpc_lane *lane_open(struct rpc_lanes *ls, struct rpc_channel *ch, rpc_lane_connect_cb connect)
{
  struct rpc_lane *lane = calloc(1, sizeof *lane);
  unsigned mark = rpc_channel_mark(ch);
  grpc_channel *connection = lane ? connect(ch, mark) : NULL;
  if (!connection) {
    free(lane);
    return NULL;
  }
  lane->channel = ch;
  lane->connection = connection;
  lane->fd = -1;
  lane->unsent.mark = mark;
  grpc_channel_check_connectivity_state(connection, 1);
  DL_APPEND(ls->all, lane);
  ls->count++;
  return lane;
}

static void lane_close(struct rpc_lanes *ls, struct rpc_lane *lane)
{
  DL_DELETE(ls->all, lane); /* NOLINT(clang-analyzer-core.NullDereference): it is in the list */
  ls->count--;
  grpc_channel_destroy(lane->connection);
  free(lane);
}

int rpc_lanes_open(struct rpc_lanes *ls, struct rpc_channel *ch, rpc_lane_connect_cb connect)
{
  ls->limit = LANE_CALLS;
  return lane_open(ls, ch, connect) ? 0 : -ENOMEM;
}

void rpc_lanes_close(struct rpc_lanes *ls)
{
  while (ls->all)
    lane_close(ls, ls->all);
}

/* The first fails as the router does, which is told by the calls themselves. */
static bool fails(const struct rpc_lanes *ls, const struct rpc_lane *lane)
{
  return lane != ls->all &&
         grpc_channel_check_connectivity_state(lane->connection, 0) == GRPC_CHANNEL_TRANSIENT_FAILURE;
}

static struct rpc_lane *choose(struct rpc_lanes *ls, struct rpc_channel *ch, rpc_lane_connect_cb connect)
{
  struct rpc_lane *lane, *emptiest = ls->all, *fresh = NULL;
  bool failing = false;
  DL_FOREACH(ls->all, lane)
  {
    bool room = lane->calls < ls->limit;
    if (!room && lane->calls >= emptiest->calls)
      continue;
    if (fails(ls, lane)) {
      failing = true;
      continue;
    }
    if (room)
      return lane;
    emptiest = lane;
  }
  if (!failing && ls->count < LANES_MAX)
    fresh = lane_open(ls, ch, connect);
  return fresh ? fresh : emptiest;
}

struct rpc_lane *rpc_lanes_take(struct rpc_lanes *ls, struct rpc_channel *ch, rpc_lane_connect_cb connect)
{
  struct rpc_lane *lane = choose(ls, ch, connect);
  lane->calls++;
  return lane;
}

/* An idle lane that nothing would miss, nor open again at once; or NULL. */
static struct rpc_lane *superfluous(const struct rpc_lanes *ls)
{
  struct rpc_lane *lane, *idle = NULL;
  unsigned room = 0;
  DL_FOREACH(ls->all, lane)
  {
    if (lane->calls == 0 && lane != ls->all)
      idle = lane;
    room += lane->calls < ls->limit ? ls->limit - lane->calls : 0;
  }
  return room >= ls->limit + ls->limit / 2 ? idle : NULL;
}

void rpc_lanes_put(struct rpc_lanes *ls, struct rpc_lane *lane)
{
  lane->calls--;
  struct rpc_lane *idle = ls->count > 1 ? superfluous(ls) : NULL;
  if (idle)
    lane_close(ls, idle);
}

bool rpc_lanes_full(struct rpc_lanes *ls, const struct rpc_lane *lane)
{
  unsigned begun = atomic_load(&lane->begun);
  if (grpc_channel_check_connectivity_state(lane->connection, 0) != GRPC_CHANNEL_READY)
    return false;
  if (begun < ls->limit)
    ls->limit = begun > LANE_CALLS_MIN ? begun : LANE_CALLS_MIN;
  return true;
}

struct rpc_traffic rpc_lanes_traffic(struct rpc_lanes *ls)
{
  struct rpc_traffic traffic = {0};
  struct rpc_lane *lane;
  DL_FOREACH(ls->all, lane)
  {
    struct tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    lane->fd = unsent_socket(lane->unsent.mark, lane->fd);
    if (lane->fd < 0 || getsockopt(lane->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
      continue;
    traffic.bytes += info.tcpi_bytes_acked + info.tcpi_bytes_received;
    traffic.rtt_us = info.tcpi_rtt > traffic.rtt_us ? info.tcpi_rtt : traffic.rtt_us;
  }
  return traffic;
}
