/* The requests of one connection to a target, and the answers, read off the bytes of both ways. It only looks on:
 * whatever it cannot read makes it silent.
 *
 *     IN STEP --no HTTP/1, another protocol after 101, requests that do not wait for answers--> SILENT
 *     IN STEP --bytes that had to be read went by unseen--> LOST
 *     LOST --a request begins right behind an answer--> IN STEP; TRIES_MAX times it was none --> SILENT
 *
 * Pure. On one thread at a time.
 */
#ifndef DAEMON_DIALOGUE_H
#define DAEMON_DIALOGUE_H

#include "proto/http1/parser.h"

enum dialogue_way { DIALOGUE_REQUEST, DIALOGUE_ANSWER };
enum dialogue_state { DIALOGUE_IN_STEP, DIALOGUE_LOST, DIALOGUE_SILENT };

struct dialogue;

/* One exchange after the other: `began`, then the others, then `over`. */
struct dialogue_events {
  /* A request's head is in d->parsers[DIALOGUE_REQUEST].head. */
  void (*began)(struct dialogue *d);
  /* The head of an answer, and not of an interim one, is in d->parsers[DIALOGUE_ANSWER].head. */
  void (*answered)(struct dialogue *d);
  /* Bytes of a message as they went by, heads and what is around chunks included; NULL: unseen. */
  void (*passed)(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size);
  /* `whole`: both messages came to their ends. */
  void (*over)(struct dialogue *d, bool whole);
};

struct dialogue {
  const struct dialogue_events *events;
  enum dialogue_state state;
  struct http1_parser parsers[2];
  uint64_t bodies[2]; /* bytes of the bodies of the present exchange, without what is around chunks */
  bool begun;         /* there is one */
  bool ended[2];
  bool last; /* and no other is read after it */
  /* LOST: */
  enum dialogue_way latest; /* the way of the latest bytes */
  bool tries;               /* they may be a request */
  unsigned tried;
};

/* `middle`: the connection is not new. */
void dialogue_init(struct dialogue *d, bool middle, const struct dialogue_events *events);
/* Bytes went that way; `bytes` NULL: unseen; `size` 0: the end of that way. */
void dialogue_pass(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size);
/* Whether the next bytes of that way have to be seen; `all`: those of bodies, too. */
bool dialogue_watches(const struct dialogue *d, enum dialogue_way way, bool all);
/* The connection is over: so is the exchange. */
void dialogue_close(struct dialogue *d);
/* Without an event. */
void dialogue_free(struct dialogue *d);

#endif
