/* Streams on which nothing but a last word is said: a refusal, a reset, the answer of a tombstone. Each is kept until
 * it ends, for two seconds at most, and they are bounded in number. On the loop's thread.
 */
#ifndef CARRY_FAREWELLS_H
#define CARRY_FAREWELLS_H

#include <stddef.h>

struct farewells;
struct pump_stream;
struct uv_loop_s;

enum { FAREWELLS_MAX = 1024 };

int farewells_open(struct farewells **out, struct uv_loop_s *loop);
/* Those that are left are cancelled. */
void farewells_close(struct farewells *fs, void (*closed)(void *arg), void *arg);
/* Takes a stream whose last word is due already. */
void farewells_add(struct farewells *fs, struct pump_stream *s);
size_t farewells_count(const struct farewells *fs);

#endif
