/* One registration of a name with the router: a CreateService stream, and how it is known that the router took it.
 * Private to service.c. On the loop's thread; nothing calls back inside the call that caused it.
 */
#ifndef DAEMON_REGISTRATION_H
#define DAEMON_REGISTRATION_H

#include <stddef.h>

#include "proto/wire/status.h"

struct link;
struct public_answer;
struct public_name;
struct registration;
struct service;
struct services;

/* Each but `gone` may drop the registration. A service may have two: an older one, and the one that replaces it. */
struct registration_events {
  /* The router has the name. Told more than once. */
  void (*registered)(struct service *s, struct registration *r);
  /* A router of the first version does not list it yet, or not for long enough: look again a little later. */
  void (*unlisted)(struct service *s);
  void (*token)(struct service *s, const char *token);
  /* What the router says of the public names that it was asked for, in that order; `count` is 0: it knows none. */
  void (*publics)(struct service *s, const struct public_name *asked, const struct public_answer *answers,
                  size_t count);
  /* The stream is over; the registration is freed soon. Not told after registration_drop. */
  void (*ended)(struct service *s, struct registration *r, enum rpc_status status, const char *text);
  /* It is freed, dropped or not. The service may be gone before. */
  void (*gone)(struct services *ss);
};

int registration_start(struct registration **out, struct services *ss, struct service *s, struct link *link,
                       const struct registration_events *events);
/* Looks whether the router lists the name, unless that is being done. */
int registration_look(struct registration *r);
/* Withdraws the name; nothing but `gone` is told. */
void registration_drop(struct registration *r);

#endif
