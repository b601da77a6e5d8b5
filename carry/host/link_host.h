/* The link as what tunnels rest on. On the loop's thread.
 *
 * Where the router takes raw streams, connections go over those, and by gRPC otherwise: while raw streams do not work,
 * or for what cannot be had by one. A stream that waits for a dial is of one kind, as the dial is; so each kind is a
 * way of its own, too.
 */
#ifndef CARRY_LINK_HOST_H
#define CARRY_LINK_HOST_H

#include <stdbool.h>

#include "carry/tunnel/carry_host.h"

struct link;
struct pump_set;
struct raw_line;
struct raw_set;

enum link_host_news {
  LINK_HOST_UP,      /* the way is up */
  LINK_HOST_RENEWED, /* it is another one */
  LINK_HOST_KINDS,   /* raw streams do not work any more */
};

struct link_host {
  struct carry_host host; /* of the better kind for each stream */
  struct carry_host grpc; /* of one kind: only to park */
  struct carry_host raw;  /* the same; it is up while raw streams work */
  struct link *link;
  struct pump_set *pumps;
  struct raw_set *raws;  /* NULL: no raw streams */
  struct raw_line *line; /* the path's, or NULL */
  bool was_connected;
  enum link_host_news next; /* of the line's news; LINK_HOST_UP: the way is not up before */
  void (*told)(enum link_host_news news, void *arg);
  void *arg;
};

/* All must outlive what rests on it; nothing is to be freed. */
void link_host_init(struct link_host *out, struct link *link, struct pump_set *pumps);
/* Raw streams are used where they work. News never come inside a function here. */
void link_host_use_raw(struct link_host *h, struct raw_set *raws, void (*told)(enum link_host_news news, void *arg),
                       void *arg);
/* To be called when the link has another state, or is renewed, before anybody looks at the way. False: that the way is
 * up, or renewed, is told later, when it is known of what kinds it is. */
bool link_host_follow(struct link_host *h);
/* No raw stream is opened any more. */
void link_host_close(struct link_host *h);
/* Streams that are opened now are raw ones, as a rule; or *why is a phrase that says why not, "" while there is no way.
 * Good until the next event. */
bool link_host_is_raw(const struct link_host *h, const char **why);

#endif
