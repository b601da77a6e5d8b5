/* A router of raw streams on a thread of its own: it answers questions, and joins the streams whose headers have the
 * same epoch, one with a connection and one that parks. What it passes on it copies, a little at a time. */
#ifndef FIXTURE_PROTO_JOINER_H
#define FIXTURE_PROTO_JOINER_H

#include <stdint.h>

#include "proto/raw/raw_line.h"

/* The options of a line that leads there. */
void joiner_start(struct raw_line_options *out);
void joiner_stop(void);
/* Resets both sides of a pair, now or when there is one. */
void joiner_cut(uint64_t epoch);

#endif
