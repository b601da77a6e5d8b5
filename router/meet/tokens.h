/* One-use tokens: 32 random bytes as 64 hex digits, good for a while, and bounded in number. A token stands for what
 * its maker put beside it. Pure: the clock is handed in; one thread.
 */
#ifndef ROUTER_TOKENS_H
#define ROUTER_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "router/door/table.h"
#include "router/names/registry.h"

enum { TOKEN_DIGITS = 64 };

struct caller;
struct dial;
struct tokens;

struct token {
  char text[TOKEN_DIGITS + 1];
  char service[REGISTRY_NAME_MAX + 1]; /* a forward may be connected to this, by name */
  struct dial *dial;                   /* or: this waits for its service. NULL: a forward's token */
  struct caller *owner;                /* to whom it was given */
  uint64_t expires;                    /* ms */
  UT_hash_handle hh;
  struct token *prev, *next; /* by age */
};

/* `lost` runs for each token that expires, before it is freed. NULL when memory is short. */
struct tokens *tokens_open(size_t max, uint64_t lifetime_ms, void (*lost)(struct token *t, void *arg), void *arg);
void tokens_close(struct tokens *ts); /* what is left expires. NULL is fine */

/* Lets go of what is over by `now`; the functions below do so too. */
void tokens_expire(struct tokens *ts, uint64_t now);

/* A new token, good from `now` on; the rest of it is zero. -ENOSPC, -ENOMEM, or what getrandom failed with. */
int tokens_make(struct tokens *ts, uint64_t now, struct token **out);
/* NULL: never made, used, or expired. */
struct token *tokens_find(struct tokens *ts, uint64_t now, const char *text);
/* Uses it up: the token is freed, without `lost`. */
void tokens_spend(struct tokens *ts, struct token *t);
size_t tokens_count(const struct tokens *ts);

#endif
