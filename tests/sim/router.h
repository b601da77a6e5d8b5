/* The router, as far as connections see it, and the streams of its clients. It pairs who dials by name or attaches by
 * member with a stream of the service, lets them wait for it a while, passes messages, and ends both when both have
 * half-closed, or one is gone. What is under way on a stream arrives in order, late, or with the rest of it not at all.
 */
#ifndef SIM_ROUTER_H
#define SIM_ROUTER_H

#include "message.h"
#include "world.h"

enum stream_end {
  STREAM_OK,
  STREAM_LOST,
  STREAM_FAILED, /* refused for good: nobody is there */
};

struct stream;

/* At the client. `ended` is the last. */
struct stream_events {
  void (*message)(struct stream *s, const struct message *m);
  void (*ready)(struct stream *s); /* it takes a message again */
  void (*ended)(struct stream *s, enum stream_end end);
};

struct stream {
  struct world *w;
  uint64_t number;
  struct process *client;
  struct instance *instance; /* NULL: there was no router */

  /* The client's: */
  const struct stream_events *events;
  void *owner;
  bool closed; /* let go: no more events */
  bool over;   /* half-closed, or cancelled: nothing more can be said */
  bool busy;   /* a message is still being sent */
  bool ended;
  struct line *line; /* what the client's end knows of it */
  struct raw *raw;   /* NULL: it is a gRPC call */

  /* The way: */
  bool cut;
  uint64_t delay, last_up, last_down;

  /* The router's: */
  struct label label; /* it began with */
  struct stream *partner;
  struct packet *early, **early_end; /* what came before there was one */
  bool began, waiting, half_closed, finished;
};

void router_start(struct world *w);
/* All streams are over: what it had is closed. */
void router_end(struct world *w);

/* ---- For clients ---- */

/* At the router with which the process is connected; without, it ends at once. `first` has a label. `raw`: it is a TCP
 * connection of its own. */
struct stream *stream_open(struct process *p, const struct message *first, bool raw, const struct stream_events *events,
                           void *owner);
bool stream_can_send(const struct stream *s);
void stream_send(struct stream *s, const struct message *m);
void stream_cancel(struct stream *s);
/* No more events; cancelled if it still runs. */
void stream_close(struct stream *s);

/* ---- For links ---- */

/* The newest router that takes new clients, or NULL. */
struct instance *router_newest(struct world *w);
bool instance_is_alive(const struct instance *i);
/* The service is registered there by connection `registration` of its link, from now on. */
void instance_register(struct world *w, struct instance *i, uint64_t registration);
/* The router noticed that this connection is gone. */
void instance_unregister(struct world *w, struct instance *i, uint64_t registration);

/* ---- Faults ---- */

/* One stream breaks: what is under way on it is lost, and both its ends notice some time later. */
void stream_cut(struct stream *s, uint64_t client_us, uint64_t router_us);
/* Any that is open; NULL: none is. */
struct stream *router_pick(struct world *w);
/* All streams of a process break. */
void router_cut_process(struct world *w, struct process *p, uint64_t client_us, uint64_t router_us);
/* All at once, and nothing is remembered. Another one is there after `down_us`. */
void router_kill(struct world *w, uint64_t down_us);
/* Another one is there at once; this one goes on with what it has for `drain_us`. */
void router_drain(struct world *w, uint64_t drain_us);
/* Ends all pairs there are, as one does when they are too old. */
void router_end_streams(struct world *w);
/* A stream of the service gets this label, as if somebody had dialled. Who answers speaks to nobody; the stream is lost
 * after `lost_us`. */
struct stream *router_forge(struct world *w, const struct label *label, uint64_t lost_us);

#endif
