/* The proxy that the environment names for the way to the router. Pure. */
#ifndef CARRY_PROXY_H
#define CARRY_PROXY_H

#include <stdbool.h>

#include "address.h"

enum { PROXY_LOGIN_MAX = 256 };

struct proxy {
  struct address address;
  char login[PROXY_LOGIN_MAX]; /* USER:PASSWORD, or "" */
  const char *variable;        /* that names it */
};

/* The first that is set of grpc_proxy, https_proxy and http_proxy decides: http://[USER:PASSWORD@]HOST[:PORT], in which
 * http:// may be left out. False: there is none, it is of another kind, or it is not for this router: one on loopback,
 * or in no_proxy (or no_grpc_proxy, which comes first). `get` is getenv. */
bool proxy_find(struct proxy *out, const struct address *router, char *(*get)(const char *name));

/* Whether a list as that of no_proxy has this host: hosts, with all below them; addresses; networks (192.0.2.0/24); `*`
 * is all. Names are not looked up. */
bool proxy_list_has(const char *list, const char *host);

#endif
