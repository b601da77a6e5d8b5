/* The simulated sockets are all of one machine: none of them is paced. */
#include "proto/flow/pacer.h"

int pacer_open(struct pacer **out, struct poller *p)
{
  (void)p;
  *out = NULL;
  return 0;
}

void pacer_close(struct pacer *p)
{
  (void)p;
}

void pacer_look(struct pacer *p, struct paced *s, int fd)
{
  (void)p, (void)s, (void)fd;
}

void pacer_forget(struct paced *s)
{
  (void)s;
}
