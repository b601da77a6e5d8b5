/* What the target is told of who asked (RFC 7239, and the older fields). Pure. */
#ifndef GATE_FORWARDED_H
#define GATE_FORWARDED_H

#include "proto/http1/head.h"
#include "proto/http1/writer.h"

struct forwarded_by {
  const char *peer; /* whose connection it is: an address with its port, as listener.h tells it */
  bool https;       /* how the client came */
  bool adds;        /* the peer is a front that is trusted: what it wrote stays, and it is written behind that */
};

/* What came under these names is not passed on as it is: anybody can write it. */
void forwarded_clean(struct http1_head *h);
/* Also what forwarded_clean has taken out of the head. */
void forwarded_write(struct http1_out *out, const struct http1_head *h, const struct forwarded_by *by,
                     struct http1_text host);

#endif
