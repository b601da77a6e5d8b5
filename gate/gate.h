/* The gate: takes HTTP from clients, with TLS or without, and passes each request on to the service that its host and
 * path name. On the loop's thread.
 */
#ifndef GATE_GATE_H
#define GATE_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "carry/net/address.h"

struct gate;
struct settings;
struct trust;
struct uv_loop_s;

enum { GATE_WHY_MAX = 600, GATE_GIVEN_MAX = 8 };

/* Where it listens. Nowhere, if all is zero. */
struct gate_entry {
  const struct address *address;
  /* Sockets that listen already, in its place; gate_open takes them. */
  int given[GATE_GIVEN_MAX];
  unsigned given_count;
};

struct gate_options {
  const struct settings *settings;
  struct gate_entry http, https;
  const char *certs;   /* the directory of the certificates; with https */
  const char *webroot; /* where challenges of ACME are; NULL: nowhere */
  /* The ports that visitors type, where a front stands before the gate; 0: none. Both 0: the gate's own. */
  uint16_t public_http, public_https;
  const struct trust *trust; /* never NULL: the fronts whose word is taken for who the client is */
};

struct gate_events {
  /* Listening at `address` since now, for https or http. */
  void (*listening)(const char *address, bool https, void *arg);
  /* There is a way to the router since now, or it has just said that it does not let us in. */
  void (*reached)(void *arg);
  /* A sentence for the log. */
  void (*says)(const char *sentence, void *arg);
  /* It cannot go on, and why. Once. */
  void (*failed)(int error, const char *why, void *arg);
};

/* `options` and all in them must outlive it. 0, or a negative errno with a sentence in `why`; the loop must run either
 * way. */
int gate_open(struct gate **out, struct uv_loop_s *loop, const struct gate_options *options,
              const struct gate_events *events, void *arg, char why[GATE_WHY_MAX]);
/* Reads the certificates anew. */
void gate_reload(struct gate *g);
/* Stops accepting, in such a way that nobody is refused if another gate listens there, too; and calls back when the
 * clients are gone: those that have nothing under way soon, the others when they have their answers. */
void gate_drain(struct gate *g, void (*drained)(void *arg), void *arg);
/* Cuts what is still under way. */
void gate_close(struct gate *g, void (*closed)(void *arg), void *arg);

#endif
