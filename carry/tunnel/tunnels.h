/* The connections that this program carries, as a table: one tunnel for each. On the loop's thread.
 *
 * A tunnel joins a local socket and streams to the router, which come and go; what happens when is decided by the state
 * machine of connection.h.
 */
#ifndef CARRY_TUNNELS_H
#define CARRY_TUNNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/proxy_header.h"

struct address;
struct carry_host;
struct end_addresses;
struct header;
struct pump_set;
struct pump_stream;
struct tunnel;
struct tunnels;
struct lookups;
struct pump_observer;

enum tunnel_role { TUNNEL_FORWARD, TUNNEL_SERVICE }; /* we accepted the connection, or we dial the target */

/* `detached` and `resumed` may be NULL. */
struct tunnels_events {
  void (*opened)(struct tunnel *t, void *arg);
  /* The tunnel is freed when this returns. */
  void (*closed)(struct tunnel *t, void *arg);
  /* It has no stream for now, and why (a phrase that lives as long as the call); and it goes on again. */
  void (*detached)(struct tunnel *t, const char *why, void *arg);
  void (*resumed)(struct tunnel *t, void *arg);
  /* Something that a user should read (a target that refuses, a router that does not know the name): a sentence, which
   * does not say of which connection. */
  void (*failed)(struct tunnel *t, const char *what, void *arg);
};

/* How long a connection lives without a stream while the router does not let us in. */
enum { TUNNELS_REFUSED_MS = 60000 };

struct tunnels_options {
  uint64_t dial_ms; /* how long a new connection waits for the router and for the other side */
  uint64_t hold_ms; /* how long one lives without a stream */
};

int tunnels_open(struct tunnels **out, struct lookups *lookups, const struct carry_host *host, struct pump_set *pumps,
                 const struct tunnels_options *options, const struct tunnels_events *events, void *arg);
/* Resets every connection; `closed` when all are gone, and the table is freed. */
void tunnels_close(struct tunnels *ts, void (*closed)(void *arg), void *arg);

/* A forward accepted `fd` (taken over in any case) from `peer` for `service`. `ends`: whose connection that is, or NULL
 * if `fd` tells. */
void tunnels_forward(struct tunnels *ts, const char *service, int fd, const char *peer,
                     const struct end_addresses *ends);

/* What a service leads to. */
struct tunnels_target {
  const struct address *address; /* NULL: the service is not ours any more, and the other side is told so */
  enum proxy_version proxy;      /* how the target is told who its client is */
};

/* A stream (taken over in any case) brought `h`, which dials a service or attaches to a connection. A dial is connected
 * to `target`. */
void tunnels_accept(struct tunnels *ts, struct pump_stream *s, const struct header *h,
                    const struct tunnels_target *target);
/* The same for a stream of the first version, which dialled `service`. */
void tunnels_accept_original(struct tunnels *ts, struct pump_stream *s, const char *service,
                             const struct tunnels_target *target);

/* The way of the host is up, is not, or is refused; its owner passes on what it hears. */
void tunnels_way_changed(struct tunnels *ts);
/* The way is another one: streams are to move to it. */
void tunnels_renew(struct tunnels *ts);
/* A newer process of our identity has taken over: no other side comes back to the connections of our services. */
void tunnels_superseded(struct tunnels *ts);
/* A process (HEADER_MEMBER_SIZE bytes) is over for good. */
void tunnels_peer_lost(struct tunnels *ts, const uint8_t *member);

struct tunnel_info {
  uint64_t id; /* small, never reused, not a secret */
  enum tunnel_role role;
  const char *service;
  const char *peer;    /* the local socket's other end */
  const char *trouble; /* NULL, or why it is detached; lives as long as nothing happens */
  char state[32];      /* "waiting", "dialing", "open", "detached 3s", "closing" */
  const char *stream;  /* NULL, or the kind of its current stream */
  uint64_t bytes_in;   /* from the network to the local socket */
  uint64_t bytes_out;  /* from the local socket to the network */
  uint64_t spliced;    /* of both */
  uint64_t age_s;
  bool orderly;   /* the other side said its end, and nothing failed or was reset so far */
  bool reset;     /* by the other side */
  bool unreached; /* a forward's: nothing of it has got to the service's target, for certain */
  /* As in pump_counters, as is `spliced`: */
  uint64_t window, unacked, queued; /* bytes */
  uint64_t rate;                    /* bytes per second */
  uint64_t rtt_us;
};
struct tunnel_info tunnel_info(const struct tunnel *t);
/* For the tree's entry of this tunnel. */
void tunnel_set_user(struct tunnel *t, void *user);
void *tunnel_user(const struct tunnel *t);
/* As pump_observe; it may be freed from `closed` on. */
void tunnel_observe(struct tunnel *t, struct pump_observer *o);
struct pump_observer *tunnel_observer(const struct tunnel *t);
/* Resets both sides. `closed` follows, not inside this call. */
void tunnel_cut(struct tunnel *t);

struct tunnels_stats {
  uint64_t live, total, failed; /* connections */
  uint64_t bytes_in, bytes_out; /* of all, the ended ones included */
};
size_t tunnels_served(const struct tunnels *ts);   /* that live, to our services */
size_t tunnels_detached(const struct tunnels *ts); /* that live, and have no stream */
/* The live one after `t` of this service in this role, or the first; NULL: there is none. */
struct tunnel *tunnels_next(const struct tunnels *ts, enum tunnel_role role, const char *service,
                            const struct tunnel *t);
/* Of one service in one role; all services when NULL. */
struct tunnels_stats tunnels_stats(const struct tunnels *ts, enum tunnel_role role, const char *service);

#endif
