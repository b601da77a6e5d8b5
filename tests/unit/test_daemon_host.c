/* Tunnels on a host of the test's own: there is no link below them, and no router. */
#include "fixture_daemon_world.h"
#include "runner.h"

#include <sys/socket.h>
#include <unistd.h>

#include "carry/tunnel/carry_host.h"
#include "carry/tunnel/tunnels.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"

struct carry_question {
  carry_token_cb done;
  void *arg;
  bool cancelled;
};

static struct {
  struct carry_host host;
  struct carry_way way;
  int ask_error;
  int asks, opens;
  struct carry_question question;
  struct header header; /* of the latest stream, which could not be opened */
  bool original;
} pretended;

static struct world w;
static struct pump_set *pumps;
static struct tunnels *tunnels;
static int application;
static int opened, closed;
static bool gone;
static char sentence[1024];

/* ---- The host ---- */

static struct carry_way way(const struct carry_host *host)
{
  ck_assert_ptr_eq(host, &pretended.host);
  return pretended.way;
}

static bool is_slow(const struct carry_host *host)
{
  (void)host;
  return false;
}

static int open_stream(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                       bool original, const struct pump_stream_events *events, void *arg)
{
  (void)host, (void)out, (void)events, (void)arg;
  pretended.opens++;
  pretended.header = *header;
  pretended.original = original;
  return -EMFILE;
}

static int ask_token(const struct carry_host *host, struct carry_question **out, const char *service,
                     carry_token_cb done, void *arg)
{
  (void)host;
  ck_assert_str_eq(service, "web");
  pretended.asks++;
  pretended.question = (struct carry_question){.done = done, .arg = arg};
  *out = &pretended.question;
  return pretended.ask_error;
}

static void cancel(struct carry_question *question)
{
  question->cancelled = true;
}

/* ---- What the tunnels tell ---- */

static void on_opened(struct tunnel *t, void *arg)
{
  (void)t, (void)arg;
  opened++;
}

static void on_closed(struct tunnel *t, void *arg)
{
  (void)t, (void)arg;
  closed++;
}

static void on_failed(struct tunnel *t, const char *text, void *arg)
{
  (void)t, (void)arg;
  snprintf(sentence, sizeof sentence, "%s", text);
}

static const struct tunnels_events events = {.opened = on_opened, .closed = on_closed, .failed = on_failed};

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void setup(void)
{
  static const uint8_t member[HEADER_MEMBER_SIZE] = "this member is o";
  const struct pump_limits limits = {.window = 1 << 20, .budget = 1 << 20};
  const struct tunnels_options options = {.dial_ms = 20000, .hold_ms = 20000};

  memset(&pretended, 0, sizeof pretended);
  pretended.host = (struct carry_host){.member = member,
                                       .way = way,
                                       .is_slow = is_slow,
                                       .open_stream = open_stream,
                                       .ask_token = ask_token,
                                       .cancel = cancel};
  pretended.way = (struct carry_way){.trouble = "nothing leads there"};
  opened = closed = 0;
  gone = false;
  sentence[0] = '\0';
  world_open(&w);
  ck_assert_int_eq(pump_set_open(&pumps, rpc_queue_home(w.queue), &w.loop, &limits), 0);
  ck_assert_int_eq(tunnels_open(&tunnels, w.lookups, &pretended.host, pumps, &options, &events, NULL), 0);
}

/* The tunnels are closed, or about to be. */
static void finish(void)
{
  WORLD_UNTIL(&w, gone);
  ck_assert_int_eq(opened, closed);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  world_close(&w);
  close(application);
}

static void dial(void)
{
  int pair[2];

  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
  application = pair[0];
  tunnels_forward(tunnels, "web", pair[1], "somebody", NULL);
}

/* ---- Tests ---- */

static const struct {
  bool original;
  int ask_error;
  enum rpc_status status; /* of the answer to what is asked, with this token */
  const char *token;
  const char *says;
} failures[] = {
    {.says = "cannot open a stream to the router: Too many open files"},
    {.original = true, .ask_error = -ENOMEM, .says = "cannot ask the router: Cannot allocate memory"},
    {.original = true, .status = RPC_NOT_FOUND, .says = "as told (NOT_FOUND)"},
    {.original = true, .says = "the router's answer is malformed"},
    {.original = true, .token = "a-token", .says = "cannot open a stream to the router: Too many open files"},
};

START_TEST(what_the_host_cannot_do_is_told)
{
  const char *token = failures[_i].token;

  pretended.way = (struct carry_way){.up = true, .original = failures[_i].original, .trouble = ""};
  pretended.ask_error = failures[_i].ask_error;
  dial();
  ck_assert_int_eq(pretended.asks, failures[_i].original);
  if (failures[_i].original && failures[_i].ask_error == 0)
    pretended.question.done(failures[_i].status, "as told", token, pretended.question.arg);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_ptr_nonnull(strstr(sentence, failures[_i].says));
  ck_assert_str_eq(pretended.header.token, token != NULL ? token : "");
  ck_assert(pretended.original == (token != NULL));
  tunnels_close(tunnels, on_gone, NULL);
  finish();
}
END_TEST

/* The host says who this is; a tunnel does not have the key. */
START_TEST(a_tunnel_waits_for_the_way_and_proves_nothing)
{
  dial();
  ck_assert_int_eq(pretended.asks + pretended.opens, 0);
  pretended.way.up = true;
  tunnels_way_changed(tunnels);
  ck_assert_int_eq(pretended.opens, 1);
  ck_assert_str_eq(pretended.header.service, "web");
  ck_assert(pretended.header.has_connection && !pretended.header.has_member && !pretended.header.has_member_key);
  tunnels_close(tunnels, on_gone, NULL);
  finish();
}
END_TEST

START_TEST(the_end_waits_for_what_was_asked)
{
  pretended.way = (struct carry_way){.up = true, .original = true, .trouble = ""};
  dial();
  tunnels_close(tunnels, on_gone, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert(pretended.question.cancelled && !gone);
  pretended.question.done(RPC_CANCELLED, "", NULL, pretended.question.arg);
  finish();
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon host");
  TCase *t = tcase_create("of the test's own");

  tcase_add_checked_fixture(t, setup, NULL);
  tcase_set_timeout(t, 60);
  tcase_add_loop_test(t, what_the_host_cannot_do_is_told, 0, sizeof failures / sizeof *failures);
  tcase_add_test(t, a_tunnel_waits_for_the_way_and_proves_nothing);
  tcase_add_test(t, the_end_waits_for_what_was_asked);
  suite_add_tcase(suite, t);
  return suite;
}
