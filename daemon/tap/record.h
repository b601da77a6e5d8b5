/* What is known of one exchange: a line of the log. */
#ifndef DAEMON_RECORD_H
#define DAEMON_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct http1_head;

/* With a NUL, and cut to that: what is longer ends in "...". No spaces, and nothing but printable ASCII. */
enum { RECORD_METHOD_SIZE = 33, RECORD_URL_SIZE = 512, RECORD_CLIENT_SIZE = 64 };

struct record {
  uint64_t id;
  time_t at; /* its beginning */
  uint64_t started_ms, ms;
  unsigned status;                      /* 0: none */
  uint64_t request_bytes, answer_bytes; /* of the bodies */
  bool whole;                           /* both messages came to their ends */
  char method[RECORD_METHOD_SIZE];
  char url[RECORD_URL_SIZE];
  char client[RECORD_CLIENT_SIZE]; /* "-": unknown */
};

/* `request` is its head; the client is the first one of X-Forwarded-For. */
void record_begin(struct record *r, uint64_t id, const struct http1_head *request, uint64_t now_ms);
void record_end(struct record *r, uint64_t request_bytes, uint64_t answer_bytes, bool whole, uint64_t now_ms);

enum { RECORD_LINE_SIZE = 768 };

/* "ID METHOD URL STATUS MS BYTES CLIENT" */
void record_line(const struct record *r, char out[RECORD_LINE_SIZE]);

#endif
