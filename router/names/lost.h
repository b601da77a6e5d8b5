/* Members that are over for good, because a newer process of their identity is there or has announced it. They are kept
 * for watchers that come later. When there are too many, the oldest is forgotten, but not while its announcer is there:
 * so a member that announces others without end does not push out those of other announcers. A reader is only a number,
 * that of the latest it has seen. Pure; one thread.
 */
#ifndef ROUTER_LOST_H
#define ROUTER_LOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/header.h"

struct lost;

/* Keeps up to `max`. NULL when memory is short. */
struct lost *lost_open(size_t max);
void lost_close(struct lost *l); /* NULL is fine */

/* False: it is known already, or memory is short. */
bool lost_add(struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE]);
/* `held`: its announcer is there. Does nothing for a member that is not known. */
void lost_hold(struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE], bool held);
bool lost_has(const struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE]);

/* Points `out` at up to `max` that a reader has not seen, oldest first, good until the next is added; moves `*seen`,
 * which starts at 0. */
size_t lost_read(const struct lost *l, uint64_t *seen, const uint8_t *out[], size_t max);
/* Whether there is more to read. */
bool lost_unseen(const struct lost *l, uint64_t seen);

#endif
