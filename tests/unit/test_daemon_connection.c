/* The connection's state machine at the side that dials. */
#include "test_daemon_connection.h"

static unsigned start(struct connection *c)
{
  return connection_start_forward(c, &times, 0);
}

/* ---- How lives begin ---- */

static const struct life waits = {
    .name = "it waits for a router", .start = start, .started = CONNECTION_GIVE_SOCKET, .state = CONNECTION_WAITING};

static const struct life dialled = {"it dials", &waits, .moments = {{0, CONNECTION_ROUTER_UP, DIAL, 15000}},
                                    .state = CONNECTION_OPENING};

static const struct life open = {"it is answered", &dialled, .moments = {{10, CONNECTION_ANSWERED, 0, NONE}},
                                 .state = CONNECTION_OPEN};

static const struct life detached = {"it loses its stream and the router", &open,
                                     .moments = {{1000, CONNECTION_ROUTER_DOWN, 0, NONE},
                                                 {1000, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 601000}},
                                     .state = CONNECTION_OPEN};

static const struct life attaching = {"it loses its stream, and attaches", &open,
                                      .moments = {{1000, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 16000}},
                                      .state = CONNECTION_OPEN, .epoch = 1};

static const struct life renewing = {"it is to have another stream", &open,
                                     .moments = {{1000, CONNECTION_RENEW, CONNECTION_OPEN_STREAM, 16000}},
                                     .state = CONNECTION_OPEN, .epoch = 1};

static const struct life both_ended = {"both directions ended", &open,
                                       .moments = {{20, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, NONE},
                                                   {30, CONNECTION_REMOTE_EOF, LAST_WORD_SAID, NONE}},
                                       .state = CONNECTION_CLOSING};

static const struct life cut = {"it is cut", &open, .moments = {{1000, CONNECTION_CUT, RESET_BOTH, 3000}},
                                .state = CONNECTION_CLOSING};

static const struct life cut_unknown = {"it is cut before anybody answers", &dialled,
                                        .moments = {{50, CONNECTION_CUT, CONNECTION_RESET_SOCKET, 15000}},
                                        .state = CONNECTION_CLOSING};

static const struct life asks = {"it asks a router of the first version", &waits,
                                 .moments = {{0, CONNECTION_ROUTER_ORIGINAL, CONNECTION_ASK, 15000}},
                                 .state = CONNECTION_ASKING};

static const struct life asked = {"it has a token", &asks, .moments = {{10, CONNECTION_TOKEN, DIAL, 15000}},
                                  .state = CONNECTION_OPENING};

static const struct life original = {"a peer of the first version answers", &dialled,
                                     .moments = {{10, CONNECTION_ORIGINAL, 0, NONE}}, .state = CONNECTION_OPEN};

static const struct life lingers = {"a peer of the first version ends", &original,
                                    .moments = {{20, CONNECTION_STREAM_OK, CONNECTION_LINGER, 60020}},
                                    .state = CONNECTION_CLOSING};

/* ---- Whole lives ---- */

static const struct life waiting_lives[] = {
    {"no router comes", &waits, .moments = {{10000, CONNECTION_TIME, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"cut while it waits", &waits, .moments = {{10, CONNECTION_CUT, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends while it waits", &waits,
     .moments = {{10, CONNECTION_END, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"the application goes while it waits", &waits,
     .moments = {{10, CONNECTION_SOCKET_FAILED, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"a router comes late", &waits,
     .moments = {{9000, CONNECTION_ROUTER_DOWN, 0, 10000},
                 {9000, CONNECTION_RENEW, 0, 10000},
                 {9999, CONNECTION_ROUTER_UP, DIAL, 15000}},
     .state = CONNECTION_OPENING},
};

static const struct life opening_lives[] = {
    {"lost before an answer, it dials again, with a higher epoch", &dialled,
     .moments = {{100, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 150},
                 {150, CONNECTION_TIME, DIAL, 15000},
                 {200, CONNECTION_ANSWERED, 0, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"a stream that ends well before an answer is lost", &dialled,
     .moments = {{100, CONNECTION_STREAM_OK, CONNECTION_DROP_CURRENT, 150}, {150, CONNECTION_TIME, DIAL, 15000}},
     .state = CONNECTION_OPENING, .epoch = 1},
    {"it dials ever more seldom, and gives up in time", &dialled,
     .moments = {{0, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 50},
                 {50, CONNECTION_TIME, DIAL, 15000},
                 {50, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 150},
                 {150, CONNECTION_TIME, DIAL, 15000},
                 {150, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 350},
                 {350, CONNECTION_TIME, DIAL, 15000},
                 {350, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 750},
                 {750, CONNECTION_TIME, DIAL, 15000},
                 {750, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 1550},
                 {1550, CONNECTION_TIME, DIAL, 15000},
                 {1550, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 2550},
                 {2550, CONNECTION_TIME, DIAL, 15000},
                 {14500, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 15000},
                 {15000, CONNECTION_TIME, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 6},
    {"nobody answers", &dialled,
     .moments = {{15000, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"without a router it does not dial again, and with one at once", &dialled,
     .moments = {{100, CONNECTION_ROUTER_DOWN, 0, 15000},
                 {100, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 15000},
                 {5000, CONNECTION_ROUTER_UP, DIAL, 15000}},
     .state = CONNECTION_OPENING, .epoch = 1},
    {"the router goes and comes while it waits to dial again", &dialled,
     .moments = {{100, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 150},
                 {120, CONNECTION_ROUTER_DOWN, 0, 15000},
                 {130, CONNECTION_ROUTER_UP, DIAL, 15000}},
     .state = CONNECTION_OPENING, .epoch = 1},
    {"the router is told to be there while it dials", &dialled,
     .moments = {{100, CONNECTION_ROUTER_UP, 0, 15000}, {100, CONNECTION_RENEW, 0, 15000}},
     .state = CONNECTION_OPENING},
    {"the router does not know the service", &dialled,
     .moments = {{10, CONNECTION_LOCAL_EOF, 0, 15000},
                 {20, CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"an end is held back until it is known to whom it is said", &dialled,
     .moments = {{10, CONNECTION_LOCAL_EOF, 0, 15000}, {20, CONNECTION_ANSWERED, CONNECTION_SAY_EOF, NONE}},
     .state = CONNECTION_OPEN},
    {"an end that is held back outlives a stream", &dialled,
     .moments = {{10, CONNECTION_LOCAL_EOF, 0, 15000},
                 {20, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 70},
                 {70, CONNECTION_TIME, DIAL, 15000},
                 {80, CONNECTION_ANSWERED, CONNECTION_SAY_EOF, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"the other side's header belongs to another connection", &dialled,
     .moments = {{10, CONNECTION_MISANSWERED, RESET_BOTH, 2010},
                 {20, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"one that misanswered is not told again", &dialled,
     .moments = {{10, CONNECTION_MISANSWERED, RESET_BOTH, 2010},
                 {20, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the other side resets before its header", &dialled,
     .moments = {{10, CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET, 2010},
                 {20, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends before anybody answers", &dialled,
     .moments = {{10, CONNECTION_END, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
};

static const struct life reset_unknown_lives[] = {
    {"a reset is held back until it is known to whom it is said", &cut_unknown,
     .moments = {{60, CONNECTION_ANSWERED, CONNECTION_SAY_RESET, 2060},
                 {70, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"to a peer of the first version it is said by cancelling", &cut_unknown,
     .moments = {{60, CONNECTION_ORIGINAL, CONNECTION_CANCEL, 2060},
                 {70, CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"it dials again to say it", &cut_unknown,
     .moments = {{60, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 110},
                 {110, CONNECTION_TIME, DIAL, 15000},
                 {120, CONNECTION_ANSWERED, CONNECTION_SAY_RESET, 2120},
                 {130, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"it answers, and is lost before it can hear it", &cut_unknown,
     .moments = {{60, CONNECTION_ANSWERED, CONNECTION_SAY_RESET, 2060},
                 {70, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 15070},
                 {80, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET, 2080}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"nobody answers who could hear it", &cut_unknown,
     .moments = {{15000, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"the service is not known, so that nobody needs to hear it", &cut_unknown,
     .moments = {{60, CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"who answers wrongly need not hear it", &cut_unknown,
     .moments = {{60, CONNECTION_MISANSWERED, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"the program does not wait for that", &cut_unknown,
     .moments = {{60, CONNECTION_END, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
};

static const struct life ending_lives[] = {
    {"both ends, the local one first", &both_ended,
     .moments = {{40, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"both ends, the remote one first", &open,
     .moments = {{20, CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET, NONE},
                 {30, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF | LAST_WORD_SAID, NONE},
                 {40, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"a stream that ends well although an end is missing is lost", &open,
     .moments = {{20, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, NONE},
                 {30, CONNECTION_STREAM_OK, DROP_AND_ATTACH, 15030},
                 {40, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE},
                 {50, CONNECTION_REMOTE_EOF, LAST_WORD_SAID, NONE}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"the last word is lost, and said again", &both_ended,
     .moments = {{40, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 15040},
                 {50, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, NONE},
                 {60, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"the last word is lost, and cannot be said again for a while", &both_ended,
     .moments = {{40, CONNECTION_STREAM_FAILED, DROP_AND_ATTACH, 15040},
                 {50, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 100},
                 {60, CONNECTION_ROUTER_DOWN, 0, 600040},
                 {70, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 15070},
                 {15070, CONNECTION_TIME, CONNECTION_DROP_NEXT, 15170},
                 {15170, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 30170},
                 {30000, CONNECTION_NEXT_RESET, GONE_WITH(CONNECTION_DROP_NEXT), NONE}},
     .state = CONNECTION_GONE, .epoch = 3},
    {"the last word is said again, whatever the user wants", &both_ended,
     .moments = {{40, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 15040}, {50, CONNECTION_CUT, 0, 15040}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"the last word is lost, and can never be said again", &both_ended,
     .moments = {{40, CONNECTION_ROUTER_DOWN, 0, NONE},
                 {40, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 600040},
                 {600040, CONNECTION_TIME, GONE_WITH(0), NONE}},
     .state = CONNECTION_GONE},
    {"both ends while it is detached", &detached,
     .moments = {{1100, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, 601000},
                 {1200, CONNECTION_REMOTE_EOF, CONNECTION_CLOSE_SOCKET, 601000},
                 {1300, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 16300},
                 {1400, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, NONE}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"both ends while it attaches, the remote one first", &attaching,
     .moments = {{1100, CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET, 16000},
                 {1200, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF | CONNECTION_CLOSE_SOCKET, 16000},
                 {1300, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_HALF_CLOSE, NONE}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"both end while it has a next stream, which has no use any more", &renewing,
     .moments = {{1100, CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET, 16000},
                 {1200, CONNECTION_LOCAL_EOF, CONNECTION_DROP_NEXT | CONNECTION_SAY_EOF | LAST_WORD_SAID, NONE},
                 {1300, CONNECTION_RENEW, 0, NONE}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"the other side resets when both have ended", &both_ended,
     .moments = {{40, CONNECTION_REMOTE_RESET, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"what the user or the socket does when both have ended changes nothing", &both_ended,
     .moments = {{40, CONNECTION_CUT, 0, NONE}, {50, CONNECTION_SOCKET_FAILED, 0, NONE}}, .state = CONNECTION_CLOSING},
};

static const struct life reset_lives[] = {
    {"cut", &cut, .moments = {{1010, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"one end is said, and the socket breaks in the other direction", &open,
     .moments = {{20, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, NONE},
                 {30, CONNECTION_SOCKET_FAILED, RESET_BOTH, 2030},
                 {40, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"a reset that may not have been heard is said again", &cut,
     .moments = {{1010, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 16010},
                 {1020, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET, 3020},
                 {1030, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"a stream that hangs with our reset on it is given up", &cut,
     .moments = {{3000, CONNECTION_TIME, DROP_AND_ATTACH, 18000},
                 {4000, CONNECTION_NEXT_MISANSWERED, CONNECTION_DROP_NEXT, 4050},
                 {4050, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 19050},
                 {5000, CONNECTION_NEXT_RESET, GONE_WITH(CONNECTION_DROP_NEXT), NONE}},
     .state = CONNECTION_GONE, .epoch = 2},
    {"a reset is not said again for ever", &cut,
     .moments = {{3000, CONNECTION_TIME, DROP_AND_ATTACH, 18000},
                 {599000, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET, 601000},
                 {601000, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"cut while it is detached", &detached,
     .moments = {{1500, CONNECTION_CUT, CONNECTION_RESET_SOCKET, 601000},
                 {2000, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 17000},
                 {2010, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET, 4010}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"cut while it is detached, and no router comes", &detached,
     .moments = {{1500, CONNECTION_SOCKET_FAILED, CONNECTION_RESET_SOCKET, 601000},
                 {601000, CONNECTION_TIME, GONE_WITH(0), NONE}},
     .state = CONNECTION_GONE},
    {"cut while it attaches", &attaching,
     .moments = {{1500, CONNECTION_CUT, CONNECTION_RESET_SOCKET, 16000},
                 {1600, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET, 3600}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"cut while it has a next stream", &renewing,
     .moments = {{1500, CONNECTION_CUT, CONNECTION_DROP_NEXT | RESET_BOTH, 3500}}, .state = CONNECTION_CLOSING,
     .epoch = 1},
    {"the other side resets", &open,
     .moments = {{20, CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET, 2020},
                 {30, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the other side resets, and its stream is lost", &open,
     .moments = {{20, CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET, 2020},
                 {30, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the other side resets, and its stream hangs", &open,
     .moments = {{20, CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET, 2020},
                 {2020, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the other side resets while there is a next stream", &renewing,
     .moments = {{1500, CONNECTION_REMOTE_RESET, CONNECTION_DROP_NEXT | CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET,
                  3500}},
     .state = CONNECTION_CLOSING, .epoch = 1},
    {"the other side resets on the next stream", &renewing,
     .moments = {{1500, CONNECTION_NEXT_RESET, GONE_WITH(DROP_BOTH | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"the other side does not know the connection any more", &attaching,
     .moments = {{1500, CONNECTION_NEXT_RESET, GONE_WITH(CONNECTION_DROP_NEXT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
};

static const struct life peer_lost_lives[] = {
    {"the peer is lost while it is open", &open,
     .moments = {{20, CONNECTION_PEER_LOST, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"the peer is lost while it is detached", &detached,
     .moments = {{1500, CONNECTION_PEER_LOST, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"the peer is lost while there are two streams", &renewing,
     .moments = {{1500, CONNECTION_PEER_LOST, GONE_WITH(DROP_BOTH | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"the peer is lost when both have ended", &both_ended,
     .moments = {{40, CONNECTION_PEER_LOST, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}}, .state = CONNECTION_GONE},
    {"the peer is lost before it hears our reset", &cut,
     .moments = {{1010, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 16010},
                 {1020, CONNECTION_PEER_LOST, GONE_WITH(CONNECTION_DROP_NEXT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
};

static const struct life attaching_lives[] = {
    {"lost and attached", &attaching, .moments = {{1010, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"what is refused for good before an answer is lost only after it", &open,
     .moments = {{1000, CONNECTION_STREAM_FAILED, DROP_AND_ATTACH, 16000}}, .state = CONNECTION_OPEN, .epoch = 1},
    {"it attaches ever more seldom", &attaching,
     .moments = {{1010, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1060},
                 {1060, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 16060},
                 {2000, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 2100},
                 {2100, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 17100},
                 {3000, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 3200},
                 {3200, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 18200},
                 {4000, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 4400},
                 {4400, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 19400},
                 {5000, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 5800},
                 {5800, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 20800},
                 {6000, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 7000},
                 {7000, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 22000},
                 {8000, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 9000}},
     .state = CONNECTION_OPEN, .epoch = 7},
    {"after a success it is quick again", &attaching,
     .moments = {{1010, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1060},
                 {1060, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 16060},
                 {1070, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE},
                 {2000, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 17000},
                 {2010, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 2060}},
     .state = CONNECTION_OPEN, .epoch = 3},
    {"an answer that cannot be is as good as none", &attaching,
     .moments = {{1010, CONNECTION_NEXT_MISANSWERED, CONNECTION_DROP_NEXT, 1060}}, .state = CONNECTION_OPEN,
     .epoch = 1},
    {"nobody answers, and it tries again", &attaching,
     .moments = {{16000, CONNECTION_TIME, CONNECTION_DROP_NEXT, 16050},
                 {16050, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 31050}},
     .state = CONNECTION_OPEN, .epoch = 2},
    {"without a router it does not try, and with one at once", &attaching,
     .moments = {{1010, CONNECTION_ROUTER_DOWN, 0, 16000},
                 {1020, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 601000},
                 {5000, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 20000}},
     .state = CONNECTION_OPEN, .epoch = 2},
    {"a router that comes back spares it the back-off", &attaching,
     .moments = {{1010, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1060},
                 {1020, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 16020},
                 {1030, CONNECTION_ROUTER_UP, 0, 16020}},
     .state = CONNECTION_OPEN, .epoch = 2},
    {"with a router of the first version it cannot attach", &attaching,
     .moments = {{1010, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1060},
                 {1020, CONNECTION_ROUTER_ORIGINAL, 0, 601000},
                 {2000, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 17000}},
     .state = CONNECTION_OPEN, .epoch = 2},
    {"it is detached for too long", &detached,
     .moments = {{601000, CONNECTION_TIME, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"it is detached for too long, however it tries", &detached,
     .moments = {{600000, CONNECTION_ROUTER_UP, CONNECTION_OPEN_STREAM, 601000},
                 {601000, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_NEXT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
};

static const struct life late_lives[] = {
    {"what was known before changes nothing", &open,
     .moments = {{20, CONNECTION_ANSWERED, 0, NONE},
                 {20, CONNECTION_ORIGINAL, 0, NONE},
                 {20, CONNECTION_MISANSWERED, 0, NONE},
                 {20, CONNECTION_TOKEN, 0, NONE},
                 {20, CONNECTION_NEXT_LOST, 0, NONE},
                 {20, CONNECTION_TIME, 0, NONE},
                 {30, CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET, NONE},
                 {40, CONNECTION_REMOTE_EOF, 0, NONE}},
     .state = CONNECTION_OPEN},
    {"what was known before changes nothing at the end, either", &both_ended,
     .moments = {{40, CONNECTION_ANSWERED, 0, NONE},
                 {40, CONNECTION_ORIGINAL, 0, NONE},
                 {40, CONNECTION_LOCAL_EOF, 0, NONE},
                 {40, CONNECTION_REMOTE_EOF, 0, NONE},
                 {40, CONNECTION_NEXT_LOST, 0, NONE},
                 {40, CONNECTION_TIME, 0, NONE}},
     .state = CONNECTION_CLOSING},
};

static const struct life renewal_lives[] = {
    {"another stream replaces the one that works", &renewing,
     .moments = {{1010, CONNECTION_RENEW, 0, 16000}, {1020, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"the current one is lost meanwhile", &renewing,
     .moments = {{1500, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 16000},
                 {1600, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"the next one is lost meanwhile, and tried again while the current one works", &renewing,
     .moments = {{1500, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1550},
                 {1550, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 16550},
                 {1600, CONNECTION_NEXT_MISANSWERED, CONNECTION_DROP_NEXT, 1700},
                 {1700, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 16700},
                 {16700, CONNECTION_TIME, CONNECTION_DROP_NEXT, 16900},
                 {16900, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 31900},
                 {17000, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 4},
    {"both are lost, the next one first", &renewing,
     .moments = {{1500, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1550},
                 {1510, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 16510}},
     .state = CONNECTION_OPEN, .epoch = 2},
    {"both are lost, the current one first", &renewing,
     .moments = {{1500, CONNECTION_STREAM_LOST, CONNECTION_DROP_CURRENT, 16000},
                 {1510, CONNECTION_NEXT_LOST, CONNECTION_DROP_NEXT, 1560},
                 {1560, CONNECTION_TIME, CONNECTION_OPEN_STREAM, 16560}},
     .state = CONNECTION_OPEN, .epoch = 2},
    {"an end is said while the next one is on its way", &renewing,
     .moments = {{1500, CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF, 16000},
                 {1600, CONNECTION_NEXT_ANSWERED, CONNECTION_USE_NEXT, NONE}},
     .state = CONNECTION_OPEN, .epoch = 1},
    {"there is nothing to renew without a stream", &detached, .moments = {{1500, CONNECTION_RENEW, 0, 601000}},
     .state = CONNECTION_OPEN},
};

static const struct life program_end_lives[] = {
    {"the program ends", &open,
     .moments = {{20, CONNECTION_END, RESET_BOTH, 1020},
                 {30, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends, and the stream is lost", &open,
     .moments = {{20, CONNECTION_END, RESET_BOTH, 1020},
                 {30, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends, and does not wait long", &open,
     .moments = {{20, CONNECTION_END, RESET_BOTH, 1020},
                 {1020, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends while there are two streams", &renewing,
     .moments = {{1500, CONNECTION_END, CONNECTION_DROP_NEXT | RESET_BOTH, 2500}}, .state = CONNECTION_CLOSING,
     .epoch = 1},
    {"the program ends while it is detached", &detached,
     .moments = {{1500, CONNECTION_END, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"the program ends while it attaches", &attaching,
     .moments = {{1500, CONNECTION_END, GONE_WITH(CONNECTION_DROP_NEXT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"the program ends when both have ended", &both_ended,
     .moments = {{40, CONNECTION_END, 0, 1040}, {1040, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends while the last word is to be said again", &both_ended,
     .moments = {{40, CONNECTION_STREAM_LOST, DROP_AND_ATTACH, 15040},
                 {50, CONNECTION_END, GONE_WITH(CONNECTION_DROP_NEXT), NONE}},
     .state = CONNECTION_GONE, .epoch = 1},
    {"the program ends after a reset", &cut,
     .moments = {{1500, CONNECTION_END, 0, 2500},
                 {2000, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
};

static const struct life first_version_lives[] = {
    {"through a router of the first version", &asked,
     .moments = {{20, CONNECTION_ORIGINAL, 0, NONE},
                 {30, CONNECTION_LOCAL_EOF, CONNECTION_HALF_CLOSE, NONE},
                 {40, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"a router of the first version does not know the service", &asks,
     .moments = {{10, CONNECTION_TOKEN_REFUSED, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"a router of the first version says nothing", &asks,
     .moments = {{10, CONNECTION_ROUTER_DOWN, 0, 15000},
                 {15000, CONNECTION_TIME, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"cut while the router is asked", &asks,
     .moments = {{10, CONNECTION_CUT, GONE_WITH(CONNECTION_RESET_SOCKET), NONE}}, .state = CONNECTION_GONE},
    {"cut before anybody came for the token", &asked,
     .moments = {{20, CONNECTION_CUT, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"a token is shown once", &asked,
     .moments = {{20, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"nothing is said in-band, and one end ends both", &dialled,
     .moments = {{10, CONNECTION_LOCAL_EOF, 0, 15000},
                 {20, CONNECTION_ORIGINAL, CONNECTION_HALF_CLOSE, NONE},
                 {30, CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"the connection ends with its stream", &original,
     .moments = {{20, CONNECTION_RENEW, 0, NONE},
                 {30, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"cutting it cancels", &original,
     .moments = {{20, CONNECTION_CUT, CONNECTION_CANCEL | CONNECTION_RESET_SOCKET, 2020},
                 {30, CONNECTION_STREAM_LOST, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"a cancelled stream that does not end is given up", &original,
     .moments = {{20, CONNECTION_SOCKET_FAILED, CONNECTION_CANCEL | CONNECTION_RESET_SOCKET, 2020},
                 {2020, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT), NONE}},
     .state = CONNECTION_GONE},
    {"the program ends", &original,
     .moments = {{20, CONNECTION_END, CONNECTION_CANCEL | CONNECTION_RESET_SOCKET, 1020}}, .state = CONNECTION_CLOSING},
    {"a peer ends, and the application takes the rest", &lingers,
     .moments = {{30, CONNECTION_ROUTER_UP, 0, 60020},
                 {40, CONNECTION_LOCAL_EOF, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"a peer ends, and the application does not take the rest", &lingers,
     .moments = {{60020, CONNECTION_TIME, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"a peer ends, and the application goes", &lingers,
     .moments = {{30, CONNECTION_SOCKET_FAILED, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_CLOSE_SOCKET), NONE}},
     .state = CONNECTION_GONE},
    {"a peer ends, and then it is cut", &lingers,
     .moments = {{30, CONNECTION_CUT, GONE_WITH(CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET), NONE}},
     .state = CONNECTION_GONE},
};

TEST_LIVES(waiting)
TEST_LIVES(opening)
TEST_LIVES(reset_unknown)
TEST_LIVES(ending)
TEST_LIVES(reset)
TEST_LIVES(peer_lost)
TEST_LIVES(attaching)
TEST_LIVES(late)
TEST_LIVES(renewal)
TEST_LIVES(program_end)
TEST_LIVES(first_version)

START_TEST(test_detached_is_told)
{
  static const struct {
    const struct life *life;
    bool told;
  } cases[] = {{&waits, false},    {&dialled, false},  {&open, false},       {&detached, true},
               {&attaching, true}, {&renewing, false}, {&both_ended, false}, {&original, false}};
  struct connection c;

  live(&c, cases[_i].life);
  ck_assert_int_eq(connection_detached(&c), cases[_i].told);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("connection, F");
  TCase *lives = tcase_create("lives");

  ADD_LIVES(lives, waiting);
  ADD_LIVES(lives, opening);
  ADD_LIVES(lives, reset_unknown);
  ADD_LIVES(lives, ending);
  ADD_LIVES(lives, reset);
  ADD_LIVES(lives, peer_lost);
  ADD_LIVES(lives, attaching);
  ADD_LIVES(lives, late);
  ADD_LIVES(lives, renewal);
  ADD_LIVES(lives, program_end);
  ADD_LIVES(lives, first_version);
  tcase_add_loop_test(lives, test_detached_is_told, 0, 8);
  suite_add_tcase(suite, lives);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
