/* A local socket and the application behind it: it sends so much and ends, or resets, or closes; it takes what comes,
 * at times slowly, and checks every byte of it.
 */
#ifndef SIM_APPLICATION_H
#define SIM_APPLICATION_H

#include "message.h"
#include "world.h"

enum application_habit {
  HABIT_ENDS,       /* when it has sent all */
  HABIT_ENDS_AFTER, /* and has seen the other one's end */
  HABIT_RESETS,     /* at some time */
  HABIT_CLOSES,     /* when it has sent all: what comes then breaks the connection */
  HABIT_STUCK,      /* sends, and takes a little, then nothing for ever */
  HABIT_GIVES_UP,   /* resets in the end, since the other one is stuck */
};

#define APPLICATION_ANYBODY UINT32_MAX

struct application {
  struct world *w;
  const char *name;
  uint32_t origin, other;
  enum application_habit habit;
  uint64_t will_send;
  uint64_t step;     /* bytes that it sends or takes at once, at most */
  uint64_t pause_us; /* between, at most */
  void (*ready)(void *arg);
  void (*failed)(void *arg);
  void *arg;

  uint64_t offered, read; /* what it sent, and what was read of it */
  bool ends, end_read;    /* it sent its end */
  bool resets, closes;    /* it did */
  uint64_t room, taken;
  bool began, ticking, starved, full;
  bool saw_end, saw_reset, over; /* our side of the socket is shut, reset, closed */
};

/* The socket is there. */
void application_begin(struct application *a, void (*ready)(void *arg), void (*failed)(void *arg), void *arg);

/* What it waits for may be over. */
void application_go_on(struct application *a);

/* What the glue has of it: no descriptor of this process's. */
int application_descriptor(struct application *a);
struct application *application_of(const struct world *w, int fd);

/* For the flow. */
enum { APPLICATION_AGAIN = -1, APPLICATION_FAILED = -2 };
/* How many bytes were read; 0: the end. */
int application_read(struct application *a, uint32_t size);
/* How many bytes were taken of this. */
int application_write(struct application *a, const struct content *c);
void application_shut(struct application *a);
void application_close(struct application *a, bool reset);

#endif
