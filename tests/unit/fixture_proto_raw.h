/* One end of raw streams with a loop of its own, and a router that is played by the test: it accepts, reads and says
 * what it is told to. All on one thread: whoever waits here lets the loop run. */
#ifndef FIXTURE_PROTO_RAW_H
#define FIXTURE_PROTO_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/raw/raw_line.h"
#include "proto/stream/message.h"
#include "proto/stream/stream.h"
#include "proto/wire/header.h"

enum { RAW_HEARD_MAX = 64 };

struct raw_end {
  uv_loop_t loop;
  struct home *home;
  struct raw_set *set;
  struct raw_line *line; /* NULL: closed */
  unsigned changes, closed;
  int listener;
  struct raw_line_options options;
  struct raw_keys keys; /* the router's */
  uint64_t last_counter;
};

/* Without a line. */
void raw_end_open(struct raw_end *e);
/* Closes the line, if there is one, and whatever else there is. All streams are freed. */
void raw_end_close(struct raw_end *e);
/* A line that is up: the router has answered its question. */
void raw_end_line(struct raw_end *e);
/* A line whose question is not answered yet. */
void raw_end_ask(struct raw_end *e);

/* Lets the loop run until it is so; the test fails if that takes too long. */
#define RAW_UNTIL(e, so)                                                                                               \
  do {                                                                                                                 \
    for (int raw_turns = 0; !(so); raw_turns++)                                                                        \
      raw_turn(e, raw_turns, #so);                                                                                     \
  } while (false)
void raw_turn(struct raw_end *e, int turns, const char *what);

/* ---- The router ---- */

/* The next connection, non-blocking. */
int raw_router_accept(struct raw_end *e);
/* That nobody connects is told by what comes next: how many connections wait to be accepted is not known. */
bool raw_router_has_none(struct raw_end *e);
/* Exactly so much. */
void raw_router_read(struct raw_end *e, int fd, void *out, size_t size);
/* The next preamble, opened. Returns the size of its plaintext; its counter is in `last_counter`. */
size_t raw_router_preamble(struct raw_end *e, int fd, uint8_t first[RAW_FIRST_MAX]);
/* The next frame: its size. */
size_t raw_router_frame(struct raw_end *e, int fd, uint8_t *out, size_t max);
/* Words that answer the latest preamble. */
void raw_router_status(struct raw_end *e, int fd, enum rpc_status status, const char *text);
void raw_router_first(struct raw_end *e, int fd, const void *first, size_t size);
void raw_router_say(struct raw_end *e, int fd, const void *bytes, size_t size);
void raw_router_say_frame(struct raw_end *e, int fd, const void *bytes, size_t size);
/* Whether an end in order has come; `reset`: or anything else. */
bool raw_router_sees_end(int fd);
bool raw_router_sees_reset(int fd);
void raw_router_reset(int fd);

/* ---- A user of a stream ---- */

struct raw_user {
  struct stream *stream;
  struct message *heard[RAW_HEARD_MAX];
  size_t heard_count;
  unsigned greedy; /* asks for so many more, each as soon as one came */
  bool nothing_more;
  unsigned said_good, said_bad, ended;
  enum rpc_status status;
  char text[256];
};

const struct stream_user *raw_user_events(void);
/* Creates and starts it. What it said is returned. */
enum stream_said raw_user_start(struct raw_user *u, struct raw_end *e, const struct header *h);
enum stream_said raw_user_say(struct raw_user *u, const void *bytes, size_t size, bool last);
/* A body by reference behind a head. */
enum stream_said raw_user_say_body(struct raw_user *u, const char *head, const struct bytes *body, bool last);
void raw_user_hear(struct raw_user *u);
bool raw_user_heard(const struct raw_user *u, size_t i, const void *bytes, size_t size);
/* Frees what it heard, and the stream. */
void raw_user_free(struct raw_user *u);

#endif
