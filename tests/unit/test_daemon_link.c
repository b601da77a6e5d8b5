/* The link to the router: connecting, losing, coming back, and what it says about it. */
#include "fixture_daemon_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carry/link/trouble.h"

#include "runner.h"

static struct world w;

static void setup(void)
{
  world_open(&w);
}

static void teardown(void)
{
  world_close(&w);
}

START_TEST(connects_and_tells_the_catalogue)
{
  w.router.names[w.router.name_count++] = "one";
  w.router.names[w.router.name_count++] = "two";
  world_link(&w, NULL);
  ck_assert(!link_connected(w.link));
  ck_assert_str_ne(link_trouble(w.link), "");
  ck_assert_ptr_nonnull(link_channel(w.link));
  WORLD_UNTIL(&w, world_has(&w, "two"));
  ck_assert(world_has(&w, "one") && link_connected(w.link) && !link_original(w.link));
  ck_assert_str_eq(link_trouble(w.link), "");
  fake_news(&w, "three", "one", false);
  WORLD_UNTIL(&w, world_has(&w, "three"));
  ck_assert(!world_has(&w, "one") && world_has(&w, "two"));
  ck_assert_int_eq(w.states, 1);
  ck_assert_uint_eq(link_connects(w.link), 1);
}
END_TEST

START_TEST(is_lost_and_comes_back)
{
  w.router.names[w.router.name_count++] = "stays";
  w.router.names[w.router.name_count++] = "goes";
  world_link(&w, NULL);
  WORLD_UNTIL(&w, world_has(&w, "goes"));
  world_router_stop(&w);
  WORLD_UNTIL(&w, !link_connected(w.link));
  ck_assert_ptr_nonnull(strstr(w.why, "went away"));
  WORLD_UNTIL(&w, strstr(link_trouble(w.link), "refused") != NULL);
  ck_assert(world_has(&w, "goes"));
  w.router.name_count = 1;
  w.router.names[w.router.name_count++] = "comes";
  world_router_start(&w);
  WORLD_UNTIL(&w, link_connected(w.link) && !world_has(&w, "goes"));
  ck_assert(world_has(&w, "stays") && world_has(&w, "comes"));
  ck_assert_uint_eq(link_connects(w.link), 2);
}
END_TEST

START_TEST(waits_for_a_router_that_is_not_there_yet)
{
  world_router_stop(&w);
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "is the router running"));
  world_router_start(&w);
  WORLD_UNTIL(&w, link_connected(w.link));
}
END_TEST

START_TEST(silence_is_noticed)
{
  w.router.heartbeat_ms = 50;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "nothing was heard"));
  ck_assert(link_went_silent(w.link));
  WORLD_UNTIL(&w, w.connects == 2);
}
END_TEST

/* ---- Slow ways ---- */

enum { RELAYED_MAX = 8 };

static struct relay {
  int listener, port, delay_ms;
  pthread_t thread;
  struct way {
    int from, to;
    pthread_t thread;
  } ways[2 * RELAYED_MAX];
  int count;
} relay;

/* What comes goes on after a while. */
static void *carry(void *arg)
{
  const struct way *way = arg;
  char bytes[4096];
  ssize_t n;

  while ((n = recv(way->from, bytes, sizeof bytes, 0)) > 0) {
    usleep((useconds_t)relay.delay_ms * 1000);
    if (send(way->to, bytes, (size_t)n, MSG_NOSIGNAL) != n)
      break;
  }
  shutdown(way->to, SHUT_RDWR);
  shutdown(way->from, SHUT_RDWR);
  return NULL;
}

static int loopback_socket(struct sockaddr_in *at, int port)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  *at = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  return fd;
}

static int listen_on_loopback(int *port)
{
  struct sockaddr_in at;
  socklen_t size = sizeof at;
  int fd = loopback_socket(&at, 0);

  ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
  ck_assert_int_eq(listen(fd, 8), 0);
  ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
  *port = ntohs(at.sin_port);
  return fd;
}

/* Connections are carried on to the router. */
static void *relay_run(void *arg)
{
  struct sockaddr_in at;
  int near;

  (void)arg;
  while (relay.count < 2 * RELAYED_MAX && (near = accept(relay.listener, NULL, NULL)) >= 0) {
    struct way *ways = &relay.ways[relay.count];
    int far = loopback_socket(&at, relay.port);

    ck_assert_int_eq(connect(far, (struct sockaddr *)&at, sizeof at), 0);
    ways[0] = (struct way){.from = near, .to = far};
    ways[1] = (struct way){.from = far, .to = near};
    pthread_create(&ways[0].thread, NULL, carry, &ways[0]);
    pthread_create(&ways[1].thread, NULL, carry, &ways[1]);
    relay.count += 2;
  }
  return NULL;
}

static void relay_end(void)
{
  shutdown(relay.listener, SHUT_RDWR);
  pthread_join(relay.thread, NULL);
  close(relay.listener);
  for (int i = 0; i < relay.count; i++)
    shutdown(relay.ways[i].from, SHUT_RDWR);
  for (int i = 0; i < relay.count; i++)
    pthread_join(relay.ways[i].thread, NULL);
  for (int i = 0; i < relay.count; i++)
    close(relay.ways[i].from);
}

/* Each handshake takes longer than an attempt may stand still, and there are several: it is not begun anew. */
START_TEST(an_attempt_that_comes_on_is_not_given_up)
{
  int port;

  w.router.challenges = true;
  w.answer_ms = 1500;
  relay = (struct relay){.port = w.port, .delay_ms = 500};
  relay.listener = listen_on_loopback(&port);
  ck_assert_int_eq(pthread_create(&relay.thread, NULL, relay_run, NULL), 0);
  w.port = port;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects + w.losses > 0 || w.states > 0);
  ck_assert_msg(w.connects == 1, "%s", w.why);
  relay_end();
}
END_TEST

/* The kernel answers, and nobody else. */
START_TEST(an_attempt_that_stands_still_is_given_up)
{
  int port, fd = listen_on_loopback(&port);

  w.answer_ms = 50;
  w.port = port;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, strstr(link_trouble(w.link), "does not answer") != NULL);
  close(fd);
}
END_TEST

START_TEST(heartbeats_keep_it)
{
  w.router.heartbeat_ms = 400;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  for (int i = 0; i < 8; i++) {
    world_idle(&w, 200);
    fake_news(&w, NULL, NULL, false);
  }
  ck_assert_int_eq(w.losses, 0);
}
END_TEST

START_TEST(draining_is_told_once)
{
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  w.router.drains = true; /* so that nothing takes the place of its watch */
  fake_news(&w, NULL, NULL, true);
  WORLD_UNTIL(&w, w.drains == 1);
  fake_news(&w, "x", NULL, true);
  WORLD_UNTIL(&w, world_has(&w, "x"));
  ck_assert_int_eq(w.drains, 1);
}
END_TEST

START_TEST(a_wrong_key_is_told)
{
  w.router.watch_status = RPC_UNAUTHENTICATED;
  world_link(&w, "secret-key");
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "refuses the key"));
  ck_assert_ptr_null(strstr(w.why, "secret-key"));
  WORLD_UNTIL(&w, w.watches >= 2);
  ck_assert_int_eq(w.losses, 1);
  w.router.watch_status = RPC_OK;
  WORLD_UNTIL(&w, link_connected(w.link));
}
END_TEST

START_TEST(a_router_of_the_first_version_is_polled)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  w.router.names[w.router.name_count++] = "one";
  world_link(&w, NULL);
  WORLD_UNTIL(&w, world_has(&w, "one"));
  ck_assert(link_connected(w.link) && link_original(w.link));
  w.router.names[0] = "two";
  WORLD_UNTIL(&w, world_has(&w, "two"));
  ck_assert(!world_has(&w, "one"));
  w.router.list_status = RPC_UNAVAILABLE;
  WORLD_UNTIL(&w, w.losses == 1);
  w.router.list_status = RPC_OK;
  WORLD_UNTIL(&w, w.connects == 2);
}
END_TEST

START_TEST(a_router_of_ours_in_its_place_is_noticed)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert(link_original(w.link));
  w.router.watch_status = RPC_OK;
  WORLD_UNTIL(&w, w.connects == 2);
  ck_assert(!link_original(w.link));
  ck_assert_int_eq(w.losses, 1);
}
END_TEST

START_TEST(what_is_no_router_is_told)
{
  w.router.watch_status = w.router.list_status = RPC_UNIMPLEMENTED;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert_ptr_nonnull(strstr(w.why, "is not a router"));
}
END_TEST

struct answer {
  int calls;
  enum rpc_status status;
  bool found;
};

static void answered(enum rpc_status status, const char *text, bool found, void *arg)
{
  struct answer *a = arg;

  ck_assert_ptr_nonnull(text);
  a->calls++;
  a->status = status;
  a->found = found;
}

START_TEST(asks)
{
  struct answer found = {0}, missing = {0}, cancelled = {0}, failed = {0};
  struct link_query *query;

  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  w.router.names[w.router.name_count++] = "fresh";
  ck_assert_int_eq(link_ask(&query, w.link, "fresh", 5000, answered, &found), 0);
  ck_assert_int_eq(link_ask(&query, w.link, "missing", 5000, answered, &missing), 0);
  ck_assert_int_eq(link_ask(&query, w.link, "fresh", 5000, answered, &cancelled), 0);
  link_ask_cancel(query);
  ck_assert_int_eq(cancelled.calls, 0);
  WORLD_UNTIL(&w, found.calls + missing.calls + cancelled.calls == 3);
  ck_assert(found.status == RPC_OK && found.found);
  ck_assert(missing.status == RPC_OK && !missing.found);
  ck_assert_int_eq(cancelled.status, RPC_CANCELLED);
  w.router.list_status = RPC_RESOURCE_EXHAUSTED;
  ck_assert_int_eq(link_ask(&query, w.link, "fresh", 5000, answered, &failed), 0);
  WORLD_UNTIL(&w, failed.calls == 1);
  ck_assert_int_eq(failed.status, RPC_RESOURCE_EXHAUSTED);
}
END_TEST

START_TEST(closing_ends_what_is_asked)
{
  struct answer a = {0};
  struct link_query *query;

  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert_int_eq(link_ask(&query, w.link, "x", 5000, answered, &a), 0);
  link_close(w.link, world_link_closed, &w);
  WORLD_UNTIL(&w, w.link_gone);
  ck_assert_int_eq(a.calls, 1);
  w.link = NULL;
}
END_TEST

START_TEST(closes_before_it_began)
{
  world_link(&w, NULL);
}
END_TEST

START_TEST(members_differ)
{
  uint8_t member[LINK_MEMBER_SIZE], key[LINK_MEMBER_KEY_SIZE];

  world_link(&w, NULL);
  memcpy(member, link_member(w.link), sizeof member);
  memcpy(key, link_member_key(w.link), sizeof key);
  link_close(w.link, world_link_closed, &w);
  WORLD_UNTIL(&w, w.link_gone);
  w.link_gone = false;
  own_identity_make(&w.identity);
  world_link(&w, NULL);
  ck_assert_mem_ne(member, link_member(w.link), sizeof member);
  ck_assert_mem_ne(key, link_member_key(w.link), sizeof key);
}
END_TEST

/* ---- Who this is. ---- */

START_TEST(joins_before_it_is_connected)
{
  w.router.challenges = w.router.join_mute = true;
  w.router.names[w.router.name_count++] = "one";
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.joins == 1);
  ck_assert(!link_connected(w.link) && !world_has(&w, "one"));
  fake_join_verdict(fake_joining(&w));
  ck_assert_int_eq(w.joined, 0);
  WORLD_UNTIL(&w, world_has(&w, "one"));
  ck_assert_int_eq(w.joined, 1);
  ck_assert(link_connected(w.link) && !link_superseded(w.link));
  ck_assert_uint_eq(w.instance, w.identity.instance);
  ck_assert(!w.former);
  ck_assert_int_eq(w.states, 1);
}
END_TEST

/* What the watch told before belonged to a former process. */
START_TEST(a_name_that_goes_with_the_join_is_not_told)
{
  static const char *const names[] = {"former", "kept", "other"};

  w.router.challenges = true;
  w.router.takes = names[0];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    w.router.names[w.router.name_count++] = names[i];
  world_link(&w, NULL);
  WORLD_UNTIL(&w, world_has(&w, "kept") && world_has(&w, "other"));
  ck_assert(!world_has(&w, "former"));
  ck_assert_int_eq(w.downs, 0);
}
END_TEST

START_TEST(says_who_it_was)
{
  w.identity.has_former = true;
  w.router.challenges = true;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert(w.former);
  world_router_stop(&w);
  world_router_start(&w);
  WORLD_UNTIL(&w, w.connects == 2);
  ck_assert_int_eq(w.joins, 2);
}
END_TEST

START_TEST(a_router_without_join_will_do)
{
  w.router.challenges = true;
  w.router.join_status = RPC_UNIMPLEMENTED;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert(!link_superseded(w.link) && !link_original(w.link));
  ck_assert_int_eq(w.joined, 0);
}
END_TEST

START_TEST(a_join_that_is_refused_is_told_and_tried_again)
{
  w.router.challenges = true;
  w.router.join_status = RPC_PERMISSION_DENIED;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.joins == 2);
  ck_assert_ptr_nonnull(strstr(link_trouble(w.link), "identity"));
  ck_assert_int_eq(w.losses, 1);
  ck_assert_int_eq(w.joined, 0);
  w.router.join_status = RPC_UNAVAILABLE;
  WORLD_UNTIL(&w, w.losses == 2);
  w.router.join_status = RPC_OK;
  WORLD_UNTIL(&w, link_connected(w.link));
}
END_TEST

START_TEST(an_older_instance_is_superseded)
{
  w.router.challenges = true;
  w.router.join_status = RPC_FAILED_PRECONDITION;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert(link_superseded(w.link));
  ck_assert_int_eq(w.supersessions, 1);
  ck_assert_int_eq(w.losses, 0);
  /* For good: it does not ask another router, either. */
  w.router.join_status = RPC_OK;
  world_router_stop(&w);
  world_router_start(&w);
  WORLD_UNTIL(&w, w.connects == 2);
  ck_assert(link_superseded(w.link));
  ck_assert_int_eq(w.joins, 1);
  ck_assert_int_eq(w.supersessions, 1);
}
END_TEST

START_TEST(is_superseded_later)
{
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  fake_watch_tell(fake_find(&w, true, NULL), NULL, 0, true);
  WORLD_UNTIL(&w, w.supersessions == 1);
  ck_assert(link_connected(w.link));
  fake_news(&w, "x", NULL, false);
  WORLD_UNTIL(&w, world_has(&w, "x"));
  fake_watch_tell(fake_find(&w, true, NULL), NULL, 0, true);
  fake_news(&w, "y", NULL, false);
  WORLD_UNTIL(&w, world_has(&w, "y"));
  ck_assert_int_eq(w.supersessions, 1);
}
END_TEST

START_TEST(who_is_lost_is_told)
{
  static const uint8_t other[LINK_MEMBER_SIZE] = "somebody else";
  struct fake_call *watch;

  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  watch = fake_find(&w, true, NULL);
  fake_watch_tell(watch, link_member(w.link), LINK_MEMBER_SIZE, false);
  fake_watch_tell(watch, other, LINK_MEMBER_SIZE - 1, false);
  fake_watch_tell(watch, other, LINK_MEMBER_SIZE, false);
  WORLD_UNTIL(&w, w.losts == 1);
  ck_assert_mem_eq(w.lost, other, sizeof other);
}
END_TEST

/* ---- Make before break. ---- */

static void connect_joined(void)
{
  w.router.challenges = true;
  w.router.names[w.router.name_count++] = "one";
  world_link(&w, NULL);
  WORLD_UNTIL(&w, world_has(&w, "one"));
}

static void is_renewed(int times)
{
  WORLD_UNTIL(&w, w.renewals == times);
  ck_assert(link_connected(w.link));
  ck_assert_int_eq(w.states, 1);
  /* The one of before goes. */
  WORLD_UNTIL(&w, fake_count_watches(&w) == 1);
  ck_assert_int_eq(w.states, 1);
}

START_TEST(a_drain_is_forestalled)
{
  connect_joined();
  const struct rpc_channel *before = link_channel(w.link);
  fake_news(&w, NULL, NULL, true);
  is_renewed(1);
  ck_assert_int_eq(w.drains, 1);
  ck_assert_ptr_ne(link_channel(w.link), before);
  ck_assert_int_eq(w.joins, 2);
  /* It lives on, and may drain again. */
  fake_news(&w, "two", NULL, false);
  WORLD_UNTIL(&w, world_has(&w, "two"));
  fake_news(&w, NULL, NULL, true);
  is_renewed(2);
  ck_assert_int_eq(w.drains, 2);
}
END_TEST

START_TEST(age_is_forestalled)
{
  w.router.stream_age_ms = 1;
  connect_joined();
  is_renewed(1);
  is_renewed(2);
  ck_assert_int_eq(w.downs + w.missing, 0);
}
END_TEST

START_TEST(the_listing_does_not_flicker)
{
  w.router.names[w.router.name_count++] = "goes";
  connect_joined();
  w.router.names[0] = "comes";
  link_renew(w.link);
  is_renewed(1);
  WORLD_UNTIL(&w, world_has(&w, "comes") && !world_has(&w, "goes"));
  ck_assert(world_has(&w, "one"));
  ck_assert_int_eq(w.downs, 0);
  ck_assert_int_eq(w.missing, 1);
  /* What is gone later is gone. */
  fake_news(&w, NULL, "one", false);
  WORLD_UNTIL(&w, !world_has(&w, "one"));
  ck_assert_int_eq(w.downs, 1);
}
END_TEST

START_TEST(is_tried_again_while_the_first_lives)
{
  connect_joined();
  w.router.join_status = RPC_UNAVAILABLE;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins >= 3);
  fake_news(&w, "two", NULL, false);
  WORLD_UNTIL(&w, world_has(&w, "two"));
  ck_assert_int_eq(w.states, 1);
  w.router.join_status = RPC_OK;
  is_renewed(1);
}
END_TEST

START_TEST(the_second_becomes_the_attempt)
{
  connect_joined();
  w.router.join_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins == 2);
  rpc_call_finish(fake_find(&w, true, NULL)->call, RPC_UNAVAILABLE, "as told");
  WORLD_UNTIL(&w, w.losses == 1);
  ck_assert(!link_connected(w.link));
  fake_join_verdict(fake_joining(&w));
  WORLD_UNTIL(&w, w.connects == 2);
  ck_assert_int_eq(w.renewals, 0);
  ck_assert_int_eq(w.watches, 2);
}
END_TEST

START_TEST(the_first_may_be_ended_by_the_second)
{
  connect_joined();
  w.router.join_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins == 2);
  rpc_call_finish(fake_find(&w, true, NULL)->call, RPC_ABORTED, "replaced");
  WORLD_UNTIL(&w, fake_count_watches(&w) == 1);
  world_settle(&w);
  ck_assert(link_connected(w.link));
  fake_join_verdict(fake_joining(&w));
  is_renewed(1);
}
END_TEST

START_TEST(a_first_that_was_ended_for_nothing_is_lost)
{
  connect_joined();
  w.router.join_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins == 2);
  rpc_call_finish(fake_find(&w, true, NULL)->call, RPC_ABORTED, "replaced");
  WORLD_UNTIL(&w, fake_count_watches(&w) == 1);
  world_settle(&w);
  w.router.join_status = RPC_UNAVAILABLE;
  fake_join_verdict(fake_joining(&w));
  WORLD_UNTIL(&w, w.losses == 1);
  w.router.join_mute = false;
  w.router.join_status = RPC_OK;
  WORLD_UNTIL(&w, w.connects == 2);
  ck_assert_int_eq(w.renewals, 0);
}
END_TEST

START_TEST(a_router_that_drains_is_no_successor)
{
  connect_joined();
  w.router.drains = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.watches >= 4);
  ck_assert_int_eq(w.renewals + w.losses, 0);
  w.router.drains = false;
  is_renewed(1);
}
END_TEST

START_TEST(another_renewal_overtakes_the_first)
{
  connect_joined();
  w.router.join_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins == 2);
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins == 3);
  WORLD_UNTIL(&w, fake_count_watches(&w) == 2);
  w.router.join_mute = false;
  link_renew(w.link);
  is_renewed(1);
}
END_TEST

START_TEST(closes_while_it_is_renewed)
{
  connect_joined();
  w.router.join_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.joins == 2);
}
END_TEST

START_TEST(an_original_is_not_renewed)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
  const struct rpc_channel *before = link_channel(w.link);
  link_renew(w.link);
  ck_assert_ptr_eq(link_channel(w.link), before);
  WORLD_UNTIL(&w, w.lists >= 2);
  ck_assert_int_eq(w.renewals + w.losses, 0);
}
END_TEST

START_TEST(what_has_changed_is_tried_at_once)
{
  world_router_stop(&w);
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.losses == 1);
  world_router_start(&w);
  w.router.watch_mute = true;
  WORLD_UNTIL(&w, w.watches == 1);
  w.router.watch_mute = false;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.connects == 1);
}
END_TEST

static void close_inside(struct world *world)
{
  link_close(world->link, world_link_closed, world);
}

START_TEST(what_may_have_changed_does_not_disturb_an_attempt)
{
  struct fake_call *first;

  w.router.watch_mute = true;
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.watches == 1);
  for (int i = 0; i < 3; i++)
    link_renew_perhaps(w.link);
  first = fake_find(&w, true, NULL);
  first->sending = 1;
  fake_watch_send(&w, first, true, w.router.names, w.router.name_count, NULL, 0, false);
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert_int_eq(w.watches, 1);
  w.router.watch_mute = false;
  link_renew_perhaps(w.link);
  is_renewed(1);
}
END_TEST

START_TEST(may_be_closed_by_who_is_told)
{
  connect_joined();
  if (_i == 0) {
    w.on_renewed = close_inside;
    link_renew(w.link);
  } else {
    w.on_superseded = close_inside;
    w.router.join_status = RPC_FAILED_PRECONDITION;
    link_renew(w.link);
  }
  WORLD_UNTIL(&w, w.link_gone);
  w.link = NULL;
}
END_TEST

static const struct {
  struct trouble_where where;
  enum rpc_status status;
  const char *text, *part;
} troubles[] = {
    {{"r:1", NULL, false, false, false}, RPC_UNAVAILABLE, "x: Connection refused", "nothing listens at r:1"},
    {{"r:1", NULL, false, false, false}, RPC_UNAVAILABLE, "r does not resolve: Try again", "spelling"},
    {{"r:1", NULL, true, false, false}, RPC_UNAVAILABLE, "SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED", "cafile"},
    {{"r:1", NULL, true, false, false}, RPC_UNAVAILABLE, "error: WRONG_VERSION_NUMBER", "insecure"},
    {{"r:1", NULL, false, false, false}, RPC_UNAVAILABLE, "Socket closed", "does it speak TLS"},
    {{"r:1", NULL, true, false, false}, RPC_UNAVAILABLE, "Socket closed", "is this a router"},
    {{"r:1", NULL, true, true, false}, RPC_UNAUTHENTICATED, "no", "refuses the key"},
    {{"r:1", NULL, true, false, false}, RPC_PERMISSION_DENIED, "no", "key=FILE"},
    {{"r:1", NULL, false, false, false}, RPC_DEADLINE_EXCEEDED, "", "does not answer"},
    {{"r:1", NULL, false, false, false}, RPC_UNIMPLEMENTED, "", "not a router"},
    {{"r:1", NULL, false, false, true}, RPC_UNAVAILABLE, "Socket closed", "went away"},
    {{"r:1", "p:2 (from http_proxy)", true, false, false},
     RPC_UNAVAILABLE,
     "last error: UNKNOWN: HTTP proxy returned response code 403",
     "the proxy p:2 (from http_proxy) refuses to connect to r:1 (HTTP 403)"},
    {{"r:1", "p:2 (from http_proxy)", true, false, false},
     RPC_UNAVAILABLE,
     "x: Connection refused",
     "cannot reach the proxy p:2"},
    {{"r:1", "p:2 (from http_proxy)", true, false, false}, RPC_UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED", "cafile"},
    {{"r:1", NULL, false, false, false}, RPC_INTERNAL, "something new %s %n", "something new %s %n"},
};

START_TEST(troubles_say_what_to_do)
{
  char out[TROUBLE_MAX];

  trouble_sentence(&troubles[_i].where, troubles[_i].status, troubles[_i].text, out);
  ck_assert_msg(strstr(out, troubles[_i].part) != NULL, "%s", out);
}
END_TEST

START_TEST(what_is_not_found_is_told)
{
  struct trouble_where where = {.target = "r:1"};
  char out[TROUBLE_MAX];

  ck_assert_str_eq(trouble_not_found(&where, "Connection refused", 1, out),
                   "nothing listens at r:1 (connection refused): is the router running?");
  ck_assert_str_eq(trouble_not_found(&where, "Connection refused (1.2.3.4), No route to host (::2)", 2, out),
                   "cannot reach r:1: Connection refused (1.2.3.4), No route to host (::2)");
  ck_assert_ptr_nonnull(strstr(trouble_not_found(&where, "r does not resolve: no answer in time", 1, out), "spelling"));
  where.proxy = "p:2 (from https_proxy)";
  ck_assert_str_eq(trouble_not_found(&where, "Connection refused", 1, out),
                   "cannot reach the proxy p:2 (from https_proxy): Connection refused");
}
END_TEST

START_TEST(long_troubles_are_cut)
{
  char text[2000], out[TROUBLE_MAX];

  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  trouble_sentence(&(struct trouble_where){.target = text}, RPC_UNAVAILABLE, "Connection refused", out);
  ck_assert_uint_eq(strlen(out), TROUBLE_MAX - 1);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon link");
  TCase *t = tcase_create("with a router");
  TCase *pure = tcase_create("troubles");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, connects_and_tells_the_catalogue);
  tcase_add_test(t, is_lost_and_comes_back);
  tcase_add_test(t, waits_for_a_router_that_is_not_there_yet);
  tcase_add_test(t, silence_is_noticed);
  tcase_add_test(t, an_attempt_that_comes_on_is_not_given_up);
  tcase_add_test(t, an_attempt_that_stands_still_is_given_up);
  tcase_add_test(t, heartbeats_keep_it);
  tcase_add_test(t, draining_is_told_once);
  tcase_add_test(t, a_wrong_key_is_told);
  tcase_add_test(t, a_router_of_the_first_version_is_polled);
  tcase_add_test(t, a_router_of_ours_in_its_place_is_noticed);
  tcase_add_test(t, what_is_no_router_is_told);
  tcase_add_test(t, asks);
  tcase_add_test(t, closing_ends_what_is_asked);
  tcase_add_test(t, closes_before_it_began);
  tcase_add_test(t, members_differ);
  tcase_add_test(t, joins_before_it_is_connected);
  tcase_add_test(t, a_name_that_goes_with_the_join_is_not_told);
  tcase_add_test(t, says_who_it_was);
  tcase_add_test(t, a_router_without_join_will_do);
  tcase_add_test(t, a_join_that_is_refused_is_told_and_tried_again);
  tcase_add_test(t, an_older_instance_is_superseded);
  tcase_add_test(t, is_superseded_later);
  tcase_add_test(t, who_is_lost_is_told);
  tcase_add_test(t, a_drain_is_forestalled);
  tcase_add_test(t, age_is_forestalled);
  tcase_add_test(t, the_listing_does_not_flicker);
  tcase_add_test(t, is_tried_again_while_the_first_lives);
  tcase_add_test(t, the_second_becomes_the_attempt);
  tcase_add_test(t, the_first_may_be_ended_by_the_second);
  tcase_add_test(t, a_first_that_was_ended_for_nothing_is_lost);
  tcase_add_test(t, a_router_that_drains_is_no_successor);
  tcase_add_test(t, another_renewal_overtakes_the_first);
  tcase_add_test(t, closes_while_it_is_renewed);
  tcase_add_test(t, an_original_is_not_renewed);
  tcase_add_test(t, what_has_changed_is_tried_at_once);
  tcase_add_test(t, what_may_have_changed_does_not_disturb_an_attempt);
  tcase_add_loop_test(t, may_be_closed_by_who_is_told, 0, 2);
  tcase_add_loop_test(pure, troubles_say_what_to_do, 0, sizeof troubles / sizeof *troubles);
  tcase_add_test(pure, what_is_not_found_is_told);
  tcase_add_test(pure, long_troubles_are_cut);
  suite_add_tcase(s, t);
  suite_add_tcase(s, pure);
  return s;
}
