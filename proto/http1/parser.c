/* Lines are gathered in the head's text, checked byte by byte as they come, so that what is refused is refused at once.
 * Lines around chunks are taken off it again. A body is not copied.
 */
#include "parser.h"

#include <string.h>

#include "chunk.h"
#include "first_line.h"
#include "target.h"

enum { OVERHEAD_MAX = 16 * 1024 };

void http1_parser_init(struct http1_parser *p, bool answers)
{
  *p = (struct http1_parser){.answers = answers};
}

void http1_parser_free(struct http1_parser *p)
{
  http1_head_free(&p->head);
}

void http1_parser_next(struct http1_parser *p, bool keep_memory)
{
  struct http1_head head = p->head;
  http1_head_reset(&head);
  if (!keep_memory)
    http1_head_free(&head);
  *p = (struct http1_parser){.answers = p->answers, .head = head};
}

bool http1_parser_is_idle(const struct http1_parser *p)
{
  return p->state == HTTP1_START && p->head.size == 0;
}

static enum http1_event refuse(struct http1_parser *p, unsigned status, const char *why)
{
  p->state = HTTP1_BROKEN;
  p->refusal = (struct http1_refusal){p->answers ? 502 : status, why};
  return HTTP1_REFUSED;
}

static enum http1_event refused(struct http1_parser *p)
{
  return refuse(p, p->refusal.status, p->refusal.why);
}

/* ---- Lines ---- */

/* A line cannot end in the middle of what is given: a CR is its last byte then, or the byte before LF. */
static const char *bad_byte(const char *bytes, size_t size, bool ended)
{
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)bytes[i];
    if (grammar_is_value_character(c))
      continue;
    if (c != '\r')
      return c == '\0' ? "NUL in a head" : "a control character in a head";
    if (ended || i + 1 < size)
      return "CR without LF in a head";
  }
  return NULL;
}

static enum http1_event too_long(struct http1_parser *p)
{
  bool first = p->state == HTTP1_START;
  if (p->state == HTTP1_CHUNK_SIZE || p->state == HTTP1_CHUNK_END)
    return refuse(p, 400, "the line before a chunk is too long");
  return refuse(p, first ? 414 : 431, "the head is too long");
}

static size_t line_max(const struct http1_parser *p)
{
  if (p->state == HTTP1_START)
    return HTTP1_TARGET_MAX + HTTP1_METHOD_MAX + sizeof "  HTTP/1.1\r\n" - 1;
  return p->state == HTTP1_CHUNK_SIZE || p->state == HTTP1_CHUNK_END ? HTTP1_CHUNK_LINE_MAX : HTTP1_HEAD_MAX;
}

/* True: a line is complete, `*line` without its end. False: more is needed, or it is refused. */
static bool take_line(struct http1_parser *p, const char *bytes, size_t size, size_t *eaten, struct http1_span *line,
                      enum http1_event *event)
{
  const char *lf = memchr(bytes, '\n', size);
  size_t count = lf != NULL ? (size_t)(lf - bytes) : size;
  bool had_cr = p->head.size > p->line && p->head.text[p->head.size - 1] == '\r';

  *eaten = count + (lf != NULL);
  *event = HTTP1_MORE;
  if (had_cr && count > 0) {
    *event = refuse(p, 400, "CR without LF in a head");
    return false;
  }
  if (lf != NULL && (count > 0 ? bytes[count - 1] != '\r' : !had_cr)) {
    *event = refuse(p, 400, "a line ends with LF alone");
    return false;
  }
  size_t checked = lf != NULL && count > 0 ? count - 1 : count;
  const char *bad = bad_byte(bytes, checked, lf != NULL);
  if (bad != NULL) {
    *event = refuse(p, 400, bad);
    return false;
  }
  if (p->head.size - p->line + *eaten > line_max(p) || p->head.size + *eaten > HTTP1_HEAD_MAX) {
    *event = too_long(p);
    return false;
  }
  if (http1_head_append(&p->head, bytes, *eaten) != 0) {
    *event = refuse(p, 500, "out of memory");
    return false;
  }
  if (lf == NULL)
    return false;
  *line = (struct http1_span){(uint32_t)p->line, (uint32_t)(p->head.size - p->line - 2)};
  p->line = p->head.size;
  return true;
}

/* The line says nothing that is looked at later. */
static void forget_line(struct http1_parser *p, struct http1_span line)
{
  p->head.size = p->line = line.at;
}

/* ---- What a line means ---- */

static enum http1_event first_line(struct http1_parser *p, struct http1_span line)
{
  if (line.size == 0 && !p->answers && !p->blank) {
    p->blank = true;
    forget_line(p, line);
    return HTTP1_MORE;
  }
  int error =
      p->answers ? http1_status_line(&p->head, line, &p->refusal) : http1_request_line(&p->head, line, &p->refusal);
  if (error != 0)
    return refused(p);
  p->state = HTTP1_FIELDS;
  return HTTP1_MORE;
}

static enum http1_event field_line(struct http1_parser *p, struct http1_span line, unsigned most)
{
  struct http1_text text = http1_head_text(&p->head, line);
  const char *colon = memchr(text.at, ':', text.size);

  if (text.at[0] == ' ' || text.at[0] == '\t')
    return refuse(p, 400, "a line that goes on with the one before");
  if (colon == NULL)
    return refuse(p, 400, "a field without a colon");
  struct http1_span name = {line.at, (uint32_t)(colon - text.at)};
  struct http1_text value = grammar_trim((struct http1_text){colon + 1, text.size - name.size - 1});
  if (!grammar_is_token(http1_head_text(&p->head, name)))
    return refuse(p, 400, "the name of a field is no token");
  if (p->head.count == most)
    return refuse(p, 431, "too many fields");
  struct http1_span span = {(uint32_t)(value.at - p->head.text), (uint32_t)value.size};
  if (http1_head_add_field(&p->head, name, span) != 0)
    return refuse(p, 500, "out of memory");
  return HTTP1_MORE;
}

static enum http1_event head_complete(struct http1_parser *p)
{
  struct http1_target target;
  int error = p->answers ? http1_framing_of_answer(&p->head, p->to_head, &p->framing, &p->refusal)
                         : http1_framing_of_request(&p->head, &p->framing, &p->refusal);

  if (error == 0 && !p->answers)
    error = http1_target_of(&p->head, &target, &p->refusal);
  if (error != 0)
    return refused(p);
  p->trailers = p->head.count;
  p->state = HTTP1_HEAD_TOLD;
  return HTTP1_HEAD;
}

static enum http1_event chunk_line(struct http1_parser *p, struct http1_span line)
{
  struct http1_text text = http1_head_text(&p->head, line);
  if (!http1_chunk_parse(text, &p->left))
    return refuse(p, 400, "no size of a chunk");
  const char *extensions = memchr(text.at, ';', text.size);
  p->overhead += extensions != NULL ? text.size - (size_t)(extensions - text.at) : 0;
  if (p->overhead > OVERHEAD_MAX)
    return refuse(p, 400, "too many chunk extensions");
  forget_line(p, line);
  p->state = p->left > 0 ? HTTP1_CHUNK : HTTP1_TRAILERS;
  return HTTP1_MORE;
}

static enum http1_event chunk_end(struct http1_parser *p, struct http1_span line)
{
  if (line.size > 0)
    return refuse(p, 400, "a chunk is longer than its size");
  forget_line(p, line);
  p->state = HTTP1_CHUNK_SIZE;
  return HTTP1_MORE;
}

static enum http1_event over(struct http1_parser *p)
{
  p->state = HTTP1_OVER;
  return HTTP1_END;
}

static enum http1_event line_came(struct http1_parser *p, struct http1_span line)
{
  switch (p->state) {
  case HTTP1_START:
    return first_line(p, line);
  case HTTP1_FIELDS:
    return line.size == 0 ? head_complete(p) : field_line(p, line, HTTP1_FIELDS_MAX);
  case HTTP1_CHUNK_SIZE:
    return chunk_line(p, line);
  case HTTP1_CHUNK_END:
    return chunk_end(p, line);
  default:
    return line.size == 0 ? over(p) : field_line(p, line, p->trailers + HTTP1_FIELDS_MAX);
  }
}

/* ---- Bodies ---- */

static enum http1_event begin_body(struct http1_parser *p)
{
  p->left = p->framing.length;
  switch (p->framing.body) {
  case HTTP1_NO_BODY:
    return over(p);
  case HTTP1_SIZED:
    p->state = HTTP1_LENGTH;
    break;
  case HTTP1_CHUNKED:
    p->state = HTTP1_CHUNK_SIZE;
    break;
  case HTTP1_TO_CLOSE:
    p->state = HTTP1_UNTIL_CLOSE;
    break;
  }
  return HTTP1_MORE;
}

static size_t take_body(struct http1_parser *p, const char *bytes, size_t size)
{
  if (p->state != HTTP1_UNTIL_CLOSE && size > p->left)
    size = (size_t)p->left;
  p->piece = (struct http1_text){bytes, size};
  p->left -= p->state != HTTP1_UNTIL_CLOSE ? size : 0;
  if (p->state == HTTP1_CHUNK && p->left == 0)
    p->state = HTTP1_CHUNK_END;
  return size;
}

/* One step. *event is HTTP1_MORE when there may be another one. */
static size_t step(struct http1_parser *p, const char *bytes, size_t size, enum http1_event *event)
{
  struct http1_span line;
  size_t eaten = 0;

  *event = HTTP1_MORE;
  switch (p->state) {
  case HTTP1_HEAD_TOLD:
    *event = begin_body(p);
    return 0;
  case HTTP1_LENGTH:
  case HTTP1_CHUNK:
  case HTTP1_UNTIL_CLOSE:
    *event = HTTP1_BODY;
    return take_body(p, bytes, size);
  case HTTP1_OVER:
    *event = HTTP1_END;
    return 0;
  case HTTP1_BROKEN:
    *event = HTTP1_REFUSED;
    return 0;
  default:
    if (take_line(p, bytes, size, &eaten, &line, event))
      *event = line_came(p, line);
    return eaten;
  }
}

/* What can be said without another byte: the head was told, or a body has come to its length. */
static bool needs_no_byte(const struct http1_parser *p)
{
  return p->state == HTTP1_HEAD_TOLD || p->state == HTTP1_OVER || p->state == HTTP1_BROKEN ||
         (p->state == HTTP1_LENGTH && p->left == 0);
}

size_t http1_parser_feed(struct http1_parser *p, const char *bytes, size_t size, enum http1_event *event)
{
  size_t eaten = 0;

  *event = HTTP1_MORE;
  while (*event == HTTP1_MORE && (eaten < size || needs_no_byte(p))) {
    if (p->state == HTTP1_LENGTH && p->left == 0)
      *event = over(p);
    else
      eaten += step(p, bytes + eaten, size - eaten, event);
  }
  return eaten;
}

bool http1_parser_skip(struct http1_parser *p, uint64_t size)
{
  if (p->state == HTTP1_UNTIL_CLOSE)
    return true;
  if (p->state != HTTP1_LENGTH || size > p->left)
    return false;
  p->left -= size;
  return true;
}

enum http1_event http1_parser_close(struct http1_parser *p)
{
  if (p->state == HTTP1_UNTIL_CLOSE || needs_no_byte(p)) {
    enum http1_event event;
    if (p->state == HTTP1_UNTIL_CLOSE)
      return over(p);
    http1_parser_feed(p, "", 0, &event);
    if (event != HTTP1_MORE)
      return event;
    return http1_parser_close(p);
  }
  if (http1_parser_is_idle(p))
    return HTTP1_MORE;
  return refuse(p, 400, "the message is cut off");
}
