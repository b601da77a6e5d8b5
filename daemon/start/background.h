/* Going to the background: the first process waits until the second one is of use, or says why it is not. */
#ifndef DAEMON_BACKGROUND_H
#define DAEMON_BACKGROUND_H

struct background {
  const char *program;
  int fd; /* to the process that waits, or -1 */
};

/* Before any thread exists. Forks, and returns in the child only: with a session of its own, in /, with stdin and
 * stdout on /dev/null, and without what it inherited beyond stderr. `program` is kept. A negative errno, still in the
 * first process, if that cannot be. */
int background_start(struct background *b, const char *program);
/* The first process exits with 0. stderr goes to /dev/null, unless it is a regular file or systemd's journal: a reader
 * that waits for the end of a pipe or of an ssh session must not wait for the daemon's end. 0, or -EPIPE: nobody waits
 * any more (Ctrl-C), so the daemon should end. */
int background_ready(struct background *b);
/* The first process prints "PROGRAM: TEXT" to stderr, and exits with `status`, which is not 0. Due before the caller
 * exits; if it dies without, the first process says so, and exits with 1. */
void background_failed(struct background *b, int status, const char *text);

#endif
