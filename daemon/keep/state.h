/* Keeps the declarations in their file. On the loop's thread, which never waits for the disk. */
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
  /* The newest text is not in the file: a negative errno, and a sentence. The write is tried again; this is not told
   * again unless the reason changes. */
  void (*unkept)(int error, const char *why, void *arg);
  /* After `unkept`: it is in the file now. */
  void (*kept)(void *arg);
};

/* `bytes` is the contents of the file. NULL: there is no file, which is the same as one that declares nothing. `file`
 * lives longer than this. */
int state_open(struct state **out, struct uv_loop_s *loop, const struct state_file *file, const char *bytes,
               size_t size, const struct state_events *events, void *arg);
/* Saves what is unsaved, or tries to once. `closed` comes when all is freed and every write that waited was told. */
void state_close(struct state *s, void (*closed)(void *arg), void *arg);

/* Something may have changed: looks soon. */
void state_touch(struct state *s);
/* Looks at once. True: `done` is called when the present declarations are in the file, when they cannot be written for
 * now, or after STATE_OVERDUE_MS; not inside this call. False: there is nothing to wait for. */
bool state_wait(struct state *s, void (*done)(void *arg), void *arg);

#endif
