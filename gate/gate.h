/* The gate: takes HTTP from clients, and passes each request on to the service that its host and path name. On the
 * loop's thread.
 */
#ifndef GATE_GATE_H
#define GATE_GATE_H

#include <stddef.h>

struct address;
struct gate;
struct sites;
struct settings;
struct uv_loop_s;

enum { GATE_WHY_MAX = 600 };

struct gate_events {
  /* Listening at `address` since now. */
  void (*listening)(const char *address, void *arg);
  /* A sentence for the log. */
  void (*says)(const char *sentence, void *arg);
  /* It cannot go on: it cannot listen, and why. Once. */
  void (*failed)(int error, const char *why, void *arg);
};

/* `sites` must outlive it. 0, or a negative errno with a sentence in `why`; the loop must run either way. */
int gate_open(struct gate **out, struct uv_loop_s *loop, const struct settings *settings, const struct address *http,
              struct sites *sites, const struct gate_events *events, void *arg, char why[GATE_WHY_MAX]);
/* Stops accepting, and calls back when the clients are gone: those that have nothing under way at once, the others when
 * they have their answers. */
void gate_drain(struct gate *g, void (*drained)(void *arg), void *arg);
/* Cuts what is still under way. */
void gate_close(struct gate *g, void (*closed)(void *arg), void *arg);

#endif
