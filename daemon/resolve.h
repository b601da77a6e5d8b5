/* From hosts to socket addresses, without blocking. On the loop's thread. */
#ifndef DAEMON_RESOLVE_H
#define DAEMON_RESOLVE_H

#include <stdbool.h>
#include <sys/socket.h>

struct address;
struct resolve;
struct uv_loop_s;

enum { ENDPOINTS_MAX = 16, RESOLVE_WHY_MAX = 512 };

struct endpoint {
  struct sockaddr_storage bytes;
  socklen_t size;
};

struct endpoints {
  unsigned count; /* none occurs twice; those past ENDPOINTS_MAX are left out */
  struct endpoint at[ENDPOINTS_MAX];
};

/* `error` is 0 or a negative errno (-EADDRNOTAVAIL: the name does not resolve) with a sentence in `why`; `found` and
 * `why` live as long as the callback. */
typedef void (*resolve_cb)(int error, const char *why, const struct endpoints *found, void *arg);

/* A v4 or v6 address, or a unix path, needs no resolving: true, with its one endpoint. */
bool resolve_literal(const struct address *a, struct endpoints *out);
/* The `host` and `port` of a TCP address. The resolve is freed when `done` returns. */
int resolve_start(struct resolve **out, struct uv_loop_s *loop, const struct address *a, resolve_cb done, void *arg);
/* In place of `done`, which does not come any more. The loop stays alive until the resolver has let go. */
void resolve_forget(struct resolve *r);

#endif
