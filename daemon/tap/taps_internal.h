/* What the files of the tap share: taps.c has the table of the services that are tapped and what is told, watched.c
 * what is seen of one connection, replay.c a request that is made again. */
#ifndef DAEMON_TAPS_INTERNAL_H
#define DAEMON_TAPS_INTERNAL_H

#include <pthread.h>

#include "captures.h"
#include "dialogue.h"
#include "proto/host/errand.h"
#include "proto/pump/observer.h"
#include "record.h"
#include "taps.h"

struct journal;

enum { TAP_NAME_SIZE = 64, TAP_LINES_MAX = 1024 /* that wait for the loop; more are left out */ };

struct tap_line {
  struct tap_line *next;
  char text[RECORD_LINE_SIZE];
};

/* One connection. */
struct watched {
  struct pump_observer observer;
  struct tap *tap;
  struct tunnel *tunnel; /* NULL: it is a replay's */
  struct watched *prev, *next;
  /* Under the lock: */
  struct dialogue dialogue;
  struct record record;    /* of the present exchange */
  struct capture *capture; /* NULL: it is not kept */
};

/* One service. */
struct tap {
  struct taps *owner;
  UT_hash_handle hh;
  char name[TAP_NAME_SIZE];
  struct journal *log; /* NULL: there is none */
  struct watched *all;
  uint64_t replayed; /* id of the latest replay */
  /* Under the lock: */
  uint64_t last_id;
  struct captures captures; /* the limit changes on the loop's thread */
  struct tap_line *lines;   /* in their order */
  struct tap_line *last_line;
  size_t line_count;
};

struct taps {
  struct home *home;
  struct tunnels *tunnels;
  struct lookups *lookups;
  struct replay *replays;
  size_t replay_count; /* those whose memory is still held */
  const struct taps_events *events;
  void *arg;
  struct tap *table;
  pthread_t loop_thread;
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
  pthread_mutex_t lock;
  struct errand errand;
  bool sent; /* the errand is on its way; under the lock */
};

/* ---- taps.c ---- */

struct tap *taps_find(const struct taps *ts, const char *service);
/* There is something to be told. With the lock held. */
void taps_news(struct taps *ts);
/* Nothing calls back any more. */
void taps_close_if_done(struct taps *ts);

/* ---- watched.c, on the loop's thread, without the lock ---- */

void tap_watch_all(struct tap *tap);
void tap_unwatch_all(struct tap *tap);

/* One that is not yet in the list of its tap. */
void watched_open(struct watched *w, struct tap *tap, struct tunnel *t);
/* Its bytes; as dialogue_pass. Any thread. */
void watched_see(struct watched *w, enum dialogue_way way, const char *bytes, size_t size);
/* What it was about is over. */
void watched_close(struct watched *w);

/* ---- replay.c ---- */

/* All of this service, with this verdict. */
void replays_end(struct taps *ts, const struct tap *tap, int error, const char *why);

#endif
