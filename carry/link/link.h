/* The daemon's one relation to its router: a channel, kept up with back-off, the watch over the catalogue, and the
 * proof of who this process is. On the loop's thread.
 *
 *     CONNECTING --first answer of the watch, joined--> CONNECTED --watch or heartbeat lost--> CONNECTING ...
 *
 * While it is connected it may be renewed, before what carries it is cut: when the router says that it drains, or how
 * old a stream may become, or when the way to it has changed. Then a second channel is made ready beside the first, and
 * takes its place.
 *
 * A router that does not know WatchServices is an original: then the channel is opened again without keepalive, and
 * ListServices is polled.
 */
#ifndef CARRY_LINK_H
#define CARRY_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/wire/raw.h"
#include "proto/wire/status.h"

struct address;
struct link;
struct public_name;
struct rpc_channel;
struct rpc_queue;
struct lookups;

enum { LINK_MEMBER_SIZE = 16, LINK_MEMBER_KEY_SIZE = 32, LINK_ANSWER_MS = 5000 };

struct link_service {
  const char *name;
  int64_t created; /* seconds since 1970 */
  bool again;      /* told before; the router was lost meanwhile */
};

/* What a gate is told of a service. */
struct link_public {
  const struct public_name *names;
  size_t count;         /* 0: nothing */
  const uint8_t *rules; /* what its owner says of requests: the message Rules, which was not read */
  size_t rules_size;
};

struct link_events {
  /* Connected, or not any more, and why, in one sentence. Told only when it changes; `why` also changes while
   * connecting (see link_trouble). */
  void (*state)(struct link *l, bool connected, const char *why, void *arg);
  /* The catalogue changed: one call per change. After a reconnect, all that is there is told again. */
  void (*service_up)(struct link *l, const struct link_service *service, void *arg);
  void (*service_down)(struct link *l, const char *name, void *arg);
  /* The first whole catalogue after a reconnect or a renewal does not have this name any more, which does not mean that
   * it is gone: the router may be younger than who has it. */
  void (*service_missing)(struct link *l, const char *name, void *arg);
  /* To a gate, as often as the router tells of the service. Good until this returns. */
  void (*service_public)(struct link *l, const char *name, const struct link_public *is, void *arg);
  void (*draining)(struct link *l, void *arg);
  /* link_channel is another one, and nothing was lost in between; the streams on the one of before go on for a while.
   * Replace them: open the new ones first. The catalogue follows. */
  void (*renewed)(struct link *l, void *arg);
  /* An attempt failed, or the way that there was is lost. */
  void (*failed)(struct link *l, void *arg);
  /* It could not be renewed, and why; the present path stays in use. Told only when the reason changes. */
  void (*not_renewed)(struct link *l, const char *why, void *arg);
  /* The router has taken our word for who we are, and that the process before us is over. May be told again. */
  void (*joined)(struct link *l, void *arg);
  /* A member (LINK_MEMBER_SIZE bytes; never this one) is over for good: nothing will come of its connections. May be
   * told again. */
  void (*lost)(struct link *l, const uint8_t *member, void *arg);
  /* A newer process of our identity has its names, from now on and for good. Told once, before the state if that is
   * about to change. */
  void (*superseded)(struct link *l, void *arg);
};

/* Who this process is, as identity.h has it. The seed and the keys are secret. */
struct link_identity {
  const uint8_t *seed;       /* IDENTITY_SEED_SIZE bytes */
  uint64_t instance;         /* higher for each later process of an identity */
  const uint8_t *member_key; /* LINK_MEMBER_KEY_SIZE bytes */
  const uint8_t *former_key; /* as many: of the process before, which joined last; or NULL */
};

/* A gate: the ports at which visitors reach it; 0: it does not serve that. And whether it listens on ports of services.
 */
struct link_gate {
  uint16_t http_port, https_port;
  bool ports;
};

struct link_options {
  const char *target;       /* HOST:PORT */
  const struct address *at; /* NULL, or where to connect to in place of the target, and without a proxy */
  bool tls;
  const char *ca_pem; /* NULL: the system's */
  const char *key;    /* NULL, or the bearer key */
  struct link_identity identity;
  const struct link_gate *gate; /* NULL: this is none */
  uint64_t answer_ms;           /* how long an attempt may stand still; 0: LINK_ANSWER_MS */
};

/* Starts connecting at once. What the options point to is copied. */
int link_open(struct link **out, struct lookups *lookups, struct rpc_queue *q, const struct link_options *options,
              const struct link_events *events, void *arg);
void link_close(struct link *l, void (*closed)(void *arg), void *arg);

bool link_connected(const struct link *l);
/* It is slow, or slow to come: what waits for an answer may have to wait long. */
bool link_is_slow(const struct link *l);
bool link_original(const struct link *l);       /* the router speaks the first version; known once connected */
const char *link_trouble(const struct link *l); /* why it is not connected; "" when it is */
/* The router is there, and does not let us in: that is link_trouble, and no outage. It is asked again all the same. */
bool link_refused(const struct link *l);
uint64_t link_connects(const struct link *l);   /* how often it was connected */
uint64_t link_renewals(const struct link *l);   /* how often it was renewed */
bool link_superseded(const struct link *l);     /* nothing of ours is registered any more, until the process ends */
uint64_t link_stream_age(const struct link *l); /* ms; 0: streams may grow as old as they like */
/* Renews it now; if it is not connected, tries again at once. */
void link_renew(struct link *l);
/* The same, for a reason that only may be one: what is tried for the first time right now is not begun anew. */
void link_renew_perhaps(struct link *l);
/* For attempts from now on; the present path stays in use. Both are copied. 0 or -ENOMEM. */
int link_set_credentials(struct link *l, const char *key, const char *ca_pem);
/* The channel of now, for calls that start now; never NULL between open and close. */
struct rpc_channel *link_channel(struct link *l);
/* This process, for CreateService, ForwardToService and Connect: LINK_MEMBER_SIZE and LINK_MEMBER_KEY_SIZE bytes. The
 * key is a secret. */
const uint8_t *link_member(const struct link *l);
const uint8_t *link_member_key(const struct link *l);

/* Where the router takes raw streams, as the watch of now told; the secret is one. */
struct link_streams {
  struct sockaddr_storage address;
  uint8_t watch[RAW_WATCH_SIZE];
  uint8_t secret[RAW_SECRET_SIZE];
};
/* NULL: nowhere, and *why is a phrase that says why, "" while it is not connected. Good until the next event. */
const struct link_streams *link_streams(const struct link *l, const char **why);
/* It was connected, and is not any more because nothing was heard of the router for too long. */
bool link_went_silent(const struct link *l);

/* Asks the router now whether it knows a service: the fresh answer, or why there is none. `found` is meaningful with
 * RPC_OK. Cancel: rpc status CANCELLED comes. */
struct link_query;
int link_ask(struct link_query **out, struct link *l, const char *name, uint64_t timeout_ms,
             void (*done)(enum rpc_status status, const char *text, bool found, void *arg), void *arg);
void link_ask_cancel(struct link_query *query);

#endif
