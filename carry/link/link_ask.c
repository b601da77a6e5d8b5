/* A question in between: does the router know this name now? It is asked for the whole list, for that is what every
 * router can tell. The watch goes on meanwhile, and does not see the answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "link_internal.h"

struct link_query {
  struct link *link;
  struct rpc_call *call;
  struct link_query *prev, *next;
  void (*done)(enum rpc_status status, const char *text, bool found, void *arg);
  void *arg;
  char name[];
};

int link_list(struct rpc_channel *channel, struct rpc_call **out, uint64_t timeout_ms,
              void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg), void *arg)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/ListServices",
                                           .deadline_ms = timeout_ms};

  return rpc_unary(out, channel, &options, rpc_message_copy("", 0), done, arg);
}

Mindmeld__ListServicesResponse *link_unpack_list(struct rpc_message *answer)
{
  Mindmeld__ListServicesResponse *list =
      (Mindmeld__ListServicesResponse *)rpc_message_unpack(answer, &mindmeld__list_services_response__descriptor);

  rpc_message_free(answer);
  return list;
}

static void ask_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct link_query *query = arg;
  struct link *l = query->link;
  Mindmeld__ListServicesResponse *list = status == RPC_OK ? link_unpack_list(answer) : NULL;
  bool found = false;

  if (status == RPC_OK && list == NULL) {
    status = RPC_INTERNAL;
    text = "the router sent a message that cannot be read";
  }
  for (size_t i = 0; list != NULL && !found && i < list->n_services; i++)
    found = strcmp(list->services[i]->name, query->name) == 0;
  if (list != NULL)
    mindmeld__list_services_response__free_unpacked(list, NULL);
  DL_DELETE(l->queries, query);
  query->done(status, text, found, query->arg);
  free(query);
  link_call_over(l);
}

int link_ask(struct link_query **out, struct link *l, const char *name, uint64_t timeout_ms,
             void (*done)(enum rpc_status status, const char *text, bool found, void *arg), void *arg)
{
  size_t length = strlen(name);
  struct link_query *query = calloc(1, sizeof *query + length + 1);
  int err;

  if (query == NULL)
    return -ENOMEM;
  query->link = l;
  query->done = done;
  query->arg = arg;
  memcpy(query->name, name, length + 1);
  err = link_list(l->channel, &query->call, timeout_ms, ask_done, query);
  if (err != 0) {
    free(query);
    return err;
  }
  l->calls++;
  DL_APPEND(l->queries, query);
  *out = query;
  return 0;
}

void link_ask_cancel(struct link_query *query)
{
  rpc_call_cancel(query->call, RPC_CANCELLED, "cancelled");
}

void link_cancel_queries(struct link *l)
{
  struct link_query *query, *next;

  DL_FOREACH_SAFE(l->queries, query, next)
  {
    link_ask_cancel(query);
  }
}
