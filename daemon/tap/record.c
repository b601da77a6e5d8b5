#include "record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/http1/head.h"

/* Anybody may have written it. */
static void put(char *out, size_t room, struct http1_text text)
{
  size_t size = text.size < room ? text.size : room - 1;
  for (size_t i = 0; i < size; i++)
    out[i] = (char)(text.at[i] > ' ' && text.at[i] <= '~' ? text.at[i] : '?');
  out[size] = '\0';
  if (size < text.size)
    memcpy(out + size - 3, "...", 3);
}

void record_begin(struct record *r, uint64_t id, const struct http1_head *request, uint64_t now_ms)
{
  unsigned field = http1_head_find(request, "x-forwarded-for", 0);
  struct http1_text client = {"-", 1};
  if (field < request->count) {
    struct http1_text list = http1_head_value(request, field);
    grammar_next(&list, &client);
  }
  *r = (struct record){.id = id, .at = time(NULL), .started_ms = now_ms};
  put(r->method, sizeof r->method, http1_head_text(request, request->method));
  put(r->url, sizeof r->url, http1_head_text(request, request->target));
  put(r->client, sizeof r->client, client);
}

void record_end(struct record *r, uint64_t request_bytes, uint64_t answer_bytes, bool whole, uint64_t now_ms)
{
  r->request_bytes = request_bytes;
  r->answer_bytes = answer_bytes;
  r->whole = whole;
  r->ms = now_ms - r->started_ms;
}

void record_line(const struct record *r, char out[RECORD_LINE_SIZE])
{
  char status[8] = "-";
  if (r->status != 0)
    snprintf(status, sizeof status, "%u", r->status % 1000);
  snprintf(out, RECORD_LINE_SIZE, "%" PRIu64 " %s %s %s %" PRIu64 " %" PRIu64 " %s", r->id, r->method, r->url, status,
           r->ms, r->answer_bytes, r->client);
}
