/* A real router: what watchers are told, and how it ends. */
#include "fixture_router_clients.h"
#include "runner.h"

enum { NAMES_MAX = 200 };

/* A watcher's view, built as a daemon does. */
struct view {
  struct stream *stream;
  char (*names)[64], (*fresh)[64];
  size_t count, fresh_count;
  bool whole, in_catalogue, draining;
  unsigned messages, restarts, heartbeats;
  size_t largest; /* names in one message */
};

static void names_add(char (*names)[64], size_t *count, const char *name)
{
  for (size_t i = 0; i < *count; i++) {
    if (strcmp(names[i], name) == 0)
      return;
  }
  ck_assert_uint_lt(*count, NAMES_MAX);
  snprintf(names[(*count)++], 64, "%s", name);
}

static void names_remove(char (*names)[64], size_t *count, const char *name)
{
  for (size_t i = 0; i < *count; i++) {
    if (strcmp(names[i], name) == 0) {
      memmove(names[i], names[--*count], 64);
      return;
    }
  }
}

static bool view_has(const struct view *v, const char *name)
{
  for (size_t i = 0; i < v->count; i++) {
    if (strcmp(v->names[i], name) == 0)
      return true;
  }
  return false;
}

/* Has every other of n0 to nLAST, and nothing else. */
static bool view_has_odd(const struct view *v, int last)
{
  char name[16];
  if (v->count != (size_t)last / 2)
    return false;
  for (int i = 1; i < last; i += 2) {
    snprintf(name, sizeof name, "n%d", i);
    if (!view_has(v, name))
      return false;
  }
  return true;
}

static void view_take(struct view *v, const Mindmeld__WatchServicesResponse *news)
{
  v->messages++;
  ck_assert_uint_gt(news->heartbeat_ms, 0);
  v->draining = v->draining || news->draining;
  v->heartbeats += news->n_services == 0 && news->n_removed == 0;
  if (news->n_services + news->n_removed > v->largest)
    v->largest = news->n_services + news->n_removed;
  if (news->restart) {
    v->restarts++;
    v->fresh_count = 0;
    v->in_catalogue = true;
  }
  char(*names)[64] = v->in_catalogue ? v->fresh : v->names;
  size_t *count = v->in_catalogue ? &v->fresh_count : &v->count;
  for (size_t i = 0; i < news->n_services; i++) {
    ck_assert_int_ge(news->services[i]->create_time->seconds, 1500000000);
    names_add(names, count, news->services[i]->name);
  }
  for (size_t i = 0; i < news->n_removed; i++)
    names_remove(names, count, news->removed[i]);
  if (news->complete && v->in_catalogue) {
    memcpy(v->names, v->fresh, v->fresh_count * sizeof *v->fresh);
    v->count = v->fresh_count;
    v->in_catalogue = false;
    v->whole = true;
  }
}

static void view_on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct view *v = arg;
  v->stream->receiving = false;
  if (!m)
    return;
  Mindmeld__WatchServicesResponse *news =
      (Mindmeld__WatchServicesResponse *)rpc_message_unpack(m, &mindmeld__watch_services_response__descriptor);
  ck_assert_ptr_nonnull(news);
  view_take(v, news);
  mindmeld__watch_services_response__free_unpacked(news, NULL);
  rpc_message_free(m);
  stream_receive(v->stream);
}

static void view_on_headers(struct rpc_call *c, void *arg)
{
  stream_on_headers(c, ((struct view *)arg)->stream);
}

static void view_on_sent(struct rpc_call *c, void *arg)
{
  stream_on_sent(c, ((struct view *)arg)->stream);
}

static void view_on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  stream_on_closed(c, status, text, ((struct view *)arg)->stream);
}

static const struct rpc_call_events view_events = {
    .headers = view_on_headers, .message = view_on_message, .sent = view_on_sent, .closed = view_on_closed};

static void view_open(struct view *v, struct fixture *f)
{
  Mindmeld__WatchServicesRequest request = MINDMELD__WATCH_SERVICES_REQUEST__INIT;
  memset(v, 0, sizeof *v);
  v->names = calloc(NAMES_MAX, sizeof *v->names);
  v->fresh = calloc(NAMES_MAX, sizeof *v->fresh);
  v->stream = stream_open(f, CONTROL "WatchServices");
  rpc_call_set_arg(v->stream->call, &view_events, v);
  stream_send_pack(v->stream, &request.base);
  stream_end(v->stream);
}

static void view_free(struct view *v)
{
  free(v->names);
  free(v->fresh);
}

static void view_close(struct view *v)
{
  stream_drop(v->stream);
  view_free(v);
}

START_TEST(test_changes)
{
  struct fixture f;
  struct view v;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  view_open(&v, &f);
  FIXTURE_UNTIL(&f, v.whole);
  ck_assert_str_eq(v.stream->version, "2");
  ck_assert_uint_eq(v.restarts, 1);
  ck_assert(view_has(&v, "web") && v.count == 1);
  struct stream *api = created(&f, "api", member_f);
  FIXTURE_UNTIL(&f, view_has(&v, "api"));
  stream_drop(web);
  FIXTURE_UNTIL(&f, !view_has(&v, "web"));
  web = created(&f, "web", member_s);
  FIXTURE_UNTIL(&f, view_has(&v, "web"));
  ck_assert_uint_eq(v.restarts, 1);
  stream_drop(web);
  stream_drop(api);
  view_close(&v);
  fixture_close(&f);
}
END_TEST

START_TEST(test_heartbeats)
{
  struct fixture f;
  struct view a, b;
  struct router_limits limits = router_limits_default();
  limits.heartbeat_ms = 20;
  fixture_open_with(&f, &limits, NULL);
  view_open(&a, &f);
  view_open(&b, &f);
  FIXTURE_UNTIL(&f, a.heartbeats > 5 && b.heartbeats > 5);
  view_close(&a);
  FIXTURE_UNTIL(&f, b.heartbeats > 10);
  view_close(&b);
  /* And again after the last was gone. */
  view_open(&a, &f);
  FIXTURE_UNTIL(&f, a.heartbeats > 5);
  view_close(&a);
  fixture_close(&f);
}
END_TEST

START_TEST(test_many_services)
{
  struct fixture f;
  struct view early, late;
  enum { PAGE = 50, MANY = 120 };
  struct router_limits limits = router_limits_default();
  limits.page = PAGE;
  fixture_open_with(&f, &limits, NULL);
  view_open(&early, &f);
  FIXTURE_UNTIL(&f, early.whole);
  early.stream->reading = false;
  struct stream **services = calloc(MANY, sizeof(struct stream *));
  for (int i = 0; i < MANY; i++) {
    char name[16];
    snprintf(name, sizeof name, "n%d", i);
    services[i] = create(&f, name, member_s);
  }
  for (int i = 0; i < MANY; i++)
    FIXTURE_UNTIL(&f, services[i]->headers);
  view_open(&late, &f);
  FIXTURE_UNTIL(&f, late.whole);
  ck_assert_uint_eq(late.count, MANY);
  ck_assert_uint_eq(late.largest, PAGE);
  ck_assert_uint_ge(late.messages, 3);
  ck_assert_uint_eq(list(&f).services, MANY);
  for (int i = 0; i < MANY; i += 2)
    stream_drop(services[i]);
  early.stream->reading = true;
  stream_receive(early.stream);
  FIXTURE_UNTIL(&f, view_has_odd(&early, MANY) && view_has_odd(&late, MANY));
  for (int i = 1; i < MANY; i += 2)
    stream_drop(services[i]);
  FIXTURE_UNTIL(&f, early.count == 0 && late.count == 0);
  free(services);
  view_close(&early);
  view_close(&late);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limit_of_watchers)
{
  struct fixture f;
  struct view a, b;
  struct router_limits limits = router_limits_default();
  limits.watchers = 1;
  fixture_open_with(&f, &limits, NULL);
  view_open(&a, &f);
  FIXTURE_UNTIL(&f, a.whole);
  view_open(&b, &f);
  stream_closes_saying(b.stream, RPC_RESOURCE_EXHAUSTED, "1 watchers");
  view_free(&b);
  view_close(&a);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limit_of_one_caller)
{
  struct fixture f;
  struct view a, b, c;
  struct router_limits limits = router_limits_default();
  limits.watchers_per_caller = 1;
  fixture_open_with(&f, &limits, NULL);
  view_open(&a, &f);
  FIXTURE_UNTIL(&f, a.whole);
  view_open(&b, &f);
  stream_closes_saying(b.stream, RPC_RESOURCE_EXHAUSTED, "a caller may watch 1 times at once");
  view_free(&b);
  view_close(&a);
  do { /* until the router has heard of the end */
    view_open(&c, &f);
    FIXTURE_UNTIL(&f, c.whole || c.stream->closed);
    if (!c.whole)
      view_free(&c);
  } while (!c.whole);
  view_close(&c);
  fixture_close(&f);
}
END_TEST

/* ---- The end ---- */

START_TEST(test_drain_at_once)
{
  struct fixture f;
  struct view v;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *opening = stream_open(&f, PROXY "Connect");
  struct stream *waiting = dial(&f, "web", member_f);
  view_open(&v, &f);
  FIXTURE_UNTIL(&f, v.whole && web->received == 1);
  fixture_drain(&f);
  stream_closes_saying(web, RPC_UNAVAILABLE, "draining");
  stream_closes(opening, RPC_UNAVAILABLE);
  stream_closes_saying(waiting, RPC_UNAVAILABLE, "draining");
  stream_closes_saying(v.stream, RPC_UNAVAILABLE, "draining");
  ck_assert(v.draining);
  view_free(&v);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

START_TEST(test_drain_waits)
{
  struct fixture f;
  struct view v;
  struct router_limits limits = router_limits_default();
  limits.drain_ms = 3600000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  view_open(&v, &f);
  FIXTURE_UNTIL(&f, v.whole);
  fixture_drain(&f);
  FIXTURE_UNTIL(&f, v.draining);
  /* New work is refused; what lives goes on. */
  stream_closes_saying(create(&f, "new", member_s), RPC_UNAVAILABLE, "draining");
  ck_assert_int_eq(forward(&f, "web").status, RPC_UNAVAILABLE);
  stream_closes(dial(&f, "web", member_f), RPC_UNAVAILABLE);
  for (int i = 0; i < 10; i++) {
    stream_say(j.f, "still there");
    stream_hears(j.s, "still there");
  }
  ck_assert(!web->closed && !v.stream->closed);
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_closes(web, RPC_UNAVAILABLE);
  stream_closes(v.stream, RPC_UNAVAILABLE);
  view_free(&v);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

/* Calls that are under way when it begins to drain are served, or refused in a way that says: again, elsewhere. */
START_TEST(test_drain_under_calls)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  enum { CALLS = 400 };
  limits.drain_ms = 3600000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  struct stream **calls = calloc(CALLS, sizeof(struct stream *));
  for (int i = 0; i < CALLS; i++) {
    calls[i] = stream_open(&f, CONTROL "ListServices");
    stream_send(calls[i], rpc_message_copy("", 0));
    stream_end(calls[i]);
    if (i == CALLS / 4)
      fixture_drain(&f);
    if (i % 8 == 0)
      fixture_turn(&f);
  }
  unsigned served = 0;
  for (int i = 0; i < CALLS; i++) {
    FIXTURE_UNTIL(&f, calls[i]->closed);
    served += calls[i]->status == RPC_OK;
    if (calls[i]->status != RPC_OK) {
      ck_assert_int_eq(calls[i]->status, RPC_UNAVAILABLE);
      /* A further connection, for more calls than one takes, is not accepted any more. */
      ck_assert(strcmp(calls[i]->text, "the router is draining") == 0 || strstr(calls[i]->text, "Connection refused"));
    }
    free(calls[i]);
  }
  ck_assert_uint_gt(served, 0);
  free(calls);
  stream_say(j.f, "still there");
  stream_hears(j.s, "still there");
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_closes(web, RPC_UNAVAILABLE);
  fixture_close(&f);
}
END_TEST

/* Another router has the address at once, while this one still carries its connections. */
START_TEST(test_drain_leaves_the_address)
{
  struct fixture f, successor;
  struct router_limits limits = router_limits_default();
  limits.drain_ms = 3600000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  struct view v;
  view_open(&v, &f);
  FIXTURE_UNTIL(&f, v.whole);
  fixture_drain(&f);
  FIXTURE_UNTIL(&f, v.draining);
  fixture_open_at(&successor, f.address, &limits, NULL);
  struct stream *again = created(&successor, "web", member_s);
  ck_assert_str_eq(list(&successor).names, "web");
  ck_assert_int_eq(list(&f).status, RPC_UNAVAILABLE);
  for (int i = 0; i < 10; i++) {
    stream_say(j.f, "still there");
    stream_hears(j.s, "still there");
  }
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_closes(web, RPC_UNAVAILABLE);
  stream_closes(v.stream, RPC_UNAVAILABLE);
  view_free(&v);
  fixture_close(&f);
  /* Which has taken nothing of it away. */
  ck_assert_str_eq(list(&successor).names, "web");
  struct rpc_channel *late = fixture_channel(&successor, NULL);
  ck_assert_str_eq(list_on(&successor, late).names, "web");
  rpc_channel_close(late);
  stream_drop(again);
  fixture_close(&successor);
}
END_TEST

START_TEST(test_drain_cuts)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.drain_ms = _i == 0 ? 50 : 3600000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  fixture_drain(&f);
  if (_i == 1)
    fixture_drain(&f);
  FIXTURE_UNTIL(&f, j.f->closed && j.s->closed && web->closed);
  ck_assert_int_ne(j.f->status, RPC_OK);
  ck_assert_int_ne(j.s->status, RPC_OK);
  free(j.f);
  free(j.s);
  free(web);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_changes, 0},
                                       {test_heartbeats, 0},
                                       {test_many_services, 0},
                                       {test_limit_of_watchers, 0},
                                       {test_limit_of_one_caller, 0},
                                       {test_drain_at_once, 0},
                                       {test_drain_waits, 0},
                                       {test_drain_cuts, 2},
                                       {test_drain_under_calls, 10},
                                       {test_drain_leaves_the_address, 5}};
  return fixture_suite("watch", tests, sizeof tests / sizeof *tests);
}
