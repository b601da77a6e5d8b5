#include "dialogue.h"

#include <string.h>

enum { TRIES_MAX = 8, WORTH_SPLICING = 64 * 1024, MEMORY_KEPT = 4096 };

static struct http1_parser *parser_of(struct dialogue *d, enum dialogue_way way)
{
  return &d->parsers[way];
}

void dialogue_init(struct dialogue *d, bool middle, const struct dialogue_events *events)
{
  *d = (struct dialogue){
      .events = events, .state = middle ? DIALOGUE_LOST : DIALOGUE_IN_STEP, .latest = DIALOGUE_ANSWER};
  http1_parser_init(parser_of(d, DIALOGUE_REQUEST), false);
  http1_parser_init(parser_of(d, DIALOGUE_ANSWER), true);
}

void dialogue_free(struct dialogue *d)
{
  http1_parser_free(parser_of(d, DIALOGUE_REQUEST));
  http1_parser_free(parser_of(d, DIALOGUE_ANSWER));
}

static void forget(struct dialogue *d)
{
  for (int way = 0; way < 2; way++) {
    http1_parser_next(&d->parsers[way], d->parsers[way].head.capacity <= MEMORY_KEPT);
    d->bodies[way] = 0;
    d->ended[way] = false;
  }
}

static void end_exchange(struct dialogue *d, bool whole)
{
  bool begun = d->begun;
  d->begun = false;
  if (begun)
    d->events->over(d, whole);
  forget(d);
}

static void fall_silent(struct dialogue *d)
{
  end_exchange(d, false);
  d->state = DIALOGUE_SILENT;
  dialogue_free(d);
}

void dialogue_close(struct dialogue *d)
{
  if (d->state != DIALOGUE_SILENT)
    fall_silent(d);
}

static void lose(struct dialogue *d, enum dialogue_way way)
{
  end_exchange(d, false);
  d->state = DIALOGUE_LOST;
  d->latest = way;
  d->tries = false;
}

/* It was no request that the way began with. */
static void give_up_try(struct dialogue *d)
{
  d->tries = false;
  forget(d);
  if (++d->tried == TRIES_MAX)
    fall_silent(d);
}

/* ---- What the parsers say ---- */

static void end_message(struct dialogue *d, enum dialogue_way way)
{
  d->ended[way] = true;
  if (!d->ended[DIALOGUE_REQUEST] || !d->ended[DIALOGUE_ANSWER])
    return;
  end_exchange(d, true);
  if (d->last)
    fall_silent(d);
}

static bool is_method(const struct http1_head *h, const char *name)
{
  struct http1_text method = http1_head_text(h, h->method);
  return method.size == strlen(name) && memcmp(method.at, name, method.size) == 0;
}

static void request_head(struct dialogue *d)
{
  const struct http1_head *h = &parser_of(d, DIALOGUE_REQUEST)->head;
  d->state = DIALOGUE_IN_STEP;
  d->tries = false;
  d->tried = 0;
  d->begun = true;
  parser_of(d, DIALOGUE_ANSWER)->to_head = is_method(h, "HEAD");
  d->events->began(d);
  d->events->passed(d, DIALOGUE_REQUEST, h->text, h->size);
}

static void answer_head(struct dialogue *d)
{
  const struct http1_head *h = &parser_of(d, DIALOGUE_ANSWER)->head;
  if (h->status >= 200 || h->status == 101)
    d->events->answered(d);
  d->events->passed(d, DIALOGUE_ANSWER, h->text, h->size);
}

static void answer_end(struct dialogue *d)
{
  struct http1_parser *p = parser_of(d, DIALOGUE_ANSWER);
  bool to_head = p->to_head;
  unsigned status = p->head.status;
  if (status == 101) {
    end_exchange(d, d->ended[DIALOGUE_REQUEST]);
    fall_silent(d);
  } else if (status < 200) {
    http1_parser_next(p, true);
    p->to_head = to_head;
  } else {
    end_message(d, DIALOGUE_ANSWER);
  }
}

static void refused(struct dialogue *d)
{
  if (d->state == DIALOGUE_LOST)
    give_up_try(d);
  else
    fall_silent(d);
}

static void handle(struct dialogue *d, enum dialogue_way way, enum http1_event event)
{
  if (event == HTTP1_REFUSED)
    refused(d);
  else if (event == HTTP1_HEAD && way == DIALOGUE_REQUEST)
    request_head(d);
  else if (event == HTTP1_HEAD)
    answer_head(d);
  else if (event == HTTP1_BODY)
    d->bodies[way] += parser_of(d, way)->piece.size;
  else if (event == HTTP1_END && way == DIALOGUE_REQUEST)
    end_message(d, way);
  else if (event == HTTP1_END)
    answer_end(d);
}

/* ---- Bytes ---- */

/* The parser of that way may have some, and can make something of them. */
static bool has_room(const struct dialogue *d, enum dialogue_way way)
{
  if (way == DIALOGUE_ANSWER)
    return d->state == DIALOGUE_IN_STEP && d->begun && !d->ended[DIALOGUE_ANSWER];
  return d->state == DIALOGUE_LOST ? d->tries : d->state == DIALOGUE_IN_STEP && !d->ended[DIALOGUE_REQUEST];
}

/* Bytes that nobody asked for, or that do not wait for their turn. */
static void surplus(struct dialogue *d, enum dialogue_way way)
{
  if (d->state != DIALOGUE_IN_STEP)
    return;
  if (way == DIALOGUE_REQUEST)
    d->last = true;
  else
    fall_silent(d);
}

static void feed(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size)
{
  enum http1_event event = HTTP1_HEAD;
  for (size_t eaten; event != HTTP1_MORE && has_room(d, way); bytes += eaten, size -= eaten) {
    struct http1_parser *p = parser_of(d, way);
    bool in_head = p->state == HTTP1_START || p->state == HTTP1_FIELDS;
    eaten = http1_parser_feed(p, bytes, size, &event);
    if (!in_head && eaten > 0)
      d->events->passed(d, way, bytes, eaten);
    handle(d, way, event);
  }
  if (size > 0)
    surplus(d, way);
}

static void skip(struct dialogue *d, enum dialogue_way way, size_t size)
{
  if (!has_room(d, way) || !http1_parser_skip(parser_of(d, way), size)) {
    if (d->state == DIALOGUE_IN_STEP)
      lose(d, way);
    else if (d->tries)
      give_up_try(d);
    return;
  }
  d->bodies[way] += size;
  d->events->passed(d, way, NULL, size);
  feed(d, way, "", 0);
}

static void end(struct dialogue *d, enum dialogue_way way)
{
  if (way == DIALOGUE_REQUEST)
    return;
  if (has_room(d, way) && http1_parser_close(parser_of(d, way)) == HTTP1_END)
    end_message(d, way);
  dialogue_close(d);
}

/* Where it is lost, a request may begin when the way turns. */
static void turn(struct dialogue *d, enum dialogue_way way)
{
  if (d->state != DIALOGUE_LOST)
    return;
  if (way == DIALOGUE_ANSWER && d->tries)
    give_up_try(d);
  else if (way == DIALOGUE_REQUEST && d->latest == DIALOGUE_ANSWER)
    d->tries = true;
  d->latest = way;
}

void dialogue_pass(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size)
{
  if (d->state == DIALOGUE_SILENT)
    return;
  if (size == 0) {
    end(d, way);
    return;
  }
  turn(d, way);
  if (bytes != NULL)
    feed(d, way, bytes, size);
  else
    skip(d, way, size);
}

bool dialogue_watches(const struct dialogue *d, enum dialogue_way way, bool all)
{
  const struct http1_parser *p = &d->parsers[way];
  if (d->state == DIALOGUE_SILENT)
    return false;
  if (all || d->state == DIALOGUE_LOST)
    return true;
  return p->state != HTTP1_UNTIL_CLOSE && (p->state != HTTP1_LENGTH || p->left < WORTH_SPLICING);
}
