/* What every program that carries connections is told: the router, how it is to be spoken to, and what connections may
 * take. Pure: no file is opened, nothing is printed. */
#ifndef CARRY_SETTINGS_H
#define CARRY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "carry/net/address.h"
#include "option_list.h"

struct settings {
  struct address router;
  struct address at; /* where to connect to in place of that, if `has_at` */
  bool has_at;
  bool tls;
  bool insecure;    /* as it was said; `tls` is what follows from it */
  char *cafile;     /* NULL: the system's authorities */
  char *key_file;   /* NULL: no key */
  uint64_t window;  /* bytes that one connection has under way, or queues, at most */
  uint64_t budget;  /* bytes for all connections together */
  uint64_t dial_ms; /* how long a new connection waits for its router and service */
  uint64_t hold_ms; /* how long a connection is kept while it has no stream; 0: not at all */
  bool no_raw;      /* streams are gRPC calls only */
};

#define SETTINGS_WINDOW_DEFAULT (UINT64_C(16) << 20)
#define SETTINGS_BUDGET_DEFAULT (UINT64_C(16) << 20)
#define SETTINGS_DIAL_MS_DEFAULT UINT64_C(10000)
#define SETTINGS_HOLD_MS_DEFAULT UINT64_C(600000)

/* Before the options. */
void settings_default(struct settings *out);
/* After them, since it depends on all: ROUTER is HOST[:PORT], or https://HOST[:PORT]. 0, or a negative errno with a
 * sentence in l->why. */
int settings_settle(struct option_list *l, const char *router);
void settings_free(struct settings *s);

/* The options of -o that fill them. */
extern const struct option_row settings_rows[];
extern const size_t settings_row_count;

/* What --help prints of them. */
#define SETTINGS_HELP                                                                                                  \
  "  insecure           no TLS (the default to loopback)\n"                                                            \
  "  cafile=FILE        TLS, with the authorities in FILE instead of the system's\n"                                   \
  "  key=FILE           show the key in FILE to the router; over TLS only, except to loopback\n"                       \
  "  window=SIZE        what one connection has under way at most (256K to 64M; 16M)\n"                                \
  "  budget=SIZE        what all connections have together (1M to 64G; 16M)\n"                                         \
  "  dial_timeout=SEC   how long a new connection waits for its router and service (1 to 600; 10)\n"                   \
  "  hold=SEC           how long a connection is kept without a way to its other end (0 to 86400; 600)\n"              \
  "  raw=off            connections go by gRPC only, never by raw streams\n"

/* Digits. `most` + 1 for anything else, and for what is larger. */
uint64_t settings_seconds(const char *text, uint64_t most);

#endif
