/* What the files of a flow share: flow.c has what goes out, and its life; flow_down.c what comes in. */
#ifndef SIM_FLOW_INTERNAL_H
#define SIM_FLOW_INTERNAL_H

#include "flow.h"

struct waiting {
  struct content content;
  bool eof;
};

enum told { TOLD_EOF, TOLD_FAILED, TOLD_REMOTE };

/* Through the loop; once. */
void flow_tell(struct flow *f, enum told what, bool *told);
/* After the queue has changed, or what the other side means to have. */
void flow_account(struct flow *f);
uint64_t flow_cost(uint64_t bytes);
/* After `data` bytes were added, or some were acked. */
void flow_check_kept(const struct flow *f, uint64_t data);
/* To the socket, as much as it takes. */
void flow_write(struct flow *f);

#endif
