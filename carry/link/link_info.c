/* What is told of the link to those who ask. */
#include "link_internal.h"

bool link_connected(const struct link *l)
{
  return l->path != NULL;
}

bool link_is_slow(const struct link *l)
{
  return (l->path != NULL && link_path_is_slow(l->path)) || (l->attempt != NULL && link_path_is_slow(l->attempt));
}

bool link_went_silent(const struct link *l)
{
  return l->path == NULL && l->silent;
}

bool link_original(const struct link *l)
{
  return l->path != NULL && l->path->state == PATH_POLLED;
}

bool link_superseded(const struct link *l)
{
  return l->superseded;
}

const char *link_trouble(const struct link *l)
{
  return l->trouble;
}

bool link_refused(const struct link *l)
{
  return l->path == NULL && l->refused;
}

uint64_t link_connects(const struct link *l)
{
  return l->connects;
}

uint64_t link_renewals(const struct link *l)
{
  return l->renewals;
}

struct rpc_channel *link_channel(struct link *l)
{
  return l->channel;
}

uint64_t link_stream_age(const struct link *l)
{
  return l->path != NULL ? l->path->stream_age_ms : 0;
}

const uint8_t *link_member(const struct link *l)
{
  return l->member;
}

const uint8_t *link_member_key(const struct link *l)
{
  return l->member_key;
}
