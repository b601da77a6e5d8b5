/* The declarations as text: the contents of a state file. Pure.
 *
 *     mindmeld state 1
 *     service web localhost:8080
 *     http web app.example.com/api
 *     tls web secure.example.com
 *     port web 2222
 *     proxy web v2
 *     rule web clients 203.0.113.0/24
 *     service later
 *     forward db 127.0.0.1:5432
 *     forward db unix:/run/db
 *     end 89abcdef
 *
 * A line for each service, with its target if it has one, for each of its public names, for how its target is told of
 * clients, for each line of what is said of its requests (a page as parts in base64), and for each listener of a
 * forward, in the order in which they were declared. With public hosts the version is 2, with ports, proxy lines or
 * rules it is 3. The last line has the CRC-32 (of IEEE 802.3) of all lines before it. A file that a human wrote has no
 * number there. */
#ifndef DAEMON_STATE_FORMAT_H
#define DAEMON_STATE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

#include "carry/net/address.h"
#include "proto/rules/rules.h"
#include "proto/wire/proxy_header.h"
#include "proto/wire/public_name.h"

enum { STATE_SIZE_MAX = 64 * 1024 * 1024, STATE_WHY_MAX = 1024 };

enum state_kind { STATE_SERVICE, STATE_FORWARD, STATE_PUBLIC, STATE_PROXY, STATE_RULE };

struct state_declaration {
  enum state_kind kind;
  bool has_address;
  char name[64];
  struct address address;         /* the target, or one listener */
  enum public_kind public_kind;   /* STATE_PUBLIC */
  struct public_name public_name; /* and this */
  enum proxy_version proxy;       /* STATE_PROXY */
  enum rule_kind rule;            /* STATE_RULE: */
  char *text;                     /* a line of it, or a part of the page */
  size_t text_size;
};

struct state_declarations {
  struct state_declaration *items;
  size_t count;
};

/* The limits: the file is refused what the tree would be refused. */
struct state_rules {
  size_t services, forwards;      /* so many at most */
  size_t listeners, public_names; /* of each forward; of each service */
  int (*check_name)(const char *name, const char **why);
};

/* All of it or nothing: 0, -EINVAL with a sentence in `why` (damaged, or of a newer version), -ENOMEM with one too. */
int state_parse(const char *bytes, size_t size, const struct state_rules *rules, struct state_declarations *out,
                char why[STATE_WHY_MAX]);
void state_declarations_free(struct state_declarations *declarations);

/* A text under construction; it remembers that memory was short. Begin, any number of lines, end. */
struct state_text {
  char *bytes; /* for free() */
  size_t size, room;
  bool failed;
  int version; /* that those who read it must know */
};

void state_text_begin(struct state_text *text);
void state_text_service(struct state_text *text, const char *name, const struct address *target); /* NULL: none */
/* After the service of that name. */
void state_text_public(struct state_text *text, const char *service, const struct public_name *name);
void state_text_proxy(struct state_text *text, const char *service, enum proxy_version proxy);
void state_text_rules(struct state_text *text, const char *service, const struct rules *rules);
void state_text_forward(struct state_text *text, const char *name, const struct address *listener);
/* 0, or -ENOMEM, and freed. */
int state_text_end(struct state_text *text);

#endif
