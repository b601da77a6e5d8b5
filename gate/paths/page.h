/* The answers that the gate gives itself: a status and one sentence, which tells visitors little. Pure. */
#ifndef GATE_PAGE_H
#define GATE_PAGE_H

#include <stdbool.h>

#include "proto/http1/writer.h"

struct page {
  unsigned status;
  const char *field; /* a field that it needs, and its value; NULL: none */
  struct http1_text value;
  const char *type; /* of the body; NULL: it is a sentence of ours about the status */
  struct http1_text body;
};

/* With Retry-After at 503. `to_head`: without the body. */
void page_write(struct http1_out *out, const struct page *page, bool to_head, bool close);

#endif
