/* A client's end of a stream, as the copy path has it: what is due to be said on it, what came first, and what came
 * behind that and waits until the stream is a flow's. What it tells its owner comes through the loop: in order, perhaps
 * late, and never inside a function that is called.
 */
#ifndef SIM_LINE_H
#define SIM_LINE_H

#include "router.h"

struct flow;
struct line;

struct line_events {
  void (*header)(struct line *l, const struct label *h);
  void (*original)(struct line *l);
  void (*reset)(struct line *l);
  void (*refused)(struct line *l);
  void (*ended)(struct line *l, enum stream_end end);
};

struct line {
  struct stream *stream;
  const struct line_events *events;
  void *owner;
  struct flow *flow; /* it is the current one of this */
  bool closed;
  bool original; /* the other side speaks the first version */
  bool end_due;  /* it is over, but the owner is not told yet */
  enum stream_end end;
  bool answer_due, reset_due, refused_due, half_close_due;
  bool resumes;        /* what was sent on another stream */
  struct label answer; /* to be said */
  struct label heard;
  struct held *held, **held_end;
  uint64_t told_at;
  unsigned untold; /* on their way */
};

struct line *line_open(struct process *p, const struct label *label, bool raw, const struct line_events *events,
                       void *owner);
/* Of a stream that the router gives. */
struct line *line_parked(struct stream *s, const struct line_events *events, void *owner);
void line_hand_over(struct line *l, const struct line_events *events, void *owner);
/* What came is handed to the flow. */
void line_feed(struct line *l);

/* As soon as a message can be sent; what the flow has goes before a half-close. */
void line_answer(struct line *l, const struct label *h);
void line_say_reset(struct line *l);
void line_say_refused(struct line *l);
void line_half_close(struct line *l);
void line_cancel(struct line *l);
void line_close(struct line *l);

/* The other side speaks the first version. */
void line_meet_original(struct line *l);
/* For the flow, when it has written all: whether the end is to be told now. */
void line_check_end(struct line *l);
/* For the flow: says what is due before data. False: nothing was, or nothing can be said. */
bool line_say_next(struct line *l);

#endif
