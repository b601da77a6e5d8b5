/* Services against a router that registers, refuses, says nothing, goes away and comes back. */
#include "fixture_daemon_world.h"

#include "carry/net/address.h"
#include "daemon/names/services.h"

#include "runner.h"

static struct world w;
static struct services *services;
static int changes, tokens, lefts, withdrawals, refusals, last_refusal;
static bool services_gone;
static char last_token[64], last_target[ADDRESS_TEXT_MAX];

static void changed(struct service *s, enum service_state before, const char *why, void *arg)
{
  (void)why;
  (void)arg;
  ck_assert_int_ne(service_state(s), before);
  changes++;
}

static void refused(struct service *s, int error, const char *why, void *arg)
{
  (void)s;
  (void)arg;
  ck_assert_str_ne(why, "");
  refusals++;
  last_refusal = error;
}

static void token(struct service *s, const char *text, void *arg)
{
  (void)arg;
  tokens++;
  snprintf(last_token, sizeof last_token, "%s", text);
  address_format(service_target(s), last_target);
}

static void left(const char *name, void *arg)
{
  (void)name;
  (void)arg;
  lefts++;
}

static void withdrawn(struct service *s, void *arg)
{
  (void)arg;
  ck_assert_ptr_null(services_find(services, service_name(s)));
  withdrawals++;
}

static const struct services_events events = {
    .changed = changed, .refused = refused, .token = token, .left = left, .withdrawn = withdrawn};

static void link_state(struct world *world)
{
  (void)world;
  if (services != NULL)
    services_link_changed(services);
}

static void name_down(struct world *world, const char *name)
{
  (void)world;
  services_name_free(services, name);
}

static void setup(void)
{
  changes = tokens = lefts = withdrawals = refusals = last_refusal = 0;
  services_gone = false;
  world_open(&w);
  w.on_state = link_state;
  w.on_down = name_down;
  world_link(&w, NULL);
  ck_assert_int_eq(services_open(&services, &w.loop, w.link, &events, NULL), 0);
}

static void setup_connected(void)
{
  setup();
  WORLD_UNTIL(&w, w.connects == 1);
}

static void closed(void *arg)
{
  (void)arg;
  services_gone = true;
}

static void close_services(void)
{
  struct services *ss = services;

  services_close(ss, closed, NULL);
  ck_assert(!services_gone);
  WORLD_UNTIL(&w, services_gone);
  services = NULL;
}

static void teardown(void)
{
  if (services != NULL)
    close_services();
  world_close(&w);
}

struct verdict {
  int calls, error;
  struct service_wait *wait;
  bool withdraw; /* the service, inside the verdict */
};

static void judged(int error, const char *why, void *arg)
{
  struct verdict *v = arg;
  struct service *s = services_find(services, "web");

  ck_assert_ptr_nonnull(why);
  v->calls++;
  v->error = error;
  if (v->withdraw && s != NULL)
    services_withdraw(s);
}

static struct service *declare(const char *name)
{
  struct service *s;
  const char *why;

  ck_assert_int_eq(services_declare(services, name, &s, &why), 0);
  ck_assert_int_eq(service_state(s), SERVICE_PENDING);
  ck_assert_ptr_null(service_target(s));
  return s;
}

static int point_at(struct service *s, const char *target, struct verdict *v)
{
  struct address address;
  const char *why;

  ck_assert_int_eq(address_parse_target(target, &address, &why), 0);
  return service_set_target(s, &address, judged, v, &v->wait);
}

static const char *target_of(const struct service *s)
{
  static char text[ADDRESS_TEXT_MAX];

  return service_target(s) == NULL ? "" : address_format(service_target(s), text);
}

static struct service *online(const char *name)
{
  struct verdict v = {0};
  struct service *s = declare(name);

  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  size_t before = services_online(services);
  ck_assert_int_eq(v.calls, 0);
  ck_assert_int_eq(service_state(s), SERVICE_REGISTERING);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, 0);
  ck_assert_int_eq(service_state(s), SERVICE_ONLINE);
  ck_assert_uint_eq(services_online(services), before + 1);
  return s;
}

START_TEST(names_are_checked)
{
  struct service *s;
  const char *why;

  ck_assert_int_eq(services_declare(services, "No", &s, &why), -EINVAL);
  ck_assert_int_eq(services_declare(services, "", &s, &why), -EINVAL);
  ck_assert_int_eq(
      services_declare(services, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &s, &why),
      -ENAMETOOLONG);
  declare("web");
  ck_assert_int_eq(services_declare(services, "web", &s, &why), -EEXIST);
  ck_assert_uint_eq(services_count(services), 1);
}
END_TEST

START_TEST(there_is_a_limit)
{
  struct service *s;
  const char *why;
  char name[16];
  size_t seen = 0;

  for (int i = 0; i < SERVICES_MAX; i++) {
    snprintf(name, sizeof name, "s%d", i);
    declare(name);
  }
  ck_assert_int_eq(services_declare(services, "more", &s, &why), -ENOSPC);
  for (s = services_next(services, NULL); s != NULL; s = services_next(services, s))
    seen++;
  ck_assert_uint_eq(seen, SERVICES_MAX);
  services_withdraw(services_find(services, "s7"));
  declare("more");
}
END_TEST

START_TEST(registers_and_passes_tokens_on)
{
  struct service *s = online("web");
  struct verdict v = {0};
  struct fake_call *call = fake_find(&w, false, "web");

  fake_token(call, "t1");
  WORLD_UNTIL(&w, tokens == 1);
  ck_assert_str_eq(last_token, "t1");
  ck_assert_str_eq(last_target, "localhost:80");
  ck_assert_int_eq(point_at(s, "localhost:81", &v), 0);
  fake_token(call, "t2");
  WORLD_UNTIL(&w, tokens == 2);
  ck_assert_str_eq(last_target, "localhost:81");
  ck_assert_int_eq(w.creates, 1);
  ck_assert_int_eq(v.calls, 0);
}
END_TEST

START_TEST(withdrawing_ends_the_registration)
{
  struct service *s = online("web");

  services_withdraw(s);
  ck_assert_int_eq(withdrawals, 1);
  ck_assert_int_eq(lefts, 1);
  ck_assert_uint_eq(services_online(services), 0);
  WORLD_UNTIL(&w, fake_find(&w, false, "web") == NULL);
}
END_TEST

START_TEST(clearing_the_target_leads_back_to_pending)
{
  struct service *s = online("web");
  struct verdict v = {0};

  service_remove_target(s);
  ck_assert_int_eq(service_state(s), SERVICE_PENDING);
  ck_assert_uint_eq(services_online(services), 0);
  ck_assert_str_eq(target_of(s), "");
  ck_assert(service_target_removed(s));
  WORLD_UNTIL(&w, fake_find(&w, false, "web") == NULL);
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  ck_assert(!service_target_removed(s));
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, 0);
}
END_TEST

START_TEST(an_empty_target_can_be_removed_and_made)
{
  struct service *s = declare("web");

  ck_assert(!service_target_removed(s));
  service_remove_target(s);
  ck_assert(service_target_removed(s));
  service_make_target(s);
  ck_assert(!service_target_removed(s));
  ck_assert_int_eq(service_state(s), SERVICE_PENDING);
}
END_TEST

START_TEST(a_taken_name_is_refused_and_changes_nothing)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_status = RPC_ALREADY_EXISTS;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, -EEXIST);
  ck_assert_int_eq(service_state(s), SERVICE_TAKEN);
  ck_assert_str_eq(target_of(s), "");
  ck_assert_int_eq(refusals, 0);
  services_name_free(services, "web");
  ck_assert_int_eq(service_state(s), SERVICE_PENDING);
}
END_TEST

START_TEST(a_refusal_has_its_errno)
{
  static const struct {
    enum rpc_status status;
    int error;
  } cases[] = {{RPC_PERMISSION_DENIED, -EACCES},
               {RPC_UNAUTHENTICATED, -EACCES},
               {RPC_RESOURCE_EXHAUSTED, -ENOSPC},
               {RPC_INVALID_ARGUMENT, -EINVAL}};
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_status = cases[_i].status;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, cases[_i].error);
  ck_assert_int_eq(service_state(s), SERVICE_PENDING);
}
END_TEST

START_TEST(the_service_may_go_inside_its_verdict)
{
  struct verdict v = {.withdraw = true}, second = {0};
  struct service *s = declare("web");

  w.router.create_status = RPC_ALREADY_EXISTS;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  ck_assert_int_eq(point_at(s, "localhost:81", &second), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(second.calls, 1);
  ck_assert_int_eq(second.error, -ENOENT);
  ck_assert_ptr_null(services_find(services, "web"));
}
END_TEST

START_TEST(an_interrupted_wait_keeps_the_declaration)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, w.creates == 1);
  service_wait_cancel(v.wait, -EINTR);
  ck_assert_int_eq(v.calls, 0);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, -EINTR);
  ck_assert_int_eq(service_state(s), SERVICE_REGISTERING);
  ck_assert_str_eq(target_of(s), "localhost:80");
  fake_verdict(fake_find(&w, false, "web"));
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
}
END_TEST

START_TEST(a_router_without_a_verdict_times_out)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, -ETIMEDOUT);
  ck_assert_int_eq(service_state(s), SERVICE_REGISTERING);
}
END_TEST

START_TEST(withdrawing_answers_who_waits)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  services_withdraw(s);
  ck_assert_int_eq(v.calls, 1);
  ck_assert_int_eq(v.error, -ENOENT);
}
END_TEST

START_TEST(closing_answers_who_waits)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  close_services();
  ck_assert_int_eq(v.calls, 1);
  ck_assert_int_eq(v.error, -ECANCELED);
}
END_TEST

START_TEST(a_lost_router_is_come_back_to)
{
  struct service *s = online("web");

  world_router_stop(&w);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_OFFLINE);
  ck_assert_uint_eq(services_online(services), 0);
  ck_assert_str_eq(target_of(s), "localhost:80");
  world_router_start(&w);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
  ck_assert_int_eq(w.creates, 2);
}
END_TEST

START_TEST(who_waits_when_the_router_is_lost_is_accepted)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, w.creates == 1);
  world_router_stop(&w);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, 0);
  ck_assert_int_eq(service_state(s), SERVICE_OFFLINE);
}
END_TEST

START_TEST(declared_before_there_is_a_router)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  ck_assert_int_eq(point_at(s, "localhost:80", &v), 0);
  ck_assert_int_eq(service_state(s), SERVICE_OFFLINE);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
  ck_assert_int_eq(v.calls, 0);
}
END_TEST

START_TEST(a_name_found_taken_later_is_told_and_tried_again)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_status = RPC_ALREADY_EXISTS;
  w.router.names[w.router.name_count++] = "web";
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 0);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_TAKEN);
  ck_assert_int_eq(refusals, 1);
  ck_assert_int_eq(last_refusal, -EEXIST);
  ck_assert_str_eq(target_of(s), "localhost:80");
  w.router.create_status = RPC_OK;
  fake_news(&w, NULL, "web", false);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
  ck_assert_int_eq(refusals, 1);
}
END_TEST

START_TEST(a_stream_that_ends_is_made_again)
{
  struct service *s = online("web");

  rpc_call_finish(fake_find(&w, false, "web")->call, RPC_UNAVAILABLE, "as told");
  WORLD_UNTIL(&w, service_state(s) == SERVICE_OFFLINE);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
  ck_assert_int_eq(w.losses, 0);
}
END_TEST

/* ---- Make before break. ---- */

static void link_renewed(struct world *world)
{
  (void)world;
  services_link_renewed(services);
}

static void link_superseded_now(struct world *world)
{
  (void)world;
  services_superseded(services);
}

static void setup_renewable(void)
{
  setup_connected();
  w.on_renewed = link_renewed;
  w.on_superseded = link_superseded_now;
}

static int count_streams(const char *name)
{
  const struct fake_call *f;
  int count = 0;

  DL_FOREACH(w.calls, f)
  {
    count += f->create && strcmp(f->name, name) == 0;
  }
  return count;
}

static struct fake_call *last_stream(const char *name)
{
  struct fake_call *f, *last = NULL;

  DL_FOREACH(w.calls, f)
  {
    if (f->create && strcmp(f->name, name) == 0)
      last = f;
  }
  ck_assert_ptr_nonnull(last);
  return last;
}

START_TEST(is_registered_anew_before_the_older_goes)
{
  struct service *s = online("web");
  struct fake_call *former = fake_find(&w, false, "web");
  int before = changes;

  w.router.create_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.creates == 2);
  WORLD_UNTIL(&w, fake_count_watches(&w) == 1);
  ck_assert_int_eq(count_streams("web"), 2);
  fake_token(former, "older");
  WORLD_UNTIL(&w, tokens == 1);
  fake_verdict(last_stream("web"));
  WORLD_UNTIL(&w, count_streams("web") == 1);
  ck_assert_ptr_ne(fake_find(&w, false, "web"), former);
  fake_token(fake_find(&w, false, "web"), "newer");
  WORLD_UNTIL(&w, tokens == 2);
  ck_assert_int_eq(service_state(s), SERVICE_ONLINE);
  ck_assert_int_eq(changes, before);
  ck_assert_int_eq(lefts, 0);
  services_withdraw(s);
  WORLD_UNTIL(&w, count_streams("web") == 0);
}
END_TEST

START_TEST(the_older_may_be_ended_first)
{
  struct service *s = online("web");
  int before = changes;

  w.router.replaces = true;
  for (int times = 1; times <= 3; times++) {
    link_renew(w.link);
    WORLD_UNTIL(&w, w.renewals == times && w.creates == 1 + times && count_streams("web") == 1);
  }
  fake_token(fake_find(&w, false, "web"), "t");
  WORLD_UNTIL(&w, tokens == 1);
  ck_assert_int_eq(service_state(s), SERVICE_ONLINE);
  ck_assert_int_eq(changes, before);
}
END_TEST

START_TEST(a_renewal_that_fails_is_tried_again)
{
  struct service *s = online("web");
  int before = changes;

  w.router.create_status = RPC_UNAVAILABLE;
  w.router.refuse_creates = 2;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.creates == 4);
  WORLD_UNTIL(&w, count_streams("web") == 1);
  ck_assert_int_eq(service_state(s), SERVICE_ONLINE);
  ck_assert_int_eq(changes, before);
}
END_TEST

START_TEST(a_renewal_may_lose_the_name)
{
  struct service *s = online("web");

  w.router.create_status = RPC_ALREADY_EXISTS;
  link_renew(w.link);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_TAKEN);
  WORLD_UNTIL(&w, count_streams("web") == 0);
  ck_assert_int_eq(refusals, 1);
  ck_assert_str_eq(target_of(s), "localhost:80");
  w.router.create_status = RPC_OK;
  link_renew(w.link);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
}
END_TEST

START_TEST(a_registration_under_way_is_renewed_too)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, w.creates == 1);
  link_renew(w.link);
  WORLD_UNTIL(&w, w.creates == 2);
  /* The older is not the verdict any more. */
  rpc_call_finish(fake_find(&w, false, "web")->call, RPC_ABORTED, "taken over");
  WORLD_UNTIL(&w, count_streams("web") == 1);
  world_settle(&w);
  ck_assert_int_eq(v.calls, 0);
  fake_verdict(fake_find(&w, false, "web"));
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, 0);
  ck_assert_int_eq(service_state(s), SERVICE_ONLINE);
}
END_TEST

START_TEST(renewals_overtake_each_other)
{
  struct service *s = online("web");

  w.router.create_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.creates == 2);
  link_renew(w.link);
  WORLD_UNTIL(&w, w.creates == 3 && count_streams("web") == 2);
  if (_i == 0)
    services_withdraw(s);
  else
    service_remove_target(s);
  WORLD_UNTIL(&w, count_streams("web") == 0);
}
END_TEST

START_TEST(the_router_is_lost_while_it_is_renewed)
{
  struct service *s = online("web");

  w.router.create_mute = true;
  link_renew(w.link);
  WORLD_UNTIL(&w, w.creates == 2);
  world_router_stop(&w);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_OFFLINE);
  w.router.create_mute = false;
  world_router_start(&w);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_ONLINE);
}
END_TEST

START_TEST(who_is_superseded_registers_nothing)
{
  struct service *s = online("web"), *other = declare("other");
  struct verdict v = {0}, waiting = {0};

  w.router.create_mute = true;
  ck_assert_int_eq(point_at(declare("third"), "localhost:80", &waiting), 1);
  WORLD_UNTIL(&w, w.creates == 2);
  fake_watch_tell(fake_find(&w, true, NULL), NULL, 0, true);
  WORLD_UNTIL(&w, service_state(s) == SERVICE_OFFLINE);
  ck_assert_int_eq(waiting.calls, 1);
  WORLD_UNTIL(&w, count_streams("web") == 0);
  ck_assert_int_eq(point_at(s, "localhost:81", &v), 0);
  ck_assert_int_eq(point_at(other, "localhost:81", &v), 0);
  ck_assert_int_eq(service_state(other), SERVICE_OFFLINE);
  services_name_free(services, "web");
  link_renew(w.link);
  WORLD_UNTIL(&w, w.renewals == 1);
  world_router_stop(&w);
  world_router_start(&w);
  WORLD_UNTIL(&w, w.connects == 2);
  world_settle(&w);
  ck_assert_int_eq(w.creates, 2);
  ck_assert_int_eq(service_state(s), SERVICE_OFFLINE);
  ck_assert_uint_eq(services_online(services), 0);
}
END_TEST

START_TEST(a_name_that_is_taken_is_no_matter_of_time)
{
  struct service *s = online("web");
  struct verdict v = {0};

  services_withdraw(s);
  s = declare("web");
  w.router.create_status = RPC_ALREADY_EXISTS;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, -EEXIST);
  ck_assert_int_eq(w.creates, 2);
}
END_TEST

static void setup_first_version(void)
{
  setup();
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  WORLD_UNTIL(&w, w.connects == 1);
  ck_assert(link_original(w.link));
}

START_TEST(the_first_version_is_asked_for_its_list)
{
  struct service *s = online("web");

  fake_token(fake_find(&w, false, "web"), "t");
  WORLD_UNTIL(&w, tokens == 1);
  services_withdraw(s);
}
END_TEST

START_TEST(its_former_registration_of_ours_is_no_verdict)
{
  struct service *s = online("web");
  struct verdict v = {0};

  services_withdraw(s);
  s = declare("web");
  w.router.create_status = RPC_ALREADY_EXISTS;
  w.router.refuse_creates = 2;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, 0);
  ck_assert_int_eq(w.creates, 4);
}
END_TEST

START_TEST(the_first_version_refuses)
{
  struct verdict v = {0};
  struct service *s = declare("web");

  w.router.names[w.router.name_count++] = "web";
  w.router.create_status = RPC_ALREADY_EXISTS;
  ck_assert_int_eq(point_at(s, "localhost:80", &v), 1);
  WORLD_UNTIL(&w, v.calls == 1);
  ck_assert_int_eq(v.error, -EEXIST);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon services");
  TCase *t = tcase_create("connected");
  TCase *renewed = tcase_create("renewed");
  TCase *early = tcase_create("not connected yet");
  TCase *first = tcase_create("first version");

  tcase_add_checked_fixture(t, setup_connected, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, registers_and_passes_tokens_on);
  tcase_add_test(t, withdrawing_ends_the_registration);
  tcase_add_test(t, clearing_the_target_leads_back_to_pending);
  tcase_add_test(t, an_empty_target_can_be_removed_and_made);
  tcase_add_test(t, a_taken_name_is_refused_and_changes_nothing);
  tcase_add_loop_test(t, a_refusal_has_its_errno, 0, 4);
  tcase_add_test(t, the_service_may_go_inside_its_verdict);
  tcase_add_test(t, an_interrupted_wait_keeps_the_declaration);
  tcase_add_test(t, a_router_without_a_verdict_times_out);
  tcase_add_test(t, withdrawing_answers_who_waits);
  tcase_add_test(t, closing_answers_who_waits);
  tcase_add_test(t, a_lost_router_is_come_back_to);
  tcase_add_test(t, who_waits_when_the_router_is_lost_is_accepted);
  tcase_add_test(t, a_stream_that_ends_is_made_again);
  tcase_add_test(t, a_name_that_is_taken_is_no_matter_of_time);
  tcase_add_checked_fixture(renewed, setup_renewable, teardown);
  tcase_set_timeout(renewed, 60);
  tcase_add_test(renewed, is_registered_anew_before_the_older_goes);
  tcase_add_test(renewed, the_older_may_be_ended_first);
  tcase_add_test(renewed, a_renewal_that_fails_is_tried_again);
  tcase_add_test(renewed, a_renewal_may_lose_the_name);
  tcase_add_test(renewed, a_registration_under_way_is_renewed_too);
  tcase_add_loop_test(renewed, renewals_overtake_each_other, 0, 2);
  tcase_add_test(renewed, the_router_is_lost_while_it_is_renewed);
  tcase_add_test(renewed, who_is_superseded_registers_nothing);
  tcase_add_checked_fixture(early, setup, teardown);
  tcase_set_timeout(early, 60);
  tcase_add_test(early, names_are_checked);
  tcase_add_test(early, there_is_a_limit);
  tcase_add_test(early, declared_before_there_is_a_router);
  tcase_add_test(early, a_name_found_taken_later_is_told_and_tried_again);
  tcase_add_checked_fixture(first, setup_first_version, teardown);
  tcase_set_timeout(first, 60);
  tcase_add_test(first, the_first_version_is_asked_for_its_list);
  tcase_add_test(first, the_first_version_refuses);
  tcase_add_test(first, its_former_registration_of_ours_is_no_verdict);
  suite_add_tcase(suite, t);
  suite_add_tcase(suite, renewed);
  suite_add_tcase(suite, early);
  suite_add_tcase(suite, first);
  return suite;
}
