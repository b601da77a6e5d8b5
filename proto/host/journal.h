/* A bounded text of lines, newest last: when it would grow beyond its capacity, the older half of its lines goes at
 * once. On the loop's thread. */
#ifndef PROTO_JOURNAL_H
#define PROTO_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

struct journal;

struct journal *journal_create(size_t capacity); /* NULL when memory is short */
void journal_free(struct journal *j);
/* Adds "2026-01-31T12:00:00Z TEXT\n" (UTC, seconds; what is no UTF-8 in TEXT, and control characters, become '?'), and,
 * if the journal echoes, prints it to stderr with `label` and, unless that is systemd's journal, the time. Never fails:
 * a line over 1024 bytes is cut. */
void journal_add(struct journal *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
void journal_echo(struct journal *j, const char *label); /* NULL: not */
/* Valid until the next journal_add. */
const char *journal_bytes(const struct journal *j, size_t *size);

#endif
