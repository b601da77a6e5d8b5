/* Socket addresses, several of one thing. Pure. */
#ifndef CARRY_ENDPOINTS_H
#define CARRY_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ENDPOINTS_MAX = 32, ENDPOINTS_FAMILY_MAX = ENDPOINTS_MAX / 2, ENDPOINT_TEXT_MAX = 128 };

struct endpoint {
  struct sockaddr_storage bytes;
  socklen_t size;
};

struct endpoints {
  unsigned count; /* none occurs twice */
  struct endpoint at[ENDPOINTS_MAX];
};

struct in_addr;
struct in6_addr;

/* Leaves out an endpoint that is there already, or does not fit. */
void endpoints_add(struct endpoints *out, const struct endpoint *e);
void endpoints_add_v4(struct endpoints *out, const struct in_addr *ip, uint16_t port);
void endpoints_add_v6(struct endpoints *out, const struct in6_addr *ip, uint32_t scope, uint16_t port);
void endpoints_add_unix(struct endpoints *out, const char *path);
void endpoint_set_port(struct endpoint *e, uint16_t port);
/* Of a unix socket; lives as long as `e`. */
const char *endpoint_path(const struct endpoint *e);
/* The address without its port: "192.0.2.1", "2001:db8::1", "/run/x". Returns `out`. */
const char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_MAX]);

#endif
