/* One line of what is said of requests, as it is written, and as it is kept. Pure. Any thread. */
#ifndef PROTO_RULE_LINE_H
#define PROTO_RULE_LINE_H

#include "rules.h"

struct http1_text;

/* Writes the line as it is kept. A user's is kept with its secret hashed, and only taken so. 0, or -EINVAL, and then
 * *why is a static phrase that says what to write. */
int rule_line_check(enum rule_kind kind, const char *text, char out[RULE_LINE_SIZE], const char **why);

/* The two sides of the colon, for headers and users. False: it has none. */
bool rule_line_split(const char *line, size_t size, struct http1_text *name, struct http1_text *value);

/* Of users: whether the name is one, and the secret can be hashed or is hashed already (*hashed). 0 or -EINVAL. */
int rule_line_user(const char *text, bool *hashed, const char **why);
/* Whether it is a hash by Argon2id that costs no more time and memory than ours do. */
bool rule_line_is_hash(struct http1_text secret);

#endif
