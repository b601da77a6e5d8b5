/* The way to one router by raw streams: each is a TCP connection of its own, which the router joins to another one.
 *
 * What all of a loop's lines share is a set. A line is of one watch of the router's, and as good as its secret. It asks
 * the router first whether raw streams work there: a front before it may pass HTTP/2 only, or a firewall this port. Of
 * those that work some connections are kept ready, so that a dial is no more than what is sent. All is on the loop's
 * thread, and nothing is told inside a function here.
 */
#ifndef PROTO_RAW_LINE_H
#define PROTO_RAW_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/wire/raw.h"

struct header;
struct home;
struct raw_line;
struct raw_set;
struct stream;

/* The home must outlive it. 0, or a negative errno. */
int raw_set_open(struct raw_set **out, struct home *home);
/* After all lines were closed, and all streams freed. `closed` runs on the loop, when it is freed. */
void raw_set_close(struct raw_set *set, void (*closed)(void *arg), void *arg);

enum raw_line_state { RAW_ASKING, RAW_UP, RAW_DOWN };

struct raw_line_options {
  struct sockaddr_storage address;
  uint8_t watch[RAW_WATCH_SIZE];
  uint8_t secret[RAW_SECRET_SIZE]; /* is not kept: only keys that come from it */
  /* It is up, or down: from then on it stays so. At most twice; not after the close. */
  void (*changed)(struct raw_line *l, void *arg);
  void *arg;
};

/* Asks at once. 0, or a negative errno. */
int raw_line_open(struct raw_line **out, struct raw_set *set, const struct raw_line_options *options);

/* Why a line is closed. */
enum raw_line_end {
  RAW_REPLACED, /* there is another one; what goes on is its owners' to move */
  RAW_LOST,     /* the watch ended; who does not answer any more is found by TCP's keepalive */
  RAW_SILENT,   /* nothing was heard of the router for long: all streams end, with RPC_UNAVAILABLE */
};
/* No further stream is opened; the line is freed after its last stream. */
void raw_line_close(struct raw_line *l, enum raw_line_end end);

enum raw_line_state raw_line_state(const struct raw_line *l);
/* A phrase that says why it is down. Lives as long as the line. */
const char *raw_line_trouble(const struct raw_line *l);
/* The line is up, and the router has not said lately that what this header wants cannot be had by raw streams. */
bool raw_line_takes(const struct raw_line *l, const struct header *h);
/* A stream for that header, which is to be started with it. NULL: memory is short. The router's RPC_UNIMPLEMENTED
 * ("not by a raw stream"), and all that becomes of a stream before it is one of a pair, are RPC_UNAVAILABLE to its
 * user: for half a minute the line does not take that header then, or it is down. */
struct stream *raw_stream_create(struct raw_line *l, const struct header *h);

#endif
