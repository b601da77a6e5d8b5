/* The line and its -o lists share this. */
#ifndef DAEMON_OPTIONS_INTERNAL_H
#define DAEMON_OPTIONS_INTERNAL_H

#include "options.h"

struct parse {
  struct mmfs_options *out;
  char *why;
  bool helper; /* called as mount.SOMETHING */
  bool sloppy; /* mount -s: unknown options are passed over */
  bool insecure;
};

/* -EINVAL, with the sentence in p->why. */
int options_refuse(struct parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* -ENOMEM, with a sentence. */
int options_out_of_memory(struct parse *p);
/* *slot becomes a copy. */
int options_set_text(struct parse *p, char **slot, const char *text);

/* What stands after one -o. */
int options_take_list(struct parse *p, const char *list);
/* The option of -o that is called so, with what follows it in *value ("=FILE"), or NULL. */
const char *options_mount_name(const char *name, const char **value);

#endif
