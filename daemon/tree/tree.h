/* The file tree of one daemon: what the user sees, and what is done there. On the loop's thread.
 *
 * The tree keeps nothing of its own: what it shows is asked of the parts when somebody looks. So whoever changes a part
 * tells the tree, which then adds and removes entries.
 */
#ifndef DAEMON_TREE_H
#define DAEMON_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalogue;
struct forwards;
struct journal;
struct link;
struct link_host;
struct pump_set;
struct services;
struct state;
struct taps;
struct tree;
struct tunnel;
struct tunnels;
struct uv_loop_s;

/* All of them live longer than the tree. */
struct tree_parts {
  const char *router; /* HOST:PORT */
  struct link *link;
  const struct link_host *host;
  struct catalogue *catalogue;
  struct services *services;
  struct forwards *forwards;
  struct tunnels *tunnels;
  struct taps *taps;
  const struct pump_set *pumps;
  uint64_t window, budget; /* the limits of the pumps */
  struct journal *events, *errors;
};

struct tree_options {
  const char *mountpoint;
  const char *source;
  const char *mount_options; /* NULL: none */
  bool allow_other;
  int session_fd;               /* see fs_options */
  void (*unmounted)(void *arg); /* by somebody else; tree_close is due */
  void *arg;
};

/* Mounts; nothing is answered until tree_serve. `message` gets a sentence when it fails. The strings must live as long
 * as the tree. */
int tree_open(struct tree **out, struct uv_loop_s *loop, const struct tree_parts *parts,
              const struct tree_options *options, char *message, size_t message_size);
/* Answers, from now on. What is declared is answered when `state` has kept it; NULL: at once. 0 or a negative errno. */
int tree_serve(struct tree *t, struct state *state);
/* Unmounts. Lines that wait in services and forwards are answered when those answer, also after `closed`. */
void tree_close(struct tree *t, void (*closed)(void *arg), void *arg);

/* What changed. */
void tree_service_changed(struct tree *t, const char *name);
void tree_public_changed(struct tree *t, const char *service);
void tree_forward_changed(struct tree *t, const char *name);
void tree_connection_opened(struct tree *t, struct tunnel *tunnel);
void tree_connection_closed(struct tree *t, struct tunnel *tunnel);
void tree_requests_changed(struct tree *t, const char *service);
void tree_exchange_kept(struct tree *t, const char *service, uint64_t id);
void tree_exchange_gone(struct tree *t, const char *service, uint64_t id);
void tree_link_changed(struct tree *t);
void tree_journals_changed(struct tree *t);

#endif
