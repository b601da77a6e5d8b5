/* Lives of a connection's state machine, told event by event: what comes when, what is done about it, and when the
 * machine wants to be asked again.
 */
#ifndef FIXTURE_DAEMON_LIVES_H
#define FIXTURE_DAEMON_LIVES_H

#include <stdint.h>

#include "carry/tunnel/connection.h"

enum { DIAL_MS = 10000, HOLD_MS = 600000, MOMENTS_MAX = 20 };

/* S: attachments, as events. */
enum attachment {
  ATTACHED = 100,      /* with the next higher epoch */
  ATTACHED_HIGH,       /* with one far higher */
  ATTACHED_AGAIN,      /* with the epoch of the latest that was accepted */
  ATTACHED_LOWER,      /* with an older one */
  ATTACHED_IMPOSSIBLE, /* of another member, or with what cannot be */
};

struct moment {
  uint64_t at; /* ms since the beginning, as all times here */
  unsigned event;
  unsigned actions;
  uint64_t deadline; /* 0: none */
};

/* It begins as `after` did, and goes on. The first one of all starts the machine. */
struct life {
  const char *name;
  const struct life *after;
  unsigned (*start)(struct connection *c);
  unsigned started; /* with these actions */
  struct moment moments[MOMENTS_MAX];
  enum connection_state state; /* at the end */
  uint64_t epoch;              /* likewise */
};

extern const struct connection_times life_times;

#define NONE UINT64_C(0)
#define DIAL (CONNECTION_OPEN_STREAM | CONNECTION_USE_NEXT)
#define DROP_BOTH (CONNECTION_DROP_CURRENT | CONNECTION_DROP_NEXT)
#define DROP_AND_ATTACH (CONNECTION_DROP_CURRENT | CONNECTION_OPEN_STREAM)
#define LAST_WORD_SAID (CONNECTION_HALF_CLOSE | CONNECTION_CLOSE_SOCKET)
#define RESET_BOTH (CONNECTION_SAY_RESET | CONNECTION_RESET_SOCKET)
#define GONE_WITH(actions) ((unsigned)(actions) | CONNECTION_FREE)

void live(struct connection *c, const struct life *life);
void live_to_the_end(const struct life *life);

#define TEST_LIVES(group)                                                                                              \
  START_TEST(test_##group)                                                                                             \
  {                                                                                                                    \
    live_to_the_end(&group##_lives[_i]);                                                                               \
  }                                                                                                                    \
  END_TEST

#define ADD_LIVES(tcase, group)                                                                                        \
  tcase_add_loop_test(tcase, test_##group, 0, (int)(sizeof group##_lives / sizeof *group##_lives))

#endif
