/* Who may have a public name: one function answers that. Pure; one thread. */
#ifndef ROUTER_GRANTS_H
#define ROUTER_GRANTS_H

#include <stdint.h>

#include "proto/wire/identity.h"
#include "proto/wire/status.h"

/* Checked by the functions below; the strings live longer than the router. */
struct grants {
  const char *domain;             /* in lower case; NULL: there is none */
  const char *own;                /* patterns, with commas between; NULL: none */
  uint16_t first_port, last_port; /* which services may have; 0: none */
};

/* 0, or -1 and a phrase that says what to write. */
int grants_check_domain(const char *domain, const char **why);
int grants_check_own(const char *patterns, const char **why);

/* Reads PORT or PORT-PORT. */
int grants_read_ports(struct grants *g, const char *range, const char **why);

/* Whether an identity may have that port; as below. */
enum rpc_status grants_port(const struct grants *g, const uint8_t identity[IDENTITY_SIZE], uint16_t port,
                            const char **why);
/* Whether an identity may have a whole host. RPC_OK; else *why is a static sentence. */
enum rpc_status grants_host(const struct grants *g, const uint8_t identity[IDENTITY_SIZE], const char *host,
                            const char **why);

#endif
