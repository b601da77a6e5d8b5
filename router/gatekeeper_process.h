/* The process that keeps a gate running, and what the router says to it. */
#ifndef ROUTER_GATEKEEPER_PROCESS_H
#define ROUTER_GATEKEEPER_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum { ORDER_ADDRESS_MAX = 320, ORDER_KEY_MAX = 4097 };

enum order_kind {
  ORDER_RUN, /* a gate, in place of the one there may be */
  ORDER_END,
};

/* One message. A text that is empty is none. */
struct gatekeeper_order {
  enum order_kind kind;
  char router[ORDER_ADDRESS_MAX], at[ORDER_ADDRESS_MAX], cafile[PATH_MAX];
  char key[ORDER_KEY_MAX]; /* secret */
};

struct gatekeeper_process {
  int fd; /* to the router: orders come, and once a byte goes, which is what to exit with if the first gate has failed
           */
  const char *const *arguments;
  void (*log)(void *arg, const char *line);
  void *log_arg;
};

void gatekeeper_process_run(const struct gatekeeper_process *options) __attribute__((noreturn));

#endif
