/* The exchanges of one service that are kept, bounded by a limit in bytes: to make room, the oldest go. One that is
 * kept whole is told to others, who read it in place; so it is freed on the loop's thread only.
 *
 * A lock of the owner's is held in each call.
 */
#ifndef DAEMON_CAPTURES_H
#define DAEMON_CAPTURES_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "dialogue.h"
#include "record.h"

/* Each message has at most this part of the limit, and counts with this much more. */
enum { CAPTURES_SHARE = 4, CAPTURE_COST = 4096 };

struct capture_side {
  char *bytes;
  size_t size, room;
  bool cut; /* there was more */
};

struct capture {
  struct capture_side sides[2]; /* by enum dialogue_way */
  struct record record;         /* once it is done */
  uint64_t id;
  bool done, told;
  size_t cost;
  struct capture **user; /* whoever fills it, and is told by NULL that it went */
  struct capture *prev, *next;
  struct capture *news_prev, *news_next; /* of `done` or `gone` */
  UT_hash_handle hh;
};

struct captures {
  size_t limit, used;
  size_t leaving; /* of what is used, by those that are gone */
  bool here;      /* set by each caller: it is on the loop's thread */
  struct capture *by_id;
  struct capture *oldest; /* a list, in the order of their beginnings */
  struct capture *done;   /* to be told */
  struct capture *gone;   /* to be told, and freed */
};

/* 0: none are kept, and those that are go. */
void captures_set_limit(struct captures *c, size_t limit);
/* *user is the capture, or NULL: there is no room for it. */
void captures_begin(struct captures *c, uint64_t id, struct capture **user);
/* `bytes` NULL: they are not to be had. */
void captures_add(struct captures *c, struct capture *k, enum dialogue_way way, const char *bytes, size_t size);
/* Nobody fills it any more. */
void captures_end(struct captures *c, struct capture *k, const struct record *record);
void captures_drop(struct captures *c, struct capture *k);
/* One that is done; NULL: there is none. */
struct capture *captures_find(const struct captures *c, uint64_t id);

/* On the loop's thread: takes the next id that is kept, or gone, since it was told that it is kept. False: there is
 * none. */
bool captures_next_done(struct captures *c, uint64_t *id);
bool captures_next_gone(struct captures *c, uint64_t *id);

#endif
