/* What is seen of the HTTP/1 that goes to the targets of this process's services: a log of the requests, and exchanges
 * that are kept whole. It looks on, and never changes or delays what goes by. A service that nobody asked about costs
 * nothing; what is no HTTP/1 is passed over.
 *
 * On the loop's thread; the bytes are seen on either thread, under one lock.
 */
#ifndef DAEMON_TAPS_H
#define DAEMON_TAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct home;
struct lookups;
struct replay;
struct taps;
struct tunnel;
struct tunnels;
struct tunnels_target;

/* Each comes by itself, never inside a call. */
struct taps_events {
  void (*logged)(const char *service, void *arg);            /* there is more in the log */
  void (*kept)(const char *service, uint64_t id, void *arg); /* an exchange is over, and is kept */
  void (*gone)(const char *service, uint64_t id, void *arg); /* it is not any more */
};

/* `tunnels` are those whose opening and closing is told. */
int taps_open(struct taps **out, struct home *home, struct lookups *lookups, struct tunnels *tunnels,
              const struct taps_events *events, void *arg);
/* When all tunnels are gone. Replays are told -ECANCELED. */
void taps_close(struct taps *ts, void (*closed)(void *arg), void *arg);

void taps_tunnel_opened(struct taps *ts, struct tunnel *t);
void taps_tunnel_closed(struct taps *ts, struct tunnel *t);
/* All that is known of it is forgotten; `gone` comes inside this call for what was kept. */
void taps_service_withdrawn(struct taps *ts, const char *service);

/* From now on there is a log; it is bounded, and the older half of it goes when it is full. -ENOMEM. */
int taps_start_log(struct taps *ts, const char *service);
/* And it is empty, until it is started again. */
void taps_forget_log(struct taps *ts, const char *service);
/* Lines "TIME ID METHOD URL STATUS MS BYTES CLIENT"; valid until the return to the loop. */
const char *taps_log(const struct taps *ts, const char *service, size_t *size);

/* Bytes; 0, as at first: nothing is kept. What is over the limit goes at once. */
enum { TAPS_LIMIT_MIN = 64 << 10 };
int taps_set_limit(struct taps *ts, const char *service, size_t limit); /* -ENOMEM */
size_t taps_limit(const struct taps *ts, const char *service);

/* A message as it went by, or the beginning of it. Valid until the return to the loop. */
struct taps_message {
  const char *bytes;
  size_t size;
  bool cut; /* there was more */
};
/* -ENOENT. */
int taps_kept(struct taps *ts, const char *service, uint64_t id, struct record *record, struct taps_message *request,
              struct taps_message *answer);
void taps_drop(struct taps *ts, const char *service, uint64_t id);
/* All that are kept. */
void taps_drop_all(struct taps *ts, const char *service);

/* `error` is 0, or a negative errno; `why` is a phrase that lives as long as the call. */
typedef void (*taps_verdict_cb)(int error, const char *why, void *arg);

/* Makes a request (written.h) to the target, on a connection of its own, and starts the log. 1: `verdict` comes, not
 * inside this call: 0 when it is over, or takes long; or why there is no connection. -EINVAL, -ENOTCONN: no target;
 * -EBUSY, -ENOMEM: *why says it, too. */
enum { TAPS_REPLAYS_MAX = 8 };
int taps_replay(struct taps *ts, const char *service, const struct tunnels_target *target, const char *bytes,
                size_t size, taps_verdict_cb verdict, void *arg, struct replay **out, const char **why);
/* Before its verdict: nobody waits for that any more. */
void replay_forget(struct replay *r);
/* The id of the latest one that was sent; 0: there was none. */
uint64_t taps_replayed(const struct taps *ts, const char *service);

#endif
