/* Keeps what is declared in its file. On the loop's thread, which never waits for the disk. */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include <stdbool.h>
#include <stddef.h>

struct state;
struct state_file;
struct state_text;
struct uv_loop_s;

enum { STATE_OVERDUE_MS = 5000, STATE_RETRY_MIN_MS = 1000, STATE_RETRY_MAX_MS = 30000 };

struct state_events {
  /* What is declared now. 0 or -ENOMEM. */
  int (*render)(struct state_text *out, void *arg);
  /* The newest is not in the file: a negative errno, and a sentence. It is tried again. Not said again until it is for
   * another reason. */
  void (*unkept)(int error, const char *why, void *arg);
  /* It is, after `unkept`. */
  void (*kept)(void *arg);
};

/* `bytes` is what the file has, or NULL if there is none, which is the same as one that declares nothing. `file` lives
 * longer than this. */
int state_open(struct state **out, struct uv_loop_s *loop, const struct state_file *file, const char *bytes,
               size_t size, const struct state_events *events, void *arg);
/* Saves what is unsaved, or tries to, once; then `closed`, when all is freed, and all who wait were told. */
void state_close(struct state *s, void (*closed)(void *arg), void *arg);

/* Something may have changed: it is looked at soon. */
void state_touch(struct state *s);
/* Looks at once. True: `done` is called when all that is declared now is in the file, or cannot be written for now, or
 * after STATE_OVERDUE_MS; not inside this call. False: there is nothing to wait for. */
bool state_wait(struct state *s, void (*done)(void *arg), void *arg);

#endif
