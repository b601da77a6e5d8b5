/* The connection's state machine at the side that is dialled. */
#include "fixture_daemon_lives.h"
#include "runner.h"

static unsigned start(struct connection *c)
{
  return connection_start_service(c, &life_times, false, 0, 0);
}

static unsigned start_late(struct connection *c)
{
  return connection_start_service(c, &life_times, false, 3, 0);
}

static unsigned start_original(struct connection *c)
{
  return connection_start_service(c, &life_times, true, 0, 0);
}

#define BEGINS (CONNECTION_USE_NEXT | CONNECTION_DIAL)
#define BURIED_WITH(actions) GONE_WITH((actions) | CONNECTION_BURY)

/* ---- How lives begin ---- */

static const struct life came = {
    .name = "somebody dialled", .start = start, .started = BEGINS, .state = CONNECTION_OPENING};

static const struct life came_late = {.name = "the first stream that arrives is the fourth",
                                      .start = start_late,
                                      .started = BEGINS,
                                      .state = CONNECTION_OPENING,
                                      .epoch = 3};

static const struct life open = {"the target answers", &came,
                                 .moments = {{10, CONNECTION_DIALLED, CONNECTION_GIVE_SOCKET, NONE}},
                                 .state = CONNECTION_OPEN};

static const struct life detached = {
    "it loses its stream", &open,
    .moments = {{900, CONNECTION_HEARD, 0, NONE}, {1000, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 601000}},
    .state = CONNECTION_OPEN};

static const struct life both_ended = {
    "both directions ended", &open,
    .moments = {{20, CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET, NONE},
                {30, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF | LAST_WORD_SAID, NONE}},
    .state = CONNECTION_CLOSING};

static const struct life unheard = {"its last word is lost", &both_ended,
                                    .moments = {{40, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 60040}},
                                    .state = CONNECTION_CLOSING};

static const struct life cut = {"it is cut", &open, .moments = {{1000, CONNECTION_CUT, RESET_BOTH, 3000}},
                                .state = CONNECTION_CLOSING};

static const struct life other_reset = {
    "the other side resets", &open,
    .moments = {{1000, CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET, 3000}},
    .state = CONNECTION_CLOSING};

static const struct life came_original = {.name = "somebody of the first version dialled",
                                          .start = start_original,
                                          .started = BEGINS,
                                          .state = CONNECTION_OPENING};

static const struct life original = {"its target answers", &came_original,
                                     .moments = {{10, CONNECTION_DIALLED, CONNECTION_GIVE_SOCKET, NONE}},
                                     .state = CONNECTION_OPEN};

/* ---- Whole lives ---- */

static const struct life opening_lives[] = {
    {"the target refuses", &came,
     .moments = {{10, CONNECTION_DIAL_FAILED, RESET_BOTH, 2010},
                 {20, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the target refuses, and that may not have been heard", &came,
     .moments = {{10, CONNECTION_DIAL_FAILED, RESET_BOTH, 2010},
                 {20, CONNECTION_STREAM_LOST, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the target refuses when there is nobody to be told", &came,
     .moments = {{5, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 60005},
                 {10, CONNECTION_DIAL_FAILED, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"dialled again, it does not dial the target again", &came,
     .moments = {{5, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 60005},
                 {6, ATTACHED, CONNECTION_USE_NEXT, NONE},
                 {10, CONNECTION_DIALLED, CONNECTION_GIVE_SOCKET, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"dialled again before it knows that the stream is lost", &came,
     .moments = {{5, ATTACHED, CONNECTION_USE_NEXT, NONE},
                 {6, ATTACHED_LOWER, CONNECTION_REFUSE_NEXT, NONE},
                 {10, CONNECTION_DIALLED, CONNECTION_GIVE_SOCKET, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"dialled again when the target has answered", &open, .moments = {{20, ATTACHED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"the target answers while there is no stream", &came,
     .moments = {{5, CONNECTION_STREAM_OK, CONNECTION_DROP_CURRENT, 60005},
                 {10, CONNECTION_DIALLED, CONNECTION_GIVE_SOCKET, 60005}},
     .state = CONNECTION_OPEN},
    {"the other side resets before the target answers", &came,
     .moments = {{5, CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET, 2005},
                 {10, CONNECTION_DIALLED, 0, 2005},
                 {20, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends before the target answers", &came,
     .moments = {{5, CONNECTION_END, RESET_BOTH, 1005}, {10, CONNECTION_DIAL_FAILED, 0, 1005}},
     .state = CONNECTION_CLOSING},
    {"streams that arrive late have no part in it", &came_late,
     .moments = {{1, ATTACHED_LOWER, CONNECTION_REFUSE_NEXT, NONE},
                 {2, ATTACHED_AGAIN, CONNECTION_REFUSE_NEXT, NONE},
                 {3, ATTACHED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPENING, .epoch = 4},
};

static const struct life attached_lives[] = {
    {"it goes on with another stream", &detached, .moments = {{2000, ATTACHED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"another stream replaces the one that works", &open, .moments = {{20, ATTACHED_HIGH, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1000},
    {"the live stream is not disturbed", &open,
     .moments = {{20, ATTACHED, CONNECTION_USE_NEXT, NONE},
                 {30, ATTACHED_AGAIN, CONNECTION_REFUSE_NEXT, NONE},
                 {40, ATTACHED_LOWER, CONNECTION_REFUSE_NEXT, NONE},
                 {50, ATTACHED_IMPOSSIBLE, CONNECTION_REFUSE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"detached, it refuses the same", &detached,
     .moments = {{2000, ATTACHED_AGAIN, CONNECTION_REFUSE_NEXT, 601000},
                 {2000, ATTACHED_IMPOSSIBLE, CONNECTION_REFUSE_NEXT, 601000},
                 {2000, ATTACHED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"it opens no streams itself", &detached,
     .moments = {{2000, CONNECTION_ROUTER_UP, 0, 601000},
                 {2000, CONNECTION_RENEW, 0, 601000},
                 {2000, ATTACHED, CONNECTION_USE_NEXT, NONE},
                 {3000, CONNECTION_RENEW, 0, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"nobody comes", &detached, .moments = {{601000, CONNECTION_TIME, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"each time it is detached it is held anew", &detached,
     .moments = {{600999, ATTACHED, CONNECTION_USE_NEXT, NONE},
                 {602000, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 1202000}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"streams that do not last do not keep it", &detached,
     .moments = {{600999, ATTACHED, CONNECTION_USE_NEXT, NONE},
                 {601500, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 601000},
                 {601500, CONNECTION_TIME, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
};

static const struct life ending_lives[] = {
    {"both ends, the remote one first", &both_ended,
     .moments = {{40, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"both ends, the local one first", &open,
     .moments = {{20, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, NONE},
                 {30, CONNECTION_REMOTE_EOF, LAST_WORD_SAID, NONE},
                 {40, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"both ends while it is detached", &detached,
     .moments = {{1100, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, 601000},
                 {1200, CONNECTION_REMOTE_EOF, CONNECTION_CLOSE_SOCKET, 601000},
                 {1300, ATTACHED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, NONE}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"a stream that ends well although an end is missing is lost", &open,
     .moments = {{20, CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET, NONE},
                 {30, CONNECTION_STREAM_OK, CONNECTION_DROP_CURRENT, 60030}},
     .state = CONNECTION_OPEN},
    {"the last word is said again to who comes for it", &unheard,
     .moments = {{50, ATTACHED_AGAIN, CONNECTION_REFUSE_NEXT, 60040},
                 {60, ATTACHED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, NONE},
                 {70, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"nobody comes for the last word", &unheard, .moments = {{60040, CONNECTION_TIME, BURIED_WITH(0), NONE}},
     .state = CONNECTION_GONE},
    {"nobody is to come for the last word", &unheard, .moments = {{50, CONNECTION_CUT, BURIED_WITH(0), NONE}},
     .state = CONNECTION_GONE},
    {"cut while the last word is on its way", &both_ended, .moments = {{40, CONNECTION_CUT, RESET_BOTH, 2040}},
     .state = CONNECTION_CLOSING},
    {"somebody comes before it is known that the last word is lost", &both_ended,
     .moments = {{40, ATTACHED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, NONE},
                 {50, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 60050}},
     .state = CONNECTION_CLOSING, .epoch = 1},
};

static const struct life reset_lives[] = {
    {"cut", &cut, .moments = {{1010, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"cut, and the stream is lost: the tombstone tells", &cut,
     .moments = {{1010, CONNECTION_STREAM_LOST, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"cut, and the stream hangs", &cut,
     .moments = {{3000, CONNECTION_TIME, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"cut, and somebody comes who has not heard it", &cut,
     .moments = {{1010, ATTACHED, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET, 3010},
                 {1020, ATTACHED_AGAIN, CONNECTION_REFUSE_NEXT, 3010},
                 {1030, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"cut while it is detached", &detached,
     .moments = {{2000, CONNECTION_CUT, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"the target goes while it is detached", &detached,
     .moments = {{2000, CONNECTION_SOCKET_FAILED, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"the other side resets", &other_reset,
     .moments = {{1010, CONNECTION_STREAM_OK, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"the other side resets, and comes to say it again", &other_reset,
     .moments = {{1010, ATTACHED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, 3010},
                 {1020, CONNECTION_REMOTE_RESET, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"the other side resets, and the stream hangs", &other_reset,
     .moments = {{3000, CONNECTION_TIME, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"both reset", &cut, .moments = {{1010, CONNECTION_REMOTE_RESET, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the peer is lost", &open,
     .moments = {{20, CONNECTION_PEER_LOST, BURIED_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"the peer is lost while it is detached", &detached,
     .moments = {{2000, CONNECTION_PEER_LOST, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"the peer is lost, who was to come for the last word", &unheard,
     .moments = {{50, CONNECTION_PEER_LOST, BURIED_WITH(0), NONE}}, .state = CONNECTION_GONE},
};

static const struct life program_end_lives[] = {
    {"the program ends", &open,
     .moments = {{20, CONNECTION_END, RESET_BOTH, 1020},
                 {30, ATTACHED, CONNECTION_REFUSE_NEXT, 1020},
                 {1020, CONNECTION_TIME, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends while it is detached", &detached,
     .moments = {{2000, CONNECTION_END, BURIED_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"the program ends when both have ended", &both_ended,
     .moments = {{40, CONNECTION_END, 0, 1040},
                 {50, CONNECTION_STREAM_LOST, BURIED_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends while nobody has come for the last word", &unheard,
     .moments = {{50, CONNECTION_END, BURIED_WITH(0), NONE}}, .state = CONNECTION_GONE},
};

static const struct life first_version_lives[] = {
    {"one end ends both", &original,
     .moments = {{20, CONNECTION_LOCAL_EOF, CONNECTION_HALF_CLOSE, NONE},
                 {30, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"it ends, and the target takes the rest", &original,
     .moments = {{20, CONNECTION_STREAM_OK, CONNECTION_LINGER, 60020},
                 {30, CONNECTION_LOCAL_EOF, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"it ends before the target answers", &came_original,
     .moments = {{5, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"its target refuses", &came_original,
     .moments = {{10, CONNECTION_DIAL_FAILED, CONNECTION_CANCEL | CONNECTION_RESET_SOCKET, 2010},
                 {20, CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the connection ends with its stream", &original,
     .moments = {{20, ATTACHED, CONNECTION_REFUSE_NEXT, NONE},
                 {30, CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
};

TEST_LIVES(opening)
TEST_LIVES(attached)
TEST_LIVES(ending)
TEST_LIVES(reset)
TEST_LIVES(program_end)
TEST_LIVES(first_version)

START_TEST(test_tombstones_tell_how_it_ended)
{
  static const struct {
    const struct life *life;
    bool reset;
  } cases[] = {{&ending_lives[0], false}, {&ending_lives[1], false}, {&ending_lives[5], true},
               {&ending_lives[6], true},  {&opening_lives[0], true}, {&attached_lives[5], true},
               {&reset_lives[0], true},   {&reset_lives[6], true},   {&reset_lives[10], true}};
  struct connection c;

  live(&c, cases[_i].life);
  ck_assert_int_eq(c.reset || c.reset_heard, cases[_i].reset);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("connection, S");
  TCase *lives = tcase_create("lives");

  ADD_LIVES(lives, opening);
  ADD_LIVES(lives, attached);
  ADD_LIVES(lives, ending);
  ADD_LIVES(lives, reset);
  ADD_LIVES(lives, program_end);
  ADD_LIVES(lives, first_version);
  tcase_add_loop_test(lives, test_tombstones_tell_how_it_ended, 0, 9);
  suite_add_tcase(suite, lives);
  return suite;
}
