/* What the target is told of who asked (RFC 7239, and the older fields). Pure. */
#ifndef GATE_FORWARDED_H
#define GATE_FORWARDED_H

#include "proto/http1/head.h"
#include "proto/http1/writer.h"

struct forwarded_by {
  const char *client; /* whose request it is: an address with its port, as listener.h tells it */
  const char *peer;   /* whose connection it is: the client's, or a front's that is trusted */
  bool https;         /* how the client came */
  bool trusted;       /* the peer's word is taken */
};

/* What came under these names is not passed on as it is: anybody can write it. */
void forwarded_clean(struct http1_head *h);
/* The client stands first, so that nobody takes what it wrote for who it is. What a front says of the host is still
 * there when forwarded_clean has dropped it. */
void forwarded_write(struct http1_out *out, const struct http1_head *h, const struct forwarded_by *by,
                     struct http1_text host);

#endif
