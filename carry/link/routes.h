/* The public names of the services, as the router tells them to a gate: a table by service, and the list that is made
 * of it. Pure; one thread. */
#ifndef CARRY_ROUTES_H
#define CARRY_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link_public;
struct route_service;

/* One name of one service. The strings are the table's, until it is next changed. */
struct link_route {
  const char *host; /* in lower case */
  const char *path; /* "", or "/api" */
  const char *service;
  bool tls;             /* passed on unread */
  bool per_client;      /* connections are not shared by clients */
  uint16_t port;        /* 0: it is a host; else the port, by which all is passed on unread */
  const uint8_t *rules; /* what its owner says of requests: the message Rules; NULL: nothing */
  size_t rules_size;
};

/* All zero: none. */
struct routes {
  struct route_service *table;
  struct link_route *list;
};

/* What a service has now. True when that is news; also without memory for it, and then it has none. */
bool routes_put(struct routes *r, const char *service, const struct link_public *is);
/* True when it had any. */
bool routes_drop(struct routes *r, const char *service);
/* It may be gone: it is dropped at that time (ms), unless it is put again. */
void routes_doubt(struct routes *r, const char *service, uint64_t until);
/* Drops those whose time has come; true when there were any. *next is when to look again, or 0. */
bool routes_expire(struct routes *r, uint64_t now, uint64_t *next);
/* All, sorted by host, path and service. 0 or -ENOMEM. */
int routes_list(struct routes *r, const struct link_route **out, size_t *count);
void routes_free(struct routes *r);

#endif
