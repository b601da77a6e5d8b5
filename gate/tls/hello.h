/* The first message of a TLS client, read as far as it takes to know for which host the client has come. Pure. Any
 * thread. */
#ifndef GATE_HELLO_H
#define GATE_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  HELLO_MAX = 16 * 1024,  /* the longest ClientHello that is read */
  HELLO_PEEK = 32 * 1024, /* with the headers of its records: more than that is none */
  HELLO_NAME_SIZE = 254,  /* with the NUL at the end */
};

enum hello {
  HELLO_MORE,     /* it is not complete */
  HELLO_NAMED,    /* it has a server name */
  HELLO_NAMELESS, /* it has none */
  HELLO_BAD,      /* it is no ClientHello, or no proper one */
};

/* `bytes` is all that has come, from the first byte on. The name is in lower case, and has no final dot. */
enum hello hello_read(const uint8_t *bytes, size_t size, char name[HELLO_NAME_SIZE]);
/* The contents of the extension server_name. False: it is malformed, or no host name. */
bool hello_read_server_name(const uint8_t *bytes, size_t size, char name[HELLO_NAME_SIZE]);

/* What a client is told in place of an answer to its hello: the alert internal_error. */
enum { HELLO_REFUSAL_SIZE = 7 };
extern const char hello_refusal[HELLO_REFUSAL_SIZE];

#endif
