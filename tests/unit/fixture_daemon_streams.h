/* The streams of connections at the router of fixture_daemon_world.h: what came on each, and what is said on it. */
#ifndef FIXTURE_DAEMON_STREAMS_H
#define FIXTURE_DAEMON_STREAMS_H

#include "fixture_daemon_world.h"

#include "proto/wire/header.h"

enum { STREAM_DATA_MAX = 4096, STREAMS_MAX = 1200, STREAM_LIMIT = 1 << 20 };

struct stream {
  struct fake_call *call; /* NULL: closed */
  enum rpc_status status; /* of the closed one */
  bool original;          /* ProxyConnection */
  int headers;
  struct header first, latest; /* of them */
  bool ours;                   /* the latest is of the link's own member, and so is its key, if it has one */

  char data[STREAM_DATA_MAX];
  size_t size;
  uint64_t offset; /* of the first data, or of an end without data */
  bool eof, half_closed, reset, refused;
  char code[32], reason[300];
  uint64_t taken;
};

struct streams {
  struct stream all[STREAMS_MAX];
  int count;
  bool refuse; /* new ones */
  bool oblige; /* one that is half-closed is ended at once */
  int refused;
};

extern struct streams streams;

/* After world_open. */
void streams_begin(struct world *w);
int streams_live(void);

/* What the router tells of the other side. */
void stream_meet(struct stream *s, bool original);
void stream_say_header(struct world *w, struct stream *s, const struct header *h);

/* `connection` NULL: none. */
struct header stream_dial(const char *service, const uint8_t *connection);

/* What the other side answers to whom this stream is of, when it has received so much. */
struct header stream_answer(const struct stream *s, uint64_t received);
void stream_say_data_at(struct world *w, struct stream *s, uint64_t offset, const char *text, bool eof);
void stream_say_data(struct world *w, struct stream *s, const char *text, bool eof);
void stream_say_ack(struct world *w, struct stream *s, uint64_t taken, uint64_t messages);
void stream_say_eof(struct world *w, struct stream *s);
void stream_say_last_word(struct world *w, struct stream *s, bool refused, const char *code, const char *reason);
void stream_say_reset(struct world *w, struct stream *s, const char *code, const char *reason);
void stream_say_refused(struct world *w, struct stream *s, const char *reason);

/* From now on, and those that were before: nobody waits for their ends. */
void streams_oblige(void);
void stream_finish(struct stream *s, enum rpc_status status, const char *text);

#endif
