#include "fixture_daemon_tunnels.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carry/host/link_host.h"
#include "carry/net/address.h"
#include "proto/pump/pump.h"

struct world w;

static uv_timer_t tick;

static struct pump_set *pumps;

static struct link_host host;

struct tunnels *tunnels;

struct parked *parked;

struct answers *answers;

struct tunnels_options options;

bool gone;

bool cut_at_once;

void (*opening_begins)(void), (*opening_ends)(void);

bool unreached;
int opened, closed, failed, detached, resumed;

struct tunnel *last;

char sentence[1024], why_detached[512];

/* What answers for a target. */
static int listener;

static struct address target;

const struct address *stream_target;
enum proxy_version stream_proxy;

/* ---- What the tunnels tell ---- */

static void on_opened(struct tunnel *t, void *arg)
{
  (void)arg;
  if (opening_ends != NULL)
    opening_ends();
  opened++;
  last = t;
  if (cut_at_once)
    tunnel_cut(t);
}

static void on_closed(struct tunnel *t, void *arg)
{
  (void)arg;
  closed++;
  unreached = tunnel_info(t).unreached;
  if (last == t)
    last = NULL;
}

static void on_detached(struct tunnel *t, const char *why, void *arg)
{
  (void)t;
  (void)arg;
  detached++;
  snprintf(why_detached, sizeof why_detached, "%s", why);
}

static void on_resumed(struct tunnel *t, void *arg)
{
  (void)t;
  (void)arg;
  resumed++;
}

static void on_failed(struct tunnel *t, const char *text, void *arg)
{
  (void)t;
  (void)arg;
  failed++;
  snprintf(sentence, sizeof sentence, "%s", text);
}

static const struct tunnels_events events = {
    .opened = on_opened, .closed = on_closed, .detached = on_detached, .resumed = on_resumed, .failed = on_failed};

/* ---- Streams that come ---- */

static void on_taken(struct pump_stream *s, const struct header *h, void *arg)
{
  (void)arg;
  if (opening_begins != NULL)
    opening_begins();
  tunnels_accept(tunnels, s, h, &(struct tunnels_target){.address = stream_target, .proxy = stream_proxy});
  if (opening_ends != NULL)
    opening_ends();
}

static void on_taken_original(struct pump_stream *s, const char *service, void *arg)
{
  (void)arg;
  tunnels_accept_original(tunnels, s, service, &(struct tunnels_target){.address = stream_target});
}

static void on_unanswered(const char *service, const char *text, void *arg)
{
  (void)service, (void)text, (void)arg;
}

static const struct answers_events answer_events = {
    .taken = on_taken, .taken_original = on_taken_original, .failed = on_unanswered};

/* ---- Begin and end ---- */

/* The sockets of the test are none of the loop's: somebody must look at them. */
static void on_tick(uv_timer_t *timer)
{
  (void)timer;
}

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void on_link_state(struct world *world)
{
  (void)world;
  tunnels_way_changed(tunnels);
}

static void on_link_renewed(struct world *world)
{
  (void)world;
  tunnels_renew(tunnels);
}

static void open_target(void)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  char text[64];
  const char *why;

  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
  ck_assert_int_eq(listen(listener, SOMAXCONN), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
  snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(at.sin_port));
  ck_assert_int_eq(address_parse_target(text, &target, &why), 0);
  stream_target = &target;
}

void close_target(void)
{
  close(listener);
  listener = -1;
}

void setup(void)
{
  const struct pump_limits limits = {.window = LIMIT, .budget = 8 << 20};

  opened = closed = failed = detached = resumed = 0;
  cut_at_once = false;
  opening_begins = opening_ends = NULL;
  sentence[0] = why_detached[0] = '\0';
  options = (struct tunnels_options){.dial_ms = 20000, .hold_ms = 600000};
  world_open(&w);
  streams_begin(&w);
  open_target();
  ck_assert_int_eq(uv_timer_init(&w.loop, &tick), 0);
  uv_timer_start(&tick, on_tick, 2, 2);
  ck_assert_int_eq(pump_set_open(&pumps, rpc_queue_home(w.queue), &w.loop, &limits), 0);
}

void begin(void)
{
  world_link(&w, NULL);
  link_host_init(&host, w.link, pumps);
  ck_assert_int_eq(tunnels_open(&tunnels, w.lookups, &host.host, pumps, &options, &events, NULL), 0);
  ck_assert_int_eq(parked_open(&parked, &w.loop, &host.host, on_taken, NULL), 0);
  ck_assert_int_eq(answers_open(&answers, &w.loop, &host.host, &answer_events, NULL), 0);
  w.on_state = on_link_state;
  w.on_renewed = on_link_renewed;
}

void begin_connected(void)
{
  begin();
  WORLD_UNTIL(&w, w.connects == 1);
}

void teardown(void)
{
  w.on_state = w.on_renewed = NULL;
  streams_oblige();
  gone = false;
  parked_close(parked, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  gone = false;
  answers_close(answers, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  gone = false;
  tunnels_close(tunnels, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  ck_assert_int_eq(opened, closed);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  uv_close((uv_handle_t *)&tick, NULL);
  world_close(&w);
  close(listener);
}

/* ---- The application's, or the target's, end ---- */

ssize_t peek(int fd)
{
  char byte;
  ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

  return n < 0 ? -errno : n;
}

void expect(int fd, const char *text)
{
  char got[256];
  size_t size = 0;

  while (size < strlen(text)) {
    WORLD_UNTIL(&w, peek(fd) != -EAGAIN);
    ssize_t n = recv(fd, got + size, strlen(text) - size, MSG_DONTWAIT);
    ck_assert_int_gt(n, 0);
    size += (size_t)n;
  }
  ck_assert_mem_eq(got, text, size);
}

void expect_end(int fd)
{
  WORLD_UNTIL(&w, peek(fd) != -EAGAIN);
  ck_assert_int_eq(peek(fd), 0);
}

void expect_reset(int fd)
{
  ssize_t n;

  WORLD_UNTIL(&w, (n = peek(fd)) != -EAGAIN);
  ck_assert_int_eq(n, -ECONNRESET);
  close(fd);
}

void put(int fd, const char *text)
{
  ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

bool target_came(int *fd)
{
  *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  return *fd >= 0;
}

int accept_target(void)
{
  int fd;

  WORLD_UNTIL(&w, target_came(&fd));
  return fd;
}

void expect_no_target(void)
{
  int fd;

  world_settle(&w);
  ck_assert(!target_came(&fd));
}

int forward(const char *service)
{
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), application, accepted;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;

  ck_assert_int_eq(bind(server, (struct sockaddr *)&at, sizeof at), 0);
  ck_assert_int_eq(listen(server, 1), 0);
  ck_assert_int_eq(getsockname(server, (struct sockaddr *)&at, &size), 0);
  application = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_eq(connect(application, (struct sockaddr *)&at, sizeof at), 0);
  accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  ck_assert_int_ge(accepted, 0);
  close(server);
  tunnels_forward(tunnels, service, accepted, "127.0.0.1:1", NULL);
  return application;
}

/* ---- The router's, and the other side's, end ---- */

struct stream *stream_at(int i)
{
  WORLD_UNTIL(&w, streams.count > i && streams.all[i].headers + streams.all[i].original > 0);
  return &streams.all[i];
}

void answer(struct stream *s, uint64_t received)
{
  const struct header h = stream_answer(s, received);

  stream_meet(s, false);
  stream_say_header(&w, s, &h);
}

bool state_is(const char *state)
{
  return strncmp(tunnel_info(last).state, state, strlen(state)) == 0;
}

void lose(struct stream *s)
{
  stream_finish(s, RPC_UNAVAILABLE, "lost");
}

int open_forward(struct stream **out)
{
  int before = streams.count;
  int fd = forward("web");

  *out = stream_at(before);
  answer(*out, 0);
  WORLD_UNTIL(&w, state_is("open"));
  return fd;
}

struct stream *arrive(const struct header *h)
{
  int before = streams.count;

  answers_start(answers, "web", "a-token");
  struct stream *s = stream_at(before);
  stream_meet(s, false);
  stream_say_header(&w, s, h);
  return s;
}

struct header attachment(uint64_t epoch, uint64_t received)
{
  struct header h = stream_dial("", connection);

  h.epoch = epoch;
  h.established = h.has_attach = true;
  memcpy(h.attach, link_member(w.link), sizeof h.attach);
  h.received = received;
  return h;
}

int open_service(struct stream **out)
{
  const struct header h = stream_dial("web", connection);

  *out = arrive(&h);
  int fd = accept_target();
  WORLD_UNTIL(&w, (*out)->headers == 2 && state_is("open"));
  return fd;
}

bool is(const struct stream *s, const char *text)
{
  return s->size == strlen(text) && memcmp(s->data, text, s->size) == 0;
}

void no_secret(void)
{
  ck_assert_ptr_null(strstr(sentence, "secret"));
  ck_assert_ptr_null(strstr(why_detached, "secret"));
}

TCase *add_case(Suite *suite, const char *name)
{
  TCase *t = tcase_create(name);

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  suite_add_tcase(suite, t);
  return t;
}
