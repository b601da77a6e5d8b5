/* proto/pump/pump.h on flows and lines: what the glue believes to be pumps and streams. */
#ifndef SIM_PUMP_H
#define SIM_PUMP_H

#include "flow.h"
#include "proto/pump/pump.h"

struct side;

struct pump_set {
  struct process *process;
};

struct pump {
  struct flow flow;
  struct process *process;
  struct side *side; /* NULL until it is known whose it is */
  const struct pump_events *events;
  void *arg;
  bool has_socket, closed;
};

struct pump_stream {
  struct line *line;
  const struct pump_stream_events *events;
  void *arg;
};

/* From now on it moves bytes. */
void pump_begin(struct pump *p, struct side *side);
/* A header as it is simulated, and back. Whose connection, and who, are numbers. */
struct label pump_label(const struct header *h);
struct header pump_header(const struct label *l);
struct pump_stream *pump_stream_of(struct line *l);
struct pump_stream *pump_stream_dial(struct process *p, const struct label *first, bool raw,
                                     const struct pump_stream_events *events, void *arg);

#endif
