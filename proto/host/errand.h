/* Something that is to be done later or elsewhere. It is a part of what it is about: nothing is allocated, and it is on
 * one way at a time. */
#ifndef PROTO_ERRAND_H
#define PROTO_ERRAND_H

#include <stddef.h>

struct errand {
  struct errand *next;
  void (*run)(struct errand *e);
};

/* A list of them, in order. */
struct errands {
  struct errand *first, **end;
};

static inline void errands_start(struct errands *list)
{
  list->first = NULL;
  list->end = &list->first;
}

static inline void errands_add(struct errands *list, struct errand *e)
{
  e->next = NULL;
  *list->end = e;
  list->end = &e->next;
}

/* All of them; the list is empty then. */
static inline struct errand *errands_take(struct errands *list)
{
  struct errand *first = list->first;
  errands_start(list);
  return first;
}

/* Runs this one and those behind it. Each may free itself, or be sent again. */
static inline void errands_run(struct errand *first)
{
  while (first != NULL) {
    struct errand *e = first;
    first = e->next;
    e->run(e);
  }
}

#endif
