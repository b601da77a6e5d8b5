/* How one of several backends fares: how much it has to do, and whether it is better left alone for a while.
 *
 * It is left alone for two reasons. Three dials in a row have failed: whatever listened there does not. Or it is
 * silent: phi (phi.h) is above 8. It is out for 5 seconds then. After that it gets one request for a trial, and if that
 * fares no better it is out again, for twice as long each time, a minute at most. An answer ends all of that.
 *
 * The heartbeats are the beginnings of answers, and one is expected while a request waits for its answer. So nothing is
 * sent to find out, an idle backend is never suspected, and one that always takes ten seconds is not, either. What they
 * tell is not known in another way:
 *   - A process that hangs still has its port open, and dials succeed. Its registration is its mmfs's, and stays.
 *   - An mmfs whose machine has vanished keeps its registration until the router's own patience is over.
 * An mmfs that ends, or loses its target, is known sooner: the router takes its name from the list at once, and whoever
 * is not in the list is not asked here.
 *
 * Pure; one thread. Times are in ms, of a clock that does not go back.
 */
#ifndef GATE_HEALTH_H
#define GATE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "phi.h"

enum { HEALTH_DIALS = 3, HEALTH_OUT_MS = 5000, HEALTH_OUT_MAX_MS = 60000 };

#define HEALTH_PHI_MAX 8.0

enum health_state {
  HEALTH_UP,
  HEALTH_OUT,    /* dials fail */
  HEALTH_SILENT, /* it does not answer */
};

struct health {
  uint64_t requests, failures; /* so far */
  unsigned under_way;          /* requests, until their answers are over */
  unsigned waiting;            /* of them, those whose answers have not begun */
  unsigned dials_failed;       /* in a row */
  bool silent;                 /* it was found so, and has not answered since */
  uint64_t out_until, out_ms;  /* and for how long it is next time */
  struct phi phi;
  double answer_ms; /* how long answers take to begin, lately; < 0: not known */
};

void health_init(struct health *h);
/* It gets a request. One of the next two follows, or neither, and then health_over. */
void health_request(struct health *h, uint64_t now);
/* Its answer has begun, `took` ms after it. */
void health_answered(struct health *h, uint64_t took, uint64_t now);
/* Nothing of the request has reached it: it could not be dialled. */
void health_dial_failed(struct health *h, uint64_t now);
/* The request is over, `answered` or not. */
void health_over(struct health *h, bool answered, uint64_t now);
/* It gave no proper answer, or broke one off. To be counted once for each request. */
void health_failed(struct health *h);

/* Whether it may get a request now. Notices a silence. */
bool health_takes(struct health *h, uint64_t now);
enum health_state health_state(const struct health *h, uint64_t now);

#endif
