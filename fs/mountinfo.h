/* The kernel's list of what is mounted, /proc/PID/mountinfo, a line at a time. Pure. */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H

#include <stdbool.h>

/* One mount. The strings lie in the line, unescaped. */
struct mountinfo {
  const char *device;  /* "0:40" */
  const char *path;    /* where it is mounted */
  const char *type;    /* "ext4", "fuse.mmfs" */
  const char *options; /* of the file system: "rw,user_id=1000" */
};

/* Takes the line apart, in place. False: it is none of the list. */
bool mountinfo_parse(char *line, struct mountinfo *out);

#endif
