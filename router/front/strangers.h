/* Connections that were accepted and have not yet said enough to tell what they are. What they say is looked at, and
 * left where it is. They are bounded in number and in time: a newer one takes the place of the oldest.
 *
 * On the poller's thread. */
#ifndef ROUTER_STRANGERS_H
#define ROUTER_STRANGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/host/poller.h"

struct stranger;

struct strangers_config {
  size_t max;
  unsigned ms; /* until it must have said it */
  /* Takes the descriptor, which is non-blocking, not in the poller, and ends in order: a caller of gRPC's, or somebody
   * else. */
  void (*grpc)(int fd, void *arg);
  /* Takes the descriptor, which ends by a reset, and on which this whole preamble of a raw stream stands. `watched`: by
   * this the poller watches it, until this returns; NULL: it does not. A callback that is NULL: there are no raw
   * streams. */
  void (*raw)(int fd, struct poller_watch *watched, const uint8_t *preamble, size_t size, void *arg);
  void *arg;
};

struct strangers {
  struct strangers_config config;
  struct poller *poller;
  struct poller_delay delay;
  struct stranger *oldest;
  size_t count;
};

/* Copies `config`. */
void strangers_open(struct strangers *all, struct poller *p, const struct strangers_config *config);
/* Closes those that are left. */
void strangers_close(struct strangers *all);
/* Takes the descriptor. `raw_only`: what is no raw stream is closed. */
void strangers_add(struct strangers *all, int fd, bool raw_only);
/* Closes the one that has waited longest. False: there is none. */
bool strangers_drop_oldest(struct strangers *all);

#endif
