/* TLS for those who come to us: a filter between a non-blocking socket and bytes. On one thread. */
#ifndef GATE_TLS_H
#define GATE_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct certs;
struct tls;
struct tls_context;

/* HTTP/2 is offered before HTTP/1.1. 0, or a negative errno. */
int tls_context_create(struct tls_context **out);
void tls_context_free(struct tls_context *c); /* after all of its connections; NULL is fine */
/* Takes the set over for the handshakes to come; that of before is freed. */
void tls_context_use(struct tls_context *c, struct certs *certs);
/* The one in use; NULL: none yet. */
const struct certs *tls_context_certs(const struct tls_context *c);
/* Session tickets that were given before are good for nothing any more. 0, or a negative errno: then they still are. */
int tls_context_renew_tickets(struct tls_context *c);

enum tls_result {
  TLS_DONE,      /* some bytes */
  TLS_WANTS_IN,  /* nothing, until the socket can be read */
  TLS_WANTS_OUT, /* nothing, until the socket can be written */
  TLS_ENDED,     /* the other side says no more */
  TLS_FAILED,    /* it is broken, which the other side has been told */
};

/* NULL: out of memory. The socket stays the caller's. */
struct tls *tls_open(struct tls_context *c, int fd);
void tls_close(struct tls *t); /* NULL is fine */
/* The handshake comes first. At least one byte. */
enum tls_result tls_read(struct tls *t, char *into, size_t size, size_t *got);
/* What was not taken must come again, at the same place in the stream. */
enum tls_result tls_write(struct tls *t, const char *bytes, size_t size, size_t *put);
/* Says its end, as far as the socket takes it. */
void tls_shut(struct tls *t);
/* Whether the handshake is over. */
bool tls_is_open(const struct tls *t);
/* Whether HTTP/2 was agreed upon in it. */
bool tls_speaks_http2(const struct tls *t);

#endif
