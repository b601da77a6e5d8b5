/* What the files of the services share: services.c has the table of them, service.c what becomes of one,
 * service_target.c its target, service_wait.c who waits for what becomes of it, publics.c its public names,
 * service_rules.c what is said of its requests. On the loop's thread.
 */
#ifndef DAEMON_SERVICES_INTERNAL_H
#define DAEMON_SERVICES_INTERNAL_H

#include <stdint.h>
#include <uv.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "carry/net/address.h"
#include "left_names.h"
#include "proto/rules/rules.h"
#include "proto/wire/public_name.h"
#include "publics.h"
#include "services.h"

enum {
  SERVICE_NAME_SIZE = 64,
  SERVICE_AGAIN_FOR_MS = 1000, /* so long an original may have our own former registration */
};

struct link;
struct registration;

struct service {
  UT_hash_handle hh;
  struct services *owner;
  char name[SERVICE_NAME_SIZE];
  enum service_state state;
  bool has_target;
  bool target_removed;
  struct address target;
  enum proxy_version proxy;
  struct registration *registration;
  bool renewing; /* the registration is about to be replaced, by the renewal, if it is there yet */
  struct registration *renewal;
  struct service_wait *waits;
  struct publics publics;
  struct rules rules;
  bool rules_changed; /* and no registration was begun since */
  uv_timer_t timer;   /* when to ask the router again, or to look at its list again */
  uint64_t retry_ms;
  uint64_t again_until; /* until then an original's ALREADY_EXISTS may be about ourselves */
};

struct services {
  uv_loop_t *loop;
  struct link *link;
  const struct services_events *events;
  void *arg;
  struct service *table;
  size_t online;
  size_t rules_size; /* of all */
  struct left_names left;
  bool linked;
  unsigned holds; /* registrations and handles that will call back */
  bool closing;
  uv_timer_t end; /* so that `closed` never comes inside services_close */
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- services.c ---- */

/* One hold less. May free the services. */
void services_release(struct services *ss);

/* ---- service.c ---- */

/* It has its name already. Holds its owner until it is freed. */
int service_start(struct service *s, struct services *owner);
void service_link_up(struct service *s);
void service_link_down(struct service *s);
void service_link_renewed(struct service *s);
void service_superseded(struct service *s);
void service_name_free(struct service *s);
/* A move that is not allowed makes it OFFLINE, where it begins anew. `why` as in `changed`. */
void service_move(struct service *s, enum service_state state, const char *why);
/* Asks the router. */
void service_begin(struct service *s);
/* Why it cannot be asked now, in words. */
const char *service_why_offline(const struct services *ss);
/* Gives up the registration. */
void service_drop(struct service *s);
/* Dropped, and out of the table: tells those who wait, then that it is withdrawn. Frees it, later. */
void service_end(struct service *s, int error, const char *why);

/* Whether the router gives a verdict now. */
bool service_may_ask(const struct service *s);
/* The public names are other ones: the router is told, if it is there. */
void service_ask_publics(struct service *s);

/* ---- service_rules.c ---- */

void service_free_rules(struct service *s);

/* ---- service_wait.c ---- */

/* Before the target is written: the wait remembers what there was. NULL when memory is short. */
struct service_wait *service_wait_create(struct service *s, service_verdict_cb verdict, void *arg);
/* The verdict, to all who wait. They may withdraw the service. */
void service_answer_waits(struct service *s, int error, const char *why);
/* The router refused: what was written by those who wait does not count. */
void service_revert(struct service *s);

#endif
