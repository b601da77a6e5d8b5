/* The settings that client and server share: large frames, nothing that costs and is not used, and bounds on what a
 * peer may send.
 *
 * gRPC's own flow control follows the path, as it does by default. Fixed windows would not fill a long one; the price
 * is that gRPC takes in tens of megabytes for a stream that nobody reads. What one of ours has under way is bounded
 * above gRPC, by a window that only the far end's socket opens (window.h); a server's quota bounds what others cause.
 */
#include "rpc_args.h"

#include <limits.h>
#include <stdint.h>

void rpc_args_add(struct rpc_args *args, const char *key, int value)
{
  if (args->count < RPC_ARGS_MAX)
    args->all[args->count++] =
        (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

void rpc_args_add_text(struct rpc_args *args, const char *key, char *value)
{
  if (args->count < RPC_ARGS_MAX)
    args->all[args->count++] =
        (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)key, .value.string = value};
}

void rpc_args_add_pointer(struct rpc_args *args, const char *key, void *pointer, const grpc_arg_pointer_vtable *how)
{
  if (args->count < RPC_ARGS_MAX)
    args->all[args->count++] =
        (grpc_arg){.type = GRPC_ARG_POINTER, .key = (char *)(uintptr_t)key, .value.pointer = {pointer, how}};
}

void rpc_args_add_quota(struct rpc_args *args, grpc_resource_quota *quota)
{
  rpc_args_add_pointer(args, GRPC_ARG_RESOURCE_QUOTA, quota, grpc_resource_quota_arg_vtable());
}

grpc_channel_args rpc_args_view(struct rpc_args *args)
{
  return (grpc_channel_args){.num_args = args->count, .args = args->all};
}

void rpc_args_add_common(struct rpc_args *args)
{
  rpc_args_add(args, GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 65536);
  rpc_args_add(args, GRPC_ARG_ENABLE_RETRIES, 0);
  rpc_args_add(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
  rpc_args_add(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, 2 << 20);
  rpc_args_add(args, GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  /* Nothing but plain messages: what was compressed could grow without bound. What would do it is left out, too. */
  rpc_args_add(args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  rpc_args_add(args, GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  rpc_args_add(args, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

void rpc_args_add_client_keepalive(struct rpc_args *args, bool pings, int answer_ms)
{
  rpc_args_add(args, GRPC_ARG_KEEPALIVE_TIME_MS, pings ? 5000 : INT_MAX - 1); /* INT_MAX: and no timeout, either */
  rpc_args_add(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, answer_ms);
  rpc_args_add(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, pings);
  rpc_args_add(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

void rpc_args_add_keepalive(struct rpc_args *args)
{
  rpc_args_add(args, GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  rpc_args_add(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_SERVER_ANSWER_MS);
  rpc_args_add(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  rpc_args_add(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}
