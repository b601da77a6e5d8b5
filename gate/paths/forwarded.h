/* What the target is told of who asked (RFC 7239, and the older fields). Pure. */
#ifndef GATE_FORWARDED_H
#define GATE_FORWARDED_H

#include "proto/http1/head.h"
#include "proto/http1/writer.h"

/* What came under these names is dropped: anybody can write it. */
void forwarded_clean(struct http1_head *h);
/* `client` is an address with its port, as listener.h tells it. */
void forwarded_write(struct http1_out *out, const char *client, struct http1_text host, bool https);

#endif
