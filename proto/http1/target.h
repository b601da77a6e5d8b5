/* Which host and which resource a request is for. Pure. Any thread. */
#ifndef PROTO_HTTP1_TARGET_H
#define PROTO_HTTP1_TARGET_H

#include "head.h"
#include "refusal.h"

struct http1_target {
  struct http1_text authority; /* HOST or HOST:PORT as it was sent */
  struct http1_text host;      /* of it; v6 in brackets; without a final dot */
  struct http1_text path;      /* what is passed on: "/a?b", or "*" */
};

/* Looks at the target's form, and at Host. 0, or -1 with a refusal. */
int http1_target_of(const struct http1_head *h, struct http1_target *out, struct http1_refusal *why);
/* Whether it can be a Host field's value. */
bool http1_authority_check(struct http1_text text, struct http1_text *host, struct http1_text *port);

#endif
