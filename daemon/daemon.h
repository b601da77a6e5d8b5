/* mmfs as a whole: every part made, joined and taken down again. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

struct mmfs_options;
struct notify;

/* Mounts, serves until a signal or an unmount, and returns the exit status: 0, or as in exit_status.h after a sentence
 * on stderr. Goes to the background unless told otherwise: then the first process exits inside. Once per process. */
int daemon_run(const struct mmfs_options *options, const struct notify *notify);

#endif
