#include "first_line.h"

#include <string.h>

static int refuse(struct http1_refusal *why, unsigned status, const char *phrase)
{
  *why = (struct http1_refusal){status, phrase};
  return -1;
}

/* -1: no version at all; else whether it is ours. */
static int version(struct http1_text t, unsigned *minor)
{
  if (t.size != 8 || memcmp(t.at, "HTTP/", 5) != 0 || t.at[6] != '.')
    return -1;
  if (t.at[5] < '0' || t.at[5] > '9' || t.at[7] < '0' || t.at[7] > '9')
    return -1;
  *minor = (unsigned)(t.at[7] - '0');
  return t.at[5] == '1' && *minor <= 1;
}

static int check_target(struct http1_text target, struct http1_refusal *why)
{
  if (target.size == 0)
    return refuse(why, 400, "no target");
  if (target.size > HTTP1_TARGET_MAX)
    return refuse(why, 414, "the target is too long");
  for (size_t i = 0; i < target.size; i++)
    if (!grammar_is_target_character((unsigned char)target.at[i]))
      return refuse(why, 400, "a character that no target has");
  return 0;
}

int http1_request_check(const struct http1_head *h, struct http1_refusal *why)
{
  struct http1_text method = http1_head_text(h, h->method);
  if (!grammar_is_token(method))
    return refuse(why, 400, "the method is no token");
  if (method.size > HTTP1_METHOD_MAX)
    return refuse(why, 501, "the method is too long");
  if (method.size == 7 && memcmp(method.at, "CONNECT", 7) == 0)
    return refuse(why, 405, "CONNECT");
  return check_target(http1_head_text(h, h->target), why);
}

int http1_request_line(struct http1_head *h, struct http1_span line, struct http1_refusal *why)
{
  const struct http1_text text = http1_head_text(h, line);
  const char *first = memchr(text.at, ' ', text.size);
  const char *last = memrchr(text.at, ' ', text.size);

  if (first == NULL || first == last)
    return refuse(why, 400, "no request line of HTTP/1");
  h->method = (struct http1_span){line.at, (uint32_t)(first - text.at)};
  h->target = (struct http1_span){line.at + (uint32_t)(first + 1 - text.at), (uint32_t)(last - first - 1)};
  if (http1_request_check(h, why) != 0)
    return -1;
  int ours = version((struct http1_text){last + 1, text.size - (size_t)(last + 1 - text.at)}, &h->minor);
  if (ours != 1)
    return refuse(why, ours < 0 ? 400 : 505, "neither HTTP/1.0 nor HTTP/1.1");
  return 0;
}

int http1_status_line(struct http1_head *h, struct http1_span line, struct http1_refusal *why)
{
  struct http1_text text = http1_head_text(h, line);

  if (text.size < 12 || version((struct http1_text){text.at, 8}, &h->minor) != 1 || text.at[8] != ' ')
    return refuse(why, 502, "no status line of HTTP/1");
  for (size_t i = 9; i < 12; i++) {
    if (text.at[i] < '0' || text.at[i] > '9')
      return refuse(why, 502, "the status is no number");
    h->status = h->status * 10 + (unsigned)(text.at[i] - '0');
  }
  if (h->status < 100 || h->status > 599 || (text.size > 12 && text.at[12] != ' '))
    return refuse(why, 502, "the status is none");
  if (text.size > 13)
    h->reason = (struct http1_span){line.at + 13, (uint32_t)text.size - 13};
  return 0;
}
