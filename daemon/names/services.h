/* The services that are declared here, and their registrations with the router. On the loop's thread; nothing here
 * waits.
 *
 * A registration is one CreateService stream, which lives as long as the service has a target and the router is there.
 * A service whose target changes keeps its registration.
 */
#ifndef DAEMON_SERVICES_H
#define DAEMON_SERVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/wire/proxy_header.h"
#include "proto/wire/public_name.h"

struct address;
struct link;
struct public_wait;
struct rules;
struct service;
struct service_wait;
struct services;
struct uv_loop_s;

enum service_state {
  SERVICE_PENDING,     /* no target yet */
  SERVICE_REGISTERING, /* the router was asked */
  SERVICE_ONLINE,
  SERVICE_OFFLINE, /* the router is not there, or refused; it is asked again */
  SERVICE_TAKEN,   /* somebody else has the name; it is asked again if there is a target */
};

enum { SERVICES_MAX = 1024, SERVICE_VERDICT_MS = 5000 };

extern const char services_full[]; /* why -ENOSPC */

struct services_events {
  /* The state or the target is another one. `why` is a phrase for humans, or NULL. */
  void (*changed)(struct service *s, enum service_state before, const char *why, void *arg);
  /* The router refused the name while nobody waited for its verdict: a negative errno, and a sentence. */
  void (*refused)(struct service *s, int error, const char *why, void *arg);
  /* The router asks for a connection to the target. */
  void (*token)(struct service *s, const char *token, void *arg);
  /* The registration of this name is given up; the router may have it for a moment longer. */
  void (*left)(const char *name, void *arg);
  /* The public names are others, or their answers; or how the target is told of clients, or what is said of requests.
   */
  void (*public_changed)(struct service *s, void *arg);
  /* The router has granted one of them (0), or refused it while nobody waited for that: a negative errno. A sentence.
   */
  void (*public_answered)(struct service *s, int error, const char *sentence, void *arg);
  /* Withdrawn: freed when this returns. */
  void (*withdrawn)(struct service *s, void *arg);
};

int services_open(struct services **out, struct uv_loop_s *loop, struct link *link,
                  const struct services_events *events, void *arg);
/* Withdraws all. Writes that wait are told -ECANCELED. `closed` comes when the calls are gone, and all is freed. */
void services_close(struct services *ss, void (*closed)(void *arg), void *arg);

/* What the link tells, passed on by its owner. */
void services_link_changed(struct services *ss);
/* All are registered anew; until then the older registrations hold. */
void services_link_renewed(struct services *ss);
/* All are given up, and are SERVICE_OFFLINE from now on. */
void services_superseded(struct services *ss);
/* The name is not in the catalogue any more: the mount that had taken it may be gone. */
void services_name_free(struct services *ss, const char *name);

/* -EINVAL, -ENAMETOOLONG, -EEXIST (declared here), -ENOSPC, -ENOMEM; *why is a static phrase then. */
int services_declare(struct services *ss, const char *name, struct service **out, const char **why);
struct service *services_find(const struct services *ss, const char *name);
size_t services_count(const struct services *ss);
size_t services_online(const struct services *ss); /* of these, how many are SERVICE_ONLINE */
/* The one after `s`, or the first: in the order in which they were declared. */
struct service *services_next(const struct services *ss, const struct service *s);
/* Live connections go on. Writes that wait are told -ENOENT. */
void services_withdraw(struct service *s);

const char *service_name(const struct service *s);
enum service_state service_state(const struct service *s);
const struct address *service_target(const struct service *s); /* NULL: none */
const char *service_state_name(enum service_state state);

/* `error` is 0 or a negative errno, `why` a phrase that lives as long as the callback. */
typedef void (*service_verdict_cb)(int error, const char *why, void *arg);

/* 1: the router was asked; `verdict` comes, not inside this call, within SERVICE_VERDICT_MS. When the router refuses,
 * the service gets its former target back; with -ETIMEDOUT and after service_wait_cancel the new one stays.
 * 0: done, `verdict` does not come: the name is registered, or will be when the router is there. -ENOMEM. */
int service_set_target(struct service *s, const struct address *target, service_verdict_cb verdict, void *arg,
                       struct service_wait **out);
/* How its target is told who its client is, from the next connection on. */
void service_set_proxy(struct service *s, enum proxy_version version);
enum proxy_version service_proxy(const struct service *s);
/* Makes the verdict come with `error`, not inside this call. */
void service_wait_cancel(struct service_wait *w, int error);
/* A public name, and what the router has answered; strings are "" until then. */
struct public_info {
  const struct public_name *name;
  const char *host; /* whole */
  const char *url;
  int error; /* 0, or a negative errno and why: it is refused, and asked for again */
  const char *why;
};

/* The service's, until its public names change; NULL: there are not so many. Those whose writer waits do not count. */
const struct public_info *service_public(const struct service *s, size_t index);
/* Adds one; `replace`: it takes the place of those of its kind . 1: the router was asked, and `verdict`
 * comes, as above; what is refused changes nothing. 0: done; the router is told when it is there. -EBUSY: it is being
 * asked for; -ENOSPC: there are too many; -ENOMEM. */
int service_add_public(struct service *s, const struct public_name *name, bool replace, service_verdict_cb verdict,
                       void *arg, struct public_wait **out);
void public_wait_cancel(struct public_wait *w, int error);
/* All of that kind. */
void service_remove_publics(struct service *s, enum public_kind kind);

/* What is said of the requests that gates pass on to it: gates hear of a change after service_tell_rules, or with
 * whatever else the router is asked for. */
enum { SERVICES_RULES_MAX = 16 * 1024 * 1024 }; /* bytes, of all services */
const struct rules *service_rules(const struct service *s);
/* As rules_add and rules_set, with `kind` an enum rule_kind; -EDQUOT: SERVICES_RULES_MAX. */
int service_add_rule(struct service *s, int kind, const char *line, bool replace);
int service_set_rule(struct service *s, int kind, const void *bytes, size_t size);
void service_tell_rules(struct service *s);

/* Back to pending, without even an empty target. Writes that wait are told -ENOENT. */
void service_remove_target(struct service *s);
bool service_target_removed(const struct service *s); /* and nothing has taken its place */
/* A target that was removed is there again, and empty, as it is at first. */
void service_make_target(struct service *s);

#endif
