/* The answers that the gate gives itself: a status and one sentence, which tells visitors little. Pure. */
#ifndef GATE_PAGE_H
#define GATE_PAGE_H

#include <stdbool.h>

#include "proto/http1/writer.h"

/* With Retry-After at 503. `to_head`: without the body. */
void page_write(struct http1_out *out, unsigned status, bool to_head, bool close);

#endif
