/* A connection on which nothing is asked but whether the router takes raw streams. Its answer is sealed: so who gives
 * it is the router, and has read what we sealed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raw_internal.h"

struct raw_question {
  struct poller_watch watch;
  struct raw_deadline deadline;
  struct raw_line *line;
  int fd;
  bool asked;
  int error; /* of the sending */
  struct raw_place place;
  size_t have;
  uint8_t answer[RAW_WORD_MAX];
  void (*answered)(struct raw_line *l, const char *why);
};

void raw_question_drop(struct raw_question *q)
{
  struct raw_set *set = q->line->set;
  raw_deadline_clear(set, &q->deadline);
  poller_remove(set->poller, -1, &q->watch);
  close(q->fd);
  free(q);
}

static void answer(struct raw_question *q, const char *why)
{
  q->answered(q->line, why);
  raw_question_drop(q);
}

static void ask(struct raw_question *q)
{
  static const uint8_t question[1];
  uint8_t bytes[RAW_PREAMBLE_MAX];
  size_t size = raw_line_seal(q->line, question, sizeof question, bytes, &q->place.counter);
  q->asked = true;
  if (send(q->fd, bytes, size, MSG_NOSIGNAL) < 0)
    q->error = errno;
}

/* False: more must come. */
static bool is_whole(const struct raw_question *q)
{
  if (q->have < RAW_LENGTH_SIZE)
    return false;
  int sealed = raw_word_length(q->answer);
  return sealed <= 0 || q->have >= RAW_LENGTH_SIZE + (size_t)sealed;
}

static void judge(struct raw_question *q)
{
  struct raw_word word;
  if (q->have < RAW_LENGTH_SIZE || !is_whole(q) || raw_word_open(&q->line->keys, &q->place, q->answer, &word) != 0)
    answer(q, "what listens there takes no raw streams");
  else if (word.kind == RAW_WORD_STATUS && word.status == RPC_OK)
    answer(q, NULL);
  else
    answer(q, word.text[0] != '\0' ? word.text : "the router takes no raw streams now");
}

static void hear(struct raw_question *q)
{
  ssize_t n = 1;
  while (n > 0 && !is_whole(q)) {
    n = recv(q->fd, q->answer + q->have, sizeof q->answer - q->have, 0);
    q->have += n > 0 ? (size_t)n : 0;
  }
  if (q->error != 0)
    answer(q, strerror(q->error));
  else if (is_whole(q) || n == 0)
    judge(q);
  else if (errno != EAGAIN && errno != EINTR)
    answer(q, strerror(errno));
}

static void ready(struct poller_watch *watch, uint32_t events)
{
  struct raw_question *q = (struct raw_question *)watch;
  if (!q->asked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == EPOLLOUT)
    ask(q);
  if (events & ~(uint32_t)EPOLLOUT)
    hear(q);
}

static void passed(struct raw_deadline *d)
{
  struct raw_question *q = (struct raw_question *)((char *)d - offsetof(struct raw_question, deadline));
  answer(q, "nothing answers there");
}

int raw_question_ask(struct raw_question **out, struct raw_line *l,
                     void (*answered)(struct raw_line *l, const char *why))
{
  struct raw_question *q = calloc(1, sizeof *q);
  if (q == NULL)
    return -ENOMEM;
  *q = (struct raw_question){.watch.ready = ready, .deadline.passed = passed, .line = l, .answered = answered};
  int error = q->fd = raw_socket_connect(&l->options.address);
  if (error >= 0) {
    error = poller_add(l->set->poller, q->fd, RAW_EVENTS, &q->watch);
    if (error != 0)
      close(q->fd);
  }
  if (error < 0) {
    free(q);
    return error;
  }
  raw_deadline_set(l->set, &q->deadline);
  if (l->near)
    ask(q);
  *out = q;
  return 0;
}
