/* What the frames of a client cost us, by their headers alone: those that are cheap for it and not for us are counted
 * against a budget, which time and honest data fill up again. Pure. On one thread at a time. */
#ifndef GATE_HTTP2_FRAMES_H
#define GATE_HTTP2_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HTTP2_BUDGET = 1000,        /* at most */
  HTTP2_BUDGET_A_SECOND = 50, /* that come back */
  HTTP2_COST_RESET = 5,       /* of a stream; other frames cost 1 or nothing */
};

enum http2_verdict { HTTP2_FRAMES_FINE, HTTP2_FRAMES_WRONG, HTTP2_FRAMES_TOO_MANY };

struct http2_frames {
  size_t preface;     /* bytes of it that are to come */
  uint8_t header[13]; /* of the present frame; of PRIORITY also on whom it depends */
  size_t have;        /* of it */
  size_t left;        /* bytes of the frame's payload that are to come */
  bool fields, open;  /* it has fields; more of them come in another one */
  unsigned budget;
  uint64_t at; /* ms, when it was filled up */
};

void http2_frames_init(struct http2_frames *f, uint64_t now);
/* WRONG: what nghttp2 lets pass, since it follows no such priorities. */
enum http2_verdict http2_frames_see(struct http2_frames *f, const char *bytes, size_t size, uint64_t now);
/* A head, or the preface, has begun to come, and is not complete. */
bool http2_frames_in_head(const struct http2_frames *f);
/* False: the budget is overdrawn. */
bool http2_frames_spend(struct http2_frames *f, unsigned cost);
void http2_frames_earn(struct http2_frames *f, size_t bytes);

#endif
