/* The router's own listeners, before gRPC's: one port for gRPC and for raw streams, which are told apart by their first
 * bytes; and a port for raw streams alone, if there is to be one. What comes is served on a thread of its own, the raw
 * thread. */
#ifndef ROUTER_FRONT_H
#define ROUTER_FRONT_H

#include "strangers.h"

struct front;

struct front_config {
  const char *address; /* for both, HOST:PORT; NULL: there is none */
  const char *streams; /* for raw streams alone; NULL: there is none */
};

/* Listens; nothing is accepted yet. 0, or what listening_open failed with, *address being which of the
 * two it was; or another negative errno. */
int front_open(struct front **out, const struct front_config *config, const char **address);
/* 0: it listens at no such address. */
int front_port(const struct front *f);
int front_streams_port(const struct front *f);
/* The raw thread's. What belongs to that thread is made before front_start, and freed after front_stop. */
struct poller *front_poller(const struct front *f);

/* The raw thread begins; nothing is accepted yet. Callbacks run on it. 0, or a negative errno. */
int front_start(struct front *f, const struct strangers_config *strangers);
/* Accepts from now on. Once, after front_start. */
void front_admit(struct front *f);
/* Listens no more, so that another router may. Connections that were accepted go on. */
void front_leave_address(struct front *f);
/* Waits for the raw thread, which must not need anything that the caller holds; strangers are closed. */
void front_stop(struct front *f);
/* Stops it, if it was started. */
void front_close(struct front *f); /* NULL is fine */

#endif
