/* One answer serves all callers until the register changes. */
#include "list.h"

#include <mindmeld.pb-c.h>

#include "catalogue.h"
#include "names.h"
#include "router/door/reply.h"

void list_ask(struct opening *o, struct rpc_message *m)
{
  struct names *n = opening_room(o);
  Mindmeld__ListServicesRequest *request =
      (Mindmeld__ListServicesRequest *)rpc_message_unpack(m, &mindmeld__list_services_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a ListServicesRequest");
    return;
  }
  mindmeld__list_services_request__free_unpacked(request, NULL);
  reply_answer(router_names_door(n), opening_take(o), catalogue_list(router_names_listed(n), router_names_registry(n)));
}
