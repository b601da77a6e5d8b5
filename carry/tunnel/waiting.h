/* Streams that wait: each for the other side's first word, or for its end, and none for ever. What comes is told to the
 * owner of the set, which leaves the stream there or takes it out. On the loop's thread.
 */
#ifndef CARRY_WAITING_H
#define CARRY_WAITING_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/wire/status.h"

struct carry_host;
struct header;
struct pump_stream;
struct waiting_set;

enum waiting_what {
  WAITING_HEADER,   /* as the events of a pump_stream */
  WAITING_ORIGINAL, /* the same */
  WAITING_RESET,    /* the same */
  WAITING_REFUSED,  /* the same */
  WAITING_ENDED,    /* the same; the stream must be taken out */
  WAITING_DUE,      /* its time is over: it must be taken out, or given more */
};

/* Lives as long as the callback. */
struct waiting_news {
  enum waiting_what what;
  const struct header *header; /* WAITING_HEADER */
  enum rpc_status status;      /* WAITING_ENDED */
  const char *text;            /* WAITING_RESET, WAITING_REFUSED, WAITING_ENDED */
};

/* One of them; the caller's memory, which must stay until the stream is taken out. */
struct waiting {
  struct waiting_set *set;
  struct pump_stream *stream;
  uint64_t since_ms, due_ms; /* by the loop's clock */
  struct waiting *prev, *next;
};

/* May take out `w`, and no other; new ones may be added. */
typedef void (*waiting_cb)(struct waiting *w, const struct waiting_news *news);

struct waiting_set {
  uv_loop_t *loop;
  const struct carry_host *host; /* NULL: waiting_open_stream is not called */
  waiting_cb came;
  void *owner;
  struct waiting *oldest; /* the list, in the order in which they were added */
  size_t count;
  uv_timer_t timer; /* runs while one has a deadline */
  uint64_t fires_ms;
  void (*closed)(void *owner);
};

/* `loop`, `host`, `came` and `owner` are set. */
int waiting_set_open(struct waiting_set *set);
/* None is in it any more. `closed` follows. */
void waiting_set_close(struct waiting_set *set, void (*closed)(void *owner));

enum { WAITING_FOR_EVER = 0 };

/* Opens a stream that begins with `header`, and waits for so long; 0, or a negative errno. */
int waiting_open_stream(struct waiting_set *set, struct waiting *w, const struct header *header, uint64_t ms);
/* Takes over an open stream. */
void waiting_adopt(struct waiting_set *set, struct waiting *w, struct pump_stream *s, uint64_t ms);
/* Opens another stream in place of the present one, which is closed. On failure the present one stays. */
int waiting_open_again(struct waiting *w, const struct header *header);
/* From now on it waits for so long. */
void waiting_extend(struct waiting *w, uint64_t ms);
/* It waits no more; the stream is the caller's, to hand over or close. */
struct pump_stream *waiting_take(struct waiting *w);

#endif
