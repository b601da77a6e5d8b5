/* The public names of services: a host, for HTTP perhaps with the beginning of a path; or a TCP port of the gates.
 * Pure; any thread. */
#ifndef PROTO_PUBLIC_NAME_H
#define PROTO_PUBLIC_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PUBLIC_HOST_SIZE = 254, /* with the NUL at the end */
  PUBLIC_PATH_SIZE = 129,
  PUBLIC_LABEL_MAX = 63,
  PUBLIC_TEXT_SIZE = PUBLIC_HOST_SIZE + PUBLIC_PATH_SIZE,
  PUBLIC_NAMES_MAX = 16,   /* of one service */
  PUBLIC_GRANTED_MAX = 32, /* while those before are replaced */
};

enum public_kind { PUBLIC_HTTP, PUBLIC_TLS, PUBLIC_PORT };

struct public_name {
  char host[PUBLIC_HOST_SIZE]; /* in lower case; without a dot: a label below the router's domain, or "auto". Of a port
                                  a colon and its number, where 0 is one that the router chooses */
  char path[PUBLIC_PATH_SIZE]; /* "", or "/api": without a slash at its end */
  bool tls;                    /* passed on unread, which has no path */
  bool per_client;             /* connections are not shared by clients; no part of the name */
};

/* Reads HOST or HOST/PATH. 0, or -EINVAL, and then *why is a static phrase that says what to write. */
int public_name_parse(const char *text, bool tls, struct public_name *out, const char **why);
/* Reads the number of a port, or 0. As above. */
int public_port_parse(const char *text, struct public_name *out, const char **why);
/* Reads a name of either kind as it is told by a message, where a port has its colon. As above. */
int public_name_told(const char *text, bool tls, struct public_name *out, const char **why);
/* As it can be read again by the first two. Returns `out`. */
const char *public_name_format(const struct public_name *name, char out[PUBLIC_TEXT_SIZE]);
bool public_name_equal(const struct public_name *a, const struct public_name *b);
/* What passes by it. */
enum public_kind public_name_kind(const struct public_name *name);
/* Of PUBLIC_PORT. */
uint16_t public_name_port(const struct public_name *name);
void public_name_set_port(struct public_name *name, uint16_t port);
/* Whether it is one label, which the router completes. */
bool public_name_is_label(const struct public_name *name);
/* Whether the router chooses the label. */
bool public_name_is_auto(const struct public_name *name);

/* One label, or labels with dots between, in lower case. */
bool public_host_valid(const char *host, size_t size);

#endif
