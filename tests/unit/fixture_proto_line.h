/* A line that several senders share, packet by packet: it has a rate, a delay, a queue that drops what it has no room
 * for, and loss. The senders are what TCP has: one like BBR, which measures rate and round trip, and takes no notice of
 * loss; one like Reno, which fills the queue until it loses; and one that sends at a rate, whatever happens. Time
 * passes in ticks, and chance is a sequence: every run is the same.
 *
 * Ours are looked at by the controller, all as one peer.
 */
#ifndef FIXTURE_PROTO_LINE_H
#define FIXTURE_PROTO_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow/pacing.h"

enum { LINE_SENDERS = 128, LINE_PACKET = 1448 };

#define MBIT UINT64_C(125000)
#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)

enum line_kind { LINE_BBR, LINE_RENO, LINE_FIXED };

struct line;

struct line *line_open(uint64_t rate, uint64_t rtt_us, uint64_t queue_us);
void line_close(struct line *l);
/* What changes it, at any time. */
void line_set_rate(struct line *l, uint64_t rate);
void line_set_rtt(struct line *l, uint64_t rtt_us);
void line_set_loss(struct line *l, unsigned of_10000);
/* Without the controller, to compare. */
void line_control(struct line *l, bool on);

/* Returns its number. `rate`: bytes per second that its application has; 0: more than the line carries. */
size_t line_add(struct line *l, enum line_kind kind, bool ours, uint64_t rate);
void line_stop(struct line *l, size_t sender);

/* What passed in a time. */
struct line_figures {
  double ours, others;     /* bytes per second that arrived */
  double least, most;      /* of one of ours that was there at the end */
  double queue50, queue90; /* microseconds that a packet waits, median and the longest tenth */
};

struct line_figures line_run(struct line *l, uint64_t us);
/* The rate that the controller told this one. */
uint64_t line_paced(const struct line *l, size_t sender);

#endif
