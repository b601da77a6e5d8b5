/* One row for each option of -o that only a mount has. mount(8) and fstab pass on all of their own options, which
 * therefore have rows, too, that do nothing.
 */

#include "options_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "carry/settings/settings.h"

enum { KEEPALIVE_MAX = 32767 /* the kernel's */ };

static struct mmfs_options *out_of(const struct option_list *l)
{
  return l->out;
}

static int apply_identity(struct option_list *l, const char *name, const char *value)
{
  (void)name;
  return option_set_text(l, &out_of(l)->identity_file, value);
}

static int apply_state(struct option_list *l, const char *name, const char *value)
{
  (void)name;
  return option_set_text(l, &out_of(l)->state_file, value);
}

static int apply_allow_other(struct option_list *l, const char *name, const char *value)
{
  (void)name, (void)value;
  out_of(l)->allow_other = true;
  return 0;
}

static int apply_keepalive(struct option_list *l, const char *name, const char *value)
{
  uint64_t seconds = settings_seconds(value, KEEPALIVE_MAX);

  if (seconds > KEEPALIVE_MAX)
    return option_refuse(l, "option \"%s\": \"%.40s\" is not a number of seconds from 0 to 32767", name, value);
  out_of(l)->keepalive_s = (unsigned)seconds;
  return 0;
}

static int apply_ignore(struct option_list *l, const char *name, const char *value)
{
  (void)l, (void)name, (void)value;
  return 0;
}

static int apply_remount(struct option_list *l, const char *name, const char *value)
{
  (void)value;
  return option_refuse(l, "option \"%s\": unmount the tree, and mount it anew", name);
}

static int apply_pass_on(struct option_list *l, const char *name, const char *value)
{
  char *old = out_of(l)->mount_options;
  char *joined;

  (void)value;
  if (old == NULL)
    return option_set_text(l, &out_of(l)->mount_options, name);
  if (asprintf(&joined, "%s,%s", old, name) < 0)
    return option_out_of_memory(l);
  free(old);
  out_of(l)->mount_options = joined;
  return 0;
}

const struct option_row options_mount_rows[] = {
    {"keepalive", OPTION_SECONDS, apply_keepalive},
    {"identity", OPTION_FILE, apply_identity},
    {"state", OPTION_FILE, apply_state},
    {"allow_other", OPTION_FLAG, apply_allow_other},

    {"rw", OPTION_FLAG, apply_pass_on},
    {"ro", OPTION_FLAG, apply_pass_on},
    {"suid", OPTION_FLAG, apply_pass_on},
    {"nosuid", OPTION_FLAG, apply_pass_on},
    {"dev", OPTION_FLAG, apply_pass_on},
    {"nodev", OPTION_FLAG, apply_pass_on},
    {"exec", OPTION_FLAG, apply_pass_on},
    {"noexec", OPTION_FLAG, apply_pass_on},
    {"atime", OPTION_FLAG, apply_pass_on},
    {"noatime", OPTION_FLAG, apply_pass_on},
    {"sync", OPTION_FLAG, apply_pass_on},
    {"async", OPTION_FLAG, apply_pass_on},
    {"dirsync", OPTION_FLAG, apply_pass_on},

    /* The kernel's default, without effect, or always on; libfuse refuses most of them. */
    {"nodiratime", OPTION_FLAG, apply_ignore},
    {"relatime", OPTION_FLAG, apply_ignore},
    {"diratime", OPTION_FLAG, apply_ignore},
    {"default_permissions", OPTION_FLAG, apply_ignore},

    {"remount", OPTION_FLAG, apply_remount},

    {"defaults", OPTION_FLAG, apply_ignore},
    {"auto", OPTION_FLAG, apply_ignore},
    {"noauto", OPTION_FLAG, apply_ignore},
    {"nofail", OPTION_FLAG, apply_ignore},
    {"_netdev", OPTION_FLAG, apply_ignore},
    {"user", OPTION_OPEN, apply_ignore},
    {"nouser", OPTION_FLAG, apply_ignore},
    {"users", OPTION_FLAG, apply_ignore},
    {"nousers", OPTION_FLAG, apply_ignore},
    {"owner", OPTION_FLAG, apply_ignore},
    {"noowner", OPTION_FLAG, apply_ignore},
    {"group", OPTION_FLAG, apply_ignore},
    {"nogroup", OPTION_FLAG, apply_ignore},
    {"comment", OPTION_OPEN, apply_ignore},
    {"x-", OPTION_PREFIX, apply_ignore},
    {"X-", OPTION_PREFIX, apply_ignore},
};
const size_t options_mount_row_count = sizeof options_mount_rows / sizeof options_mount_rows[0];
