/* All that carrying connections takes, for a program without names of its own: a link to the router, tunnels on it, and
 * what both rest on. Who this process is lives as long as it does, and nothing is written to the disk. On the loop's
 * thread.
 */
#ifndef CARRY_CARRIER_H
#define CARRY_CARRIER_H

#include <stddef.h>

struct carrier;
struct link_gate;
struct link_route;
struct settings;
struct tunnels;
struct tunnels_events;
struct uv_loop_s;

enum { CARRIER_WHY_MAX = 512 };

struct carrier_events {
  const struct tunnels_events *tunnels;
  /* The router does not let us in, and never did; `why` is a sentence. It is asked again all the same. May come again.
   */
  void (*refused)(const char *why, void *arg);
  /* There is a way to the router since now, or it has just said that it does not let us in. May be NULL. */
  void (*reached)(void *arg);
  /* A gate's: the public names of all services, at each connection to the router, and whenever they are other ones. The
   * list is sorted by host, path and service, and good until this returns. */
  void (*routes)(const struct link_route *all, size_t count, void *arg);
};

/* `gate`: NULL, or this is one. Reads the files that the settings name, which may block, and begins to connect. 0, or a
 * negative errno with a sentence in `why`. The settings are not needed any more when it returns; the loop must run
 * either way. */
int carrier_open(struct carrier **out, struct uv_loop_s *loop, const struct settings *settings,
                 const struct link_gate *gate, const struct carrier_events *events, void *arg,
                 char why[CARRIER_WHY_MAX]);
struct tunnels *carrier_tunnels(struct carrier *c);
/* Runs the loop as home_run does. What is left when it returns is uv_run's; the carrier may be gone by then. */
void carrier_run(struct carrier *c);
/* Resets every connection. */
void carrier_close(struct carrier *c, void (*closed)(void *arg), void *arg);

#endif
