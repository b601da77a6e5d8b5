/* What the owner of a service says of the requests that gates pass on to it: a text for each kind, as its file in the
 * tree has it. Pure. On one thread at a time.
 */
#ifndef PROTO_RULES_H
#define PROTO_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule_kind {
  RULE_CLIENTS, /* who may come, by address */
  RULE_HEADERS, /* fields that requests get */
  RULE_USERS,   /* who is let in, by name and hashed secret */
  RULE_OFFLINE, /* the page for when nobody serves: any bytes; all others are lines that end in a newline */
  RULE_KINDS,
};

enum {
  RULES_MAX = 64 * 1024, /* bytes, of one service in all */
  RULES_PACKED_MAX = 64 * 1024 + 256,
  RULE_LINE_SIZE = 4096 + 1, /* with the NUL at the end */
  RULE_USER_MAX = 64,        /* the name of a user */
  RULE_SECRET_MAX = 256,
};

/* All zero: nothing is said. */
struct rules_text {
  char *at;
  size_t size;
};
struct rules {
  struct rules_text of[RULE_KINDS];
};

/* "clients" and so on: what the file is called. */
const char *rules_word(enum rule_kind kind);
/* RULE_KINDS: there is none. */
enum rule_kind rules_kind(const char *word);

size_t rules_size(const struct rules *r);
/* Adds a line, as rule_line_check gives it; `replace`: it takes the place of all. Of what can be there only once (an
 * address, the name of a field, a user) the newer one stays, in place of the older. 0, -ENOSPC (RULES_MAX), -ENOMEM. */
int rules_add(struct rules *r, enum rule_kind kind, const char *line, bool replace);
/* All of a kind; `size` 0: none. 0, -ENOSPC, -ENOMEM. */
int rules_set(struct rules *r, enum rule_kind kind, const void *bytes, size_t size);
void rules_free(struct rules *r);

/* The next line from *at on, without its newline; NULL: there is none. */
const char *rules_line(const struct rules_text *text, size_t *at, size_t *size);

/* As the message Rules. 0 and memory for free(), which is NULL when nothing is said; or -ENOMEM. */
int rules_pack(const struct rules *r, uint8_t **out, size_t *size);
/* 0, -EINVAL (it is none), -ENOMEM. The lines are not checked. */
int rules_unpack(struct rules *out, const uint8_t *bytes, size_t size);

#endif
