/* The meeting room: streams that wait for their partners, and those that have one. Each part belongs to the file that
 * is named beside it. One thread.
 *
 * dial.c and parked.c call each other: a dial takes a parked stream, and a stream that parks takes a dial that waits.
 */
#ifndef ROUTER_MEET_H
#define ROUTER_MEET_H

struct arrivals;
struct callers;
struct door;
struct meet;
struct names;
struct parking;
struct raws;
struct router_limits;
struct tokens;
struct trail;
struct waiting;

/* Hears the events of `n`. `over` runs after each connection's end. NULL when memory is short. */
struct meet *meet_open(struct door *d, struct names *n, void (*over)(void *arg), void *arg);
/* No stream may be there any more. */
void meet_close(struct meet *m); /* NULL is fine */

struct door *meet_door(const struct meet *m);
/* The door's. */
struct callers *meet_callers(const struct meet *m);
const struct router_limits *meet_limits(const struct meet *m);

struct names *meet_names(const struct meet *m);
struct arrivals *meet_arrivals(const struct meet *m); /* arrival.c */
struct parking *meet_parking(const struct meet *m);   /* parked.c */
struct tokens *meet_tokens(const struct meet *m);     /* tokens.c */
struct waiting *meet_waiting(const struct meet *m);   /* waiting.c */
void meet_set_raws(struct meet *m, struct raws *all); /* raws.c; NULL: there are no raw streams */
struct trail **meet_trails(struct meet *m);           /* trails.c; points to NULL until the first is told */

#endif
