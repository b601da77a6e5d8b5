/* The client's relation to one router: how it connects, whom it trusts, and what each call shows.
 *
 * gRPC connects by itself, again and again; a call that is started meanwhile fails at once and says why.
 */
#include "rpc_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <uv.h>

#include "rpc_args.h"
#include "rpc_lane.h"
#include "rpc_target.h"

enum { ROOTS_MAX = 8 << 20 };

struct rpc_channel {
  struct rpc_queue *queue;
  unsigned refs; /* the owner's, and one for each call */
  struct rpc_target target;
  bool nowhere;
  grpc_channel_credentials *credentials;
  struct rpc_args args; /* but those of each lane */
  bool keepalive;
  int answer_ms;
  struct rpc_lanes lanes;
  grpc_metadata metadata[2];
  size_t metadata_count;
};

/* gRPC's own idea of where the roots are is not Debian's. NULL: errno says why. */
static char *read_system_roots(void)
{
  FILE *f = fopen("/etc/ssl/certs/ca-certificates.crt", "re");
  if (!f)
    return NULL;
  char *text = malloc(ROOTS_MAX);
  if (text) {
    size_t size = fread(text, 1, ROOTS_MAX - 1, f);
    text[size] = '\0';
  }
  fclose(f);
  return text;
}

static int make_credentials(grpc_channel_credentials **out, const struct rpc_channel_options *options)
{
  if (!options->tls) {
    *out = grpc_insecure_credentials_create();
    return 0;
  }
  if (options->ca_pem && !strstr(options->ca_pem, "-----BEGIN "))
    return -EINVAL; /* gRPC would only say so with every call */
  char *roots = options->ca_pem ? NULL : read_system_roots();
  if (!options->ca_pem && !roots)
    return errno ? -errno : -ENOMEM;
  *out = grpc_ssl_credentials_create_ex(options->ca_pem ? options->ca_pem : roots, NULL, NULL, NULL);
  free(roots);
  return *out ? 0 : -EINVAL;
}

static int make_metadata(struct rpc_channel *ch, const char *bearer)
{
  ch->metadata[ch->metadata_count++] = rpc_metadata_version();
  if (!bearer)
    return 0;
  size_t size = strlen("Bearer ") + strlen(bearer) + 1;
  char *value = malloc(size);
  if (!value)
    return -ENOMEM;
  snprintf(value, size, "Bearer %s", bearer);
  grpc_metadata *m = &ch->metadata[ch->metadata_count++];
  m->key = grpc_slice_from_static_string("authorization");
  m->value = grpc_slice_from_copied_string(value);
  explicit_bzero(value, size);
  free(value);
  return grpc_header_nonbin_value_is_legal(m->value) ? 0 : -EINVAL;
}

static void drop_metadata(struct rpc_channel *ch)
{
  for (size_t i = 0; i < ch->metadata_count; i++) {
    grpc_slice_unref(ch->metadata[i].key);
    grpc_slice_unref(ch->metadata[i].value);
  }
}

/* Not a name that stands for several. */
static bool is_address(const struct rpc_target *target)
{
  return target->address || target->name[0] == '[' || target->name[strspn(target->name, "0123456789.")] == ':';
}

static void add_args(struct rpc_args *args, const struct rpc_target *target)
{
  rpc_args_add_common(args);
  rpc_args_add(args, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  rpc_args_add(args, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  /* How long one attempt may take, despite its name. Whoever has the channel looks whether it comes on; but of a name's
   * addresses the first may be dead, where gRPC looks it up. */
  rpc_args_add(args, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, is_address(target) ? 120000 : 5000);
  rpc_args_add(args, GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  rpc_args_add(args, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  /* Or a lane would share another's connection, and a channel that is opened again with other settings the old one's.
   */
  rpc_args_add(args, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  rpc_target_add_args(target, args);
}

static grpc_channel *connect_lane(struct rpc_channel *ch, unsigned mark)
{
  struct rpc_args args = ch->args;
  if (ch->nowhere)
    return grpc_lame_client_channel_create(NULL, GRPC_STATUS_UNAVAILABLE, "not connected yet");
  rpc_args_add_client_keepalive(&args, ch->keepalive, (int)mark);
  grpc_channel_args view = rpc_args_view(&args);
  return grpc_channel_create(ch->target.uri, ch->credentials, &view);
}

static void channel_free(struct rpc_channel *ch)
{
  if (ch->credentials)
    grpc_channel_credentials_release(ch->credentials);
  drop_metadata(ch);
  rpc_target_free(&ch->target);
  free(ch);
}

int rpc_channel_open(struct rpc_channel **out, struct rpc_queue *q, const struct rpc_channel_options *options)
{
  struct rpc_channel *ch = calloc(1, sizeof *ch);
  if (!ch)
    return -ENOMEM;
  ch->queue = q;
  ch->refs = 1;
  ch->keepalive = options->keepalive;
  ch->answer_ms = options->answer_ms > 0 ? options->answer_ms : RPC_ANSWER_MS;
  ch->nowhere = options->nowhere;
  int error = rpc_target_make(&ch->target, options);
  if (!error)
    error = make_metadata(ch, options->bearer);
  if (!error)
    error = make_credentials(&ch->credentials, options);
  if (!error) {
    add_args(&ch->args, &ch->target);
    error = rpc_lanes_open(&ch->lanes, ch, connect_lane);
  }
  if (error) {
    channel_free(ch);
    return error;
  }
  *out = ch;
  return 0;
}

static void channel_unref(struct rpc_channel *ch)
{
  if (--ch->refs > 0)
    return;
  rpc_lanes_close(&ch->lanes);
  channel_free(ch);
}

void rpc_channel_close(struct rpc_channel *ch)
{
  channel_unref(ch);
}

struct rpc_queue *rpc_channel_queue(struct rpc_channel *ch)
{
  return ch->queue;
}

unsigned rpc_channel_mark(const struct rpc_channel *ch)
{
  return (unsigned)ch->answer_ms + rpc_queue_mark(ch->queue);
}

struct rpc_lane *rpc_channel_take_lane(struct rpc_channel *ch)
{
  ch->refs++;
  return rpc_lanes_take(&ch->lanes, ch, connect_lane);
}

void rpc_lane_begun(struct rpc_lane *lane)
{
  atomic_fetch_add(&lane->begun, 1);
}

bool rpc_lane_full(struct rpc_lane *lane)
{
  return rpc_lanes_full(&lane->channel->lanes, lane);
}

void rpc_lane_put(struct rpc_lane *lane, bool begun)
{
  struct rpc_channel *ch = lane->channel;
  if (begun)
    atomic_fetch_sub(&lane->begun, 1);
  rpc_lanes_put(&ch->lanes, lane);
  channel_unref(ch);
}

struct rpc_traffic rpc_channel_traffic(struct rpc_channel *ch)
{
  return rpc_lanes_traffic(&ch->lanes);
}

grpc_call *rpc_lane_create_call(struct rpc_lane *lane, const char *method, uint64_t deadline_ms)
{
  gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
  if (deadline_ms > 0)
    deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)deadline_ms, GPR_TIMESPAN));
  grpc_slice path = grpc_slice_from_copied_string(method);
  grpc_call *call = grpc_channel_create_call(lane->connection, NULL, GRPC_PROPAGATE_DEFAULTS,
                                             rpc_queue_cq(lane->channel->queue), path, NULL, deadline, NULL);
  grpc_slice_unref(path);
  return call;
}

void rpc_lane_sends(struct rpc_lane *lane, grpc_call *call, size_t size)
{
  if (size < UNSENT_MESSAGE)
    return;
  uint64_t now = uv_hrtime() / 1000;
  if (!unsent_due(&lane->unsent, now))
    return;
  char *peer = grpc_call_get_peer(call); /* which may be another when gRPC has connected anew */
  unsent_follow(&lane->unsent, peer, now);
  gpr_free(peer);
}

const grpc_metadata *rpc_channel_metadata(struct rpc_channel *ch, size_t *count)
{
  *count = ch->metadata_count;
  return ch->metadata;
}
