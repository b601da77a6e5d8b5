/* Why a message is refused, and the status of the answer. Pure. */
#ifndef PROTO_HTTP1_REFUSAL_H
#define PROTO_HTTP1_REFUSAL_H

struct http1_refusal {
  unsigned status; /* 400, 405, 413, 414, 431, 500, 501 or 505; of an answer it is always 502 */
  const char *why; /* a phrase, for logs: "a line ends with LF alone" */
};

#endif
