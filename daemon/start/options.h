/* mmfs's command line, also as mount(8) writes it. Pure: no file is opened, nothing is printed. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "carry/settings/option_list.h"
#include "carry/settings/settings.h"

enum mmfs_action {
  MMFS_MOUNT,
  MMFS_HELP,
  MMFS_VERSION,
  MMFS_NOTHING, /* mount -f: all was well, and nothing is to be done */
};

struct mmfs_options {
  enum mmfs_action action; /* what follows is set with MMFS_MOUNT and MMFS_NOTHING only */
  bool foreground;
  bool allow_other;
  struct settings carry; /* the router, and what connections may take */
  char *source;          /* ROUTER as it was written, for mount(8) */
  char *mountpoint;      /* as it was written */
  char *identity_file;   /* NULL: the default place */
  char *state_file;      /* NULL: what is declared is not kept */
  unsigned keepalive_s;  /* how long an application or a target may be silent before it is asked; 0: for ever */
  char *mount_options;   /* NULL, or what goes to the mount: "rw,nosuid,nodev" */
};

enum { OPTIONS_WHY_MAX = OPTION_WHY_MAX };

#define OPTIONS_KEEPALIVE_S_DEFAULT 60U

/* argv[0] decides the form: mount.SOMETHING is mount(8)'s helper, in which -f means to do nothing. 0, -EINVAL with a
 * sentence in `why` (exit status 2), or -ENOMEM with one too. Call options_free in any case. */
int options_parse(struct mmfs_options *out, int argc, const char *const argv[], char why[OPTIONS_WHY_MAX]);
void options_free(struct mmfs_options *options);
/* What --help prints. */
const char *options_usage(void);

#endif
