/* What all rooms of the router share: its queue, its limits, its callers and its log, and whether it takes new work.
 * One thread. */
#ifndef ROUTER_DOOR_H
#define ROUTER_DOOR_H

#include <stdint.h>

#include "limits.h"

struct replies;
struct callers;
struct door;
struct rpc_queue;

struct door_config {
  struct rpc_queue *queue;
  struct router_limits limits;
  void (*log)(void *arg, const char *line); /* NULL: nothing is logged */
  void *log_arg;
};

enum door_phase { DOOR_SERVING, DOOR_DRAINING, DOOR_ENDING };

/* Copies `config`. NULL when memory is short. */
struct door *door_open(const struct door_config *config);
/* No caller may hold anything any more. */
void door_close(struct door *d); /* NULL is fine */

struct rpc_queue *door_queue(const struct door *d);
const struct router_limits *door_limits(const struct door *d);
struct callers *door_callers(const struct door *d);
struct replies *door_replies(const struct door *d);
/* Since it was opened, in ms. */
uint64_t door_age(const struct door *d);

enum door_phase door_phase(const struct door *d);
void door_enter(struct door *d, enum door_phase phase);

/* Logs an event of the router's own. */
__attribute__((format(printf, 2, 3))) void door_log(struct door *d, const char *format, ...);
/* Logs an event that a caller causes. When there are too many at once, only their number is logged. */
__attribute__((format(printf, 2, 3))) void door_report(struct door *d, const char *format, ...);
/* Logs the number of those that were left out. */
void door_report_left_out(struct door *d);

uint64_t door_now(void); /* ms */

#endif
