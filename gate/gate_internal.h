/* What the files of the gate share.
 *
 *     client --> [parser of requests] --> upstream's socket --> tunnel --> target
 *     client <-- [parser of answers]  <-- upstream's socket <-- tunnel <-- target
 *
 * Each arrow reads only while nothing waits at its end, so at most one read of GATE_READ bytes is ever held for each
 * direction.
 */
#ifndef GATE_INTERNAL_H
#define GATE_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "carry/link/link.h"
#include "exchange.h"
#include "gate.h"
#include "gate/balance/health.h"
#include "gate/paths/sites.h"
#include "gate/rules/rulesets.h"
#include "proto/http1/parser.h"
#include "socket.h"

struct carrier;
struct client;
struct http2_session;
struct listener;
struct lookups;
struct nest;
struct renewal;
struct tls;
struct tls_context;
struct tunnel;
struct tunnels_events;

enum {
  GATE_READ = 64 * 1024,
  GATE_HEAD_MS = 10000,  /* a head, or a hello, from its first byte to its last */
  GATE_IDLE_MS = 60000,  /* a client from whom something is wanted */
  GATE_LINGER_MS = 2000, /* a client that was said good-bye */
  GATE_POOL_MS = 10000,  /* a connection to a target that nobody uses */
  GATE_RETRY_MS = 1000,  /* a port that could not be listened on */
  GATE_POOL_MAX = 128,   /* such connections of one service */
  GATE_UNSURE_MS = 5000, /* a request, until it is known which hosts there are */
  GATE_SETTLE_MS = 2000, /* after the first list of them */
  GATE_LEAVE_MS = 500,   /* a handshake, or the next request of a client, when the gate is told to end */
  GATE_REACH_MS = 5,     /* between two looks whether a target has taken something */
};

/* ---- Backends (backends.c) ---- */

/* A service that requests are passed on to: there is one as long as it is in the list of routes, or has connections. */
struct backend {
  UT_hash_handle hh;
  uint64_t id; /* never reused */
  struct health health;
  bool listed;
  size_t count; /* of connections */
  struct upstream *idle;
  unsigned idle_count;
  char service[];
};

/* One of the services that is to get this request, and has not failed it yet (`x` NULL: none has). NULL: there is none,
 * or no memory. */
struct backend *backends_choose(struct gate *g, const char *const *services, size_t count, const struct exchange *x);
/* The last connection is gone. */
void backend_unused(struct gate *g, struct backend *b);
/* A new list: backends_begin, backends_keep for each service in it, backends_settle. */
void backends_begin(struct gate *g);
void backends_keep(struct gate *g, const char *service);
void backends_settle(struct gate *g);
void backends_close(struct gate *g);

/* ---- Connections to targets (upstream.c) ---- */

/* An exchange's, or idle. */
struct upstream {
  struct gate_socket socket; /* first */
  struct gate *gate;
  struct backend *backend;
  struct tunnel *tunnel;     /* NULL: it is over */
  struct exchange *exchange; /* NULL: nobody's */
  struct http1_parser parser;
  char *client; /* whose alone it is; NULL: anybody's */
  bool reused;
  bool idle;                       /* in the pool */
  bool answers;                    /* something of the answer has come */
  bool reached;                    /* the target has something of what came on this connection */
  bool unreached;                  /* and it has not, for certain */
  bool held;                       /* no more is taken until it has */
  struct http1_out kept;           /* all that was given, until then */
  uint64_t asked_at;               /* ms */
  unsigned trouble;                /* the status that tells clients why there is no answer; 0: it ended in order */
  struct poller_deadline deadline; /* in the pool, or held */
  struct upstream *prev, *next;
};

extern const struct tunnels_events upstream_events;

/* An idle one, of this client if the service's are not shared, or a new one if there is none or `fresh`. NULL: out of
 * memory or descriptors. */
struct upstream *upstream_take(struct backend *b, struct exchange *x, bool fresh);
/* Whether it takes more of a request. */
bool upstream_has_room(struct upstream *u);
/* What was written to its socket, behind so many bytes that waited before. */
void upstream_given(struct upstream *u, size_t before);
/* Something of an answer has come. */
void upstream_answered(struct upstream *u);
/* It has ended without one, or in the middle of one, or its answer is none. */
void upstream_failed(struct upstream *u);
/* It is free for the next request. */
void upstream_give(struct upstream *u);
void upstream_close(struct upstream *u, bool reset);
/* Nothing went wrong so far: an end is an end. */
bool upstream_is_orderly(const struct upstream *u);
/* Nothing of the request has reached the target, for certain. */
bool upstream_is_unreached(const struct upstream *u);
/* The status for a client that gets no answer from it. */
unsigned upstream_trouble(const struct upstream *u);
void upstream_idle_too_long(struct poller_deadline *d);
void upstream_look(struct poller_deadline *d);

/* ---- Exchanges (exchange.h) ---- */

bool exchange_method_is(const struct exchange *x, const char *name);
/* It got no answer: to another connection, if that is safe (retry.c). */
bool exchange_retry(struct exchange *x);

/* With a backend that has not failed it. False: there is none, or nothing to make a connection with. */
bool exchange_connect(struct exchange *x, bool fresh);
void exchange_write_head(struct exchange *x);
/* To the service that has its host and path, if there is one. `refuse` may be called. */
void exchange_route(struct exchange *x);
/* Whether the gate answers it itself (own.c). */
bool own_answer(struct exchange *x);
/* No service has its host. */
void exchange_refuse_unknown(struct exchange *x);

/* ---- Requests that wait until it is known which hosts there are (waits.c) ---- */

/* False: it does not wait. */
bool waits_enter(struct exchange *x);
void waits_leave(struct exchange *x); /* no harm if it does not wait */
/* There is another list. Clients may be gone afterwards. */
void waits_told(struct gate *g);
void waits_due(struct poller_deadline *d);
void waits_settled(struct poller_deadline *d);

/* ---- Clients ---- */

enum client_state {
  CLIENT_HEAD,     /* waits for a request */
  CLIENT_EXCHANGE, /* a request is passed on, its answer comes back, or both */
  CLIENT_OPAQUE,   /* another protocol is spoken */
  CLIENT_STREAMS,  /* HTTP/2 is */
  CLIENT_LINGER,   /* says good-bye: what waits is written, what comes is thrown away */
  CLIENT_GONE,
};

struct client {
  struct gate_socket socket; /* first */
  struct gate *gate;
  enum client_state state;
  char *peer;
  bool unknown;          /* which HTTP it speaks; what came of a preface of HTTP/2 is kept */
  struct http1_out kept; /* what came, and is not parsed yet */
  struct http1_parser parser;
  struct exchange exchange;
  bool asked;                    /* at least once */
  bool chunked;                  /* the answer is */
  bool close_after;              /* the connection ends with this exchange */
  struct http2_session *session; /* of HTTP/2 */
  bool reset;                    /* it goes without an end */
  struct poller_delay *delay;    /* NULL: no deadline */
  struct poller_deadline deadline;
  struct client *prev, *next;
};

/* client.c */
/* Takes `fd`, and `tls` on it (NULL: none), over. */
void client_open(struct gate *g, int fd, struct tls *tls, const char *peer);
/* Goes on with all that can go on. The client may be gone afterwards. */
void client_run(struct client *c);
void client_close(struct client *c);
void client_due(struct poller_deadline *d);
/* The answer is the gate's own. */
void client_answer(struct client *c, const struct page *page);
/* The request and its answer are over. */
void client_exchange_over(struct client *c);
/* It cannot be told in HTTP any more that something went wrong. */
void client_cut(struct client *c);

/* request.c: whether something has moved. */
bool request_move(struct client *c);
/* Not known: it may be HTTP/2, or is. The bytes are to be kept. */
bool client_is_known(struct client *c, const char *bytes, size_t size);
/* answer.c */
extern const struct exchange_side client_side;
/* streams.c */
int streams_open(struct client *c);
bool streams_move(struct client *c);
void streams_close(struct client *c);
/* What the client may take its time for; NULL: nothing is wanted of it. */
struct poller_delay *streams_delay(struct client *c);
/* It took more time than that. */
void streams_late(struct client *c);
void streams_due(struct poller_deadline *d);
/* opaque.c */
enum opaque_state { OPAQUE_OPEN, OPAQUE_OVER, OPAQUE_BROKEN };
bool opaque_move(struct client *c);
/* The same between any two; *state is how things are afterwards. */
bool opaque_pass(struct gate *g, struct gate_socket *client, struct upstream *u, enum opaque_state *state);

/* ---- Those who come to the port of https (newcomers.c), and those who are not read (passage.c) ---- */

struct newcomer;
struct passage;

/* Takes `fd` over. */
void newcomer_open(struct gate *g, int fd, const char *peer);
/* More is known of the hosts that there are. */
void newcomers_told(struct gate *g);
void newcomer_due(struct poller_deadline *d);
void newcomers_close(struct gate *g);
/* Takes `fd` over, from which nothing has been read. */
void passage_open(struct gate *g, int fd, const char *peer, struct backend *backend);
void passages_close(struct gate *g);

/* ---- Services whose connections each serve one client (apart.c) ---- */

struct apart;

bool apart_has(const struct gate *g, const char *service);
int apart_add(struct gate *g, const char *service);
void apart_clear(struct gate *g);

/* ---- Public TCP ports (tcp.c) ---- */

struct tcp_port;

/* Where the gate listens by TCP; ports are listened on beside it. NULL: nowhere, and then no ports are served. */
const struct address *tcp_address(const struct gate *g);
/* A list of the ports, anew: begin, any number of ports, settle, which listens and closes what is not in it. */
void tcp_begin(struct gate *g);
int tcp_add(struct gate *g, uint16_t number, const char *service);
void tcp_settle(struct gate *g);
/* As listener_leave. */
void tcp_leave(struct gate *g);
void tcp_close(struct gate *g);
void tcp_due(struct poller_deadline *d);

/* ---- The gate ---- */

struct gate {
  struct uv_loop_s *loop;
  const struct gate_options *options;
  struct nest *nest;
  struct poller *poller;
  struct lookups *lookups;
  struct listener *http, *https; /* NULL: none */
  unsigned opening;              /* so many of them do not listen yet */
  struct link_gate ports;        /* that visitors type */
  struct tls_context *tls;       /* NULL: no https */
  struct renewal *renewal;
  struct carrier *carrier;
  struct sites *sites;
  struct sites *passing;    /* the hosts of services that the gate does not read */
  struct rulesets *rules;   /* by service */
  struct backend *backends; /* by service */
  uint64_t backends_made, random;
  struct upstream *dialling; /* inside upstream_take */
  struct tcp_port *tcp;      /* by number */
  struct apart *apart;       /* by service */
  size_t passed;             /* connections by such ports */
  struct client *clients;
  struct newcomer *newcomers;
  struct passage *passages;
  bool draining;
  struct exchange *waiting;
  unsigned waiting_count, round;
  bool told, settled; /* the first list has come; and a moment has passed */
  struct poller_deadline settle, leave;
  struct poller_delay hello, head, idle, linger, pool, stream, reach, unsure, settling, leaving, parting;
  struct poller_delay retry; /* of ports */
  const struct gate_events *events;
  void *arg;
  void (*drained)(void *arg);
  void *drained_arg;
  void (*closed)(void *arg);
  void *closed_arg;
  char scratch[GATE_READ];
};

/* Whether that was the last client. */
void gate_client_gone(struct gate *g);
/* One that was passed on is over; its tunnel must not hear of it yet. */
void gate_passed(struct gate *g);

#endif
