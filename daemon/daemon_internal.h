/* The daemon's parts, for the files that know them all. */
#ifndef DAEMON_DAEMON_INTERNAL_H
#define DAEMON_DAEMON_INTERNAL_H

#include <stdbool.h>
#include <uv.h>

#include "carry/host/link_host.h"
#include "carry/net/address.h"
#include "daemon/keep/state_file.h"
#include "daemon/keep/state_format.h"
#include "daemon/start/background.h"
#include "daemon/start/own_identity.h"
#include "proto/host/hangup.h"
#include "proto/host/pace.h"

struct credentials;
struct header;
struct notify;
struct pump_stream;

enum { DAEMON_MESSAGE_MAX = 1200 };

struct daemon {
  const struct mmfs_options *options;
  char router[ADDRESS_TEXT_MAX];
  char *mountpoint;
  struct credentials *credentials;
  struct hangup hangup;
  struct own_identity identity;
  struct state_file state_file;
  char *state_bytes; /* what it had, until it is restored */
  size_t state_size;
  struct state_declarations declared;
  struct background background;
  const struct notify *notify;      /* the service manager */
  char message[DAEMON_MESSAGE_MAX]; /* why it could not start */

  uv_loop_t loop;
  uv_signal_t interrupted, terminated, hung_up;
  uv_timer_t restore_limit; /* how long the forwards that are restored may keep the mount waiting */
  uv_timer_t hear_limit;    /* how long the router may keep those waiting who look at the mount */
  uv_timer_t end_limit;     /* how long the end may take */
  uv_timer_t alive;         /* as long as the loop runs, the manager hears of it */
  struct journal *events, *errors;
  struct pace caused; /* lines that others cause */
  struct rpc_queue *queue;
  struct pump_set *pumps;
  struct raw_set *raws; /* NULL: streams are gRPC calls only */
  struct lookups *lookups;
  struct link *link;
  struct link_host host; /* the link, as what carries connections sees it */
  struct catalogue *catalogue;
  struct services *services;
  struct forwards *forwards;
  struct tunnels *tunnels;
  struct taps *taps;
  struct parked *parked, *parked_raw; /* NULL: by raw streams nobody dials */
  struct answers *answers;
  struct state *state; /* NULL: nothing is kept */
  struct tree *tree;
  bool heard;     /* the router, or why it is not to be had */
  bool served;    /* mounted, and usable */
  bool announced; /* whoever started us was told */
  bool ending;
  int status;
  const struct parts_events *parts_events;
  void (*parts_closed)(struct daemon *d);
};

/* What the parts tell the one who opened them. */
struct parts_events {
  void (*router_heard)(struct daemon *d);     /* it is connected, or it is known why not */
  void (*forward_restored)(struct daemon *d); /* one that was restored listens, or cannot */
  void (*unmounted)(struct daemon *d);        /* somebody unmounted the tree */
};

/* Opens all parts, the tree on top. A negative errno with a sentence in d->message; what was opened stays, for
 * parts_close. */
int parts_open(struct daemon *d, const struct parts_events *events);
void parts_close(struct daemon *d, void (*closed)(struct daemon *d));

/* Takes and reads the state file: 0, or a negative errno with a sentence in `why`. Before any thread exists. */
int declared_read(struct daemon *d, char why[STATE_FILE_WHY_MAX]);
/* Declares what it has, and keeps what is declared from then on. A negative errno with a sentence in d->message. */
int declared_restore(struct daemon *d);
/* Frees what was read. */
void declared_free(struct daemon *d);

/* wiring.c: what the parts tell, with the daemon as `arg`. */
extern const struct credentials_events wiring_of_credentials;
extern const struct link_events wiring_of_link;
extern const struct services_events wiring_of_services;
extern const struct forwards_events wiring_of_forwards;
extern const struct tunnels_events wiring_of_tunnels;
extern const struct taps_events wiring_of_taps;
extern const struct answers_events wiring_of_answers;
void wiring_of_host(enum link_host_news news, void *arg);
void wiring_of_parked(struct pump_stream *stream, const struct header *h, void *arg);
void wiring_of_catalogue(const char *name, void *arg);

#endif
