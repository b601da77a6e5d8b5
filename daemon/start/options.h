/* mmfs's command line, also as mount(8) writes it. Pure: no file is opened, nothing is printed. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "carry/net/address.h"

enum mmfs_action {
  MMFS_MOUNT,
  MMFS_HELP,
  MMFS_VERSION,
  MMFS_NOTHING, /* mount -f: all was well, and nothing is to be done */
};

struct mmfs_options {
  enum mmfs_action action; /* what follows is set with MMFS_MOUNT and MMFS_NOTHING only */
  bool foreground;
  bool tls;
  bool allow_other;
  struct address router;
  char *source;         /* ROUTER as it was written, for mount(8) */
  char *mountpoint;     /* as it was written */
  char *cafile;         /* NULL: the system's authorities */
  char *key_file;       /* NULL: no key */
  char *identity_file;  /* NULL: the default place */
  char *state_file;     /* NULL: what is declared is not kept */
  uint64_t window;      /* bytes that one connection has under way, or queues, at most */
  uint64_t budget;      /* bytes for all connections together */
  uint64_t dial_ms;     /* how long a new connection waits for its router and service */
  uint64_t hold_ms;     /* how long a connection is kept while it has no stream; 0: not at all */
  unsigned keepalive_s; /* how long an application or a target may be silent before it is asked; 0: for ever */
  char *mount_options;  /* NULL, or what goes to the mount: "rw,nosuid,nodev" */
};

enum { OPTIONS_WHY_MAX = 512 };

#define OPTIONS_WINDOW_DEFAULT (UINT64_C(16) << 20)
#define OPTIONS_BUDGET_DEFAULT (UINT64_C(24) << 20)
#define OPTIONS_DIAL_MS_DEFAULT UINT64_C(10000)
#define OPTIONS_HOLD_MS_DEFAULT UINT64_C(600000)
#define OPTIONS_KEEPALIVE_S_DEFAULT 60U

/* argv[0] decides the form: mount.SOMETHING is mount(8)'s helper, in which -f means to do nothing. 0, -EINVAL with a
 * sentence in `why` (exit status 2), or -ENOMEM with one too. Call options_free in any case. */
int options_parse(struct mmfs_options *out, int argc, const char *const argv[], char why[OPTIONS_WHY_MAX]);
void options_free(struct mmfs_options *options);
/* What --help prints. */
const char *options_usage(void);

#endif
