/* Entries become messages in one piece of memory, which lives until they are packed. */
#include "catalogue.h"

#include <mindmeld.pb-c.h>
#include <stdlib.h>

#include "passes.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/identity.h"
#include "publics.h"
#include "registry.h"
#include "service.h"

/* Of a message to a gate; a message is at most 4 MiB. */
enum { RULES_BYTES = 1 << 20 };

/* One entry, and the messages that point into it. */
struct item {
  Mindmeld__Service service;
  Google__Protobuf__Timestamp created;
};

struct page {
  struct registry_entry *entries;
  struct item *items;
  Mindmeld__Service **services;
  char **removed;
  ProtobufCBinaryData *lost;
};

static void page_free(struct page *p)
{
  free(p->entries);
  free(p->items);
  free(p->services);
  free(p->removed);
  free(p->lost);
}

static bool page_alloc(struct page *p, size_t count)
{
  count = count ? count : 1;
  p->entries = calloc(count, sizeof *p->entries);
  p->items = calloc(count, sizeof *p->items);
  p->services = calloc(count, sizeof(Mindmeld__Service *));
  p->removed = calloc(count, sizeof(char *));
  p->lost = calloc(count, sizeof *p->lost);
  if (p->entries && p->items && p->services && p->removed && p->lost)
    return true;
  page_free(p);
  return false;
}

static Mindmeld__Service *item_fill(struct item *item, const struct registry_entry *e)
{
  mindmeld__service__init(&item->service);
  google__protobuf__timestamp__init(&item->created);
  item->created.seconds = e->created.seconds;
  item->created.nanos = e->created.nanos;
  item->service.name = (char *)e->name; /* packing only reads it */
  item->service.create_time = &item->created;
  return &item->service;
}

static struct rpc_message *list_make(const struct registry *r)
{
  struct page p;
  size_t count = registry_count(r);
  if (!page_alloc(&p, count))
    return NULL;
  registry_list(r, p.entries);
  for (size_t i = 0; i < count; i++)
    p.services[i] = item_fill(&p.items[i], &p.entries[i]);
  Mindmeld__ListServicesResponse answer = MINDMELD__LIST_SERVICES_RESPONSE__INIT;
  answer.n_services = count;
  answer.services = p.services;
  struct rpc_message *m = rpc_message_pack(&answer.base);
  page_free(&p);
  return m;
}

void catalogue_forget(struct catalogue_kept *kept)
{
  rpc_message_free(kept->list);
  kept->list = NULL;
}

struct rpc_message *catalogue_list(struct catalogue_kept *kept, const struct registry *r)
{
  if (kept->list && kept->change != registry_changes(r))
    catalogue_forget(kept);
  if (!kept->list)
    kept->list = list_make(r);
  kept->change = registry_changes(r);
  return kept->list ? rpc_message_cut(kept->list, NULL, 0, 0, rpc_message_size(kept->list)) : NULL;
}

/* Packing only reads it. */
static ProtobufCBinaryData binary(const uint8_t *bytes, size_t size)
{
  return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)bytes};
}

static void notes_fill(Mindmeld__WatchServicesResponse *news, const struct catalogue_notes *notes, struct page *p)
{
  news->draining = notes->draining;
  news->superseded = notes->superseded;
  news->heartbeat_ms = notes->heartbeat_ms;
  news->stream_age_ms = notes->stream_age_ms;
  if (notes->challenge)
    news->challenge = binary(notes->challenge, IDENTITY_CHALLENGE_SIZE);
  if (notes->streams) {
    news->stream_addr = (char *)(uintptr_t)notes->streams;
    news->stream_watch = binary(notes->pass->watch, RAW_WATCH_SIZE);
    news->stream_secret = binary(notes->pass->secret, RAW_SECRET_SIZE);
  }
  news->lost = p->lost;
  news->n_lost = notes->lost_count;
  for (size_t i = 0; i < notes->lost_count; i++)
    p->lost[i] = binary(notes->lost[i], HEADER_MEMBER_SIZE);
}

/* Gates are told the names that are granted, and what the owner says of requests. */
static void item_tell_gate(struct item *item, const struct registry_entry *e)
{
  size_t count, size;
  Mindmeld__PublicName **names = publics_granted(router_service_publics(e->owner), &count);
  const uint8_t *rules = router_service_rules(e->owner, &size);
  item->service.rules = binary(rules, size);
  if (size > 0) {
    item->service.ruled_names = names;
    item->service.n_ruled_names = count;
  } else {
    item->service.public_names = names;
    item->service.n_public_names = count;
  }
}

/* How many of the entries fit into one message to a gate; at least one. */
static size_t entries_that_fit(const struct registry_entry *entries, size_t count)
{
  size_t fit = 0, bytes = 0, size = 0;
  for (; fit < count; fit++) {
    if (!entries[fit].gone)
      router_service_rules(entries[fit].owner, &size);
    bytes += entries[fit].gone ? 0 : size;
    if (fit > 0 && bytes > RULES_BYTES)
      break;
  }
  return fit;
}

struct rpc_message *catalogue_news(const struct registry *r, struct registry_cursor *c, size_t max,
                                   const struct catalogue_notes *notes, bool *complete)
{
  struct page p;
  if (!page_alloc(&p, CATALOGUE_PAGE))
    return NULL;
  Mindmeld__WatchServicesResponse news = MINDMELD__WATCH_SERVICES_RESPONSE__INIT;
  struct registry_cursor moved = *c;
  bool restart;
  size_t count = registry_read(r, &moved, p.entries, max, &restart, complete);
  size_t fit = notes->gate ? entries_that_fit(p.entries, count) : count;
  if (fit < count) {
    moved = *c;
    count = registry_read(r, &moved, p.entries, fit, &restart, complete);
  }
  for (size_t i = 0; i < count; i++) {
    if (p.entries[i].gone)
      p.removed[news.n_removed++] = (char *)p.entries[i].name;
    else
      p.services[news.n_services++] = item_fill(&p.items[i], &p.entries[i]);
    if (notes->gate && !p.entries[i].gone)
      item_tell_gate(&p.items[i], &p.entries[i]);
  }
  news.services = p.services;
  news.removed = p.removed;
  news.restart = restart;
  news.complete = *complete;
  notes_fill(&news, notes, &p);
  struct rpc_message *m = rpc_message_pack(&news.base);
  page_free(&p);
  if (m)
    *c = moved;
  return m;
}
