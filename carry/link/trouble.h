/* Why the router cannot be reached, as one sentence that says what to do. Pure. */
#ifndef CARRY_TROUBLE_H
#define CARRY_TROUBLE_H

#include <stdbool.h>

#include "proto/wire/status.h"

enum { TROUBLE_MAX = 320 };

struct trouble_where {
  const char *target; /* HOST:PORT */
  const char *proxy;  /* NULL, or "HOST:PORT (from VARIABLE)" */
  bool tls;
  bool key;       /* one was shown */
  bool connected; /* it worked until now */
};

/* `text` is what gRPC said. Writes the sentence, without a full stop. Returns `out`. */
const char *trouble_sentence(const struct trouble_where *where, enum rpc_status status, const char *text,
                             char out[TROUBLE_MAX]);
/* The same when no address could be connected to: `why` has the causes, `causes` is their number. */
const char *trouble_not_found(const struct trouble_where *where, const char *why, unsigned causes,
                              char out[TROUBLE_MAX]);

#endif
