/* What of a head concerns only the connection it came on, and is not passed on (RFC 9110, 7.6.1). Pure. */
#ifndef PROTO_HTTP1_CLEAN_H
#define PROTO_HTTP1_CLEAN_H

#include "head.h"

/* Marks as dropped: what Connection names, fields between neighbours, and those that say where the body ends, which are
 * written anew. `upgrade`: Upgrade stays. */
void http1_clean_head(struct http1_head *h, bool upgrade);
/* Trailers that would say something of the message that is known by now. */
void http1_clean_trailers(struct http1_head *h, unsigned from);

#endif
