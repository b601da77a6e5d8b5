/* The options of -o that only a mount has; they fill a struct mmfs_options. */
#ifndef DAEMON_OPTIONS_INTERNAL_H
#define DAEMON_OPTIONS_INTERNAL_H

#include "carry/settings/option_list.h"
#include "options.h"

extern const struct option_row options_mount_rows[];
extern const size_t options_mount_row_count;

#endif
