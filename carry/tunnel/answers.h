/* The streams that answer a token. The router sends a token when it has a dial or an attachment for us, and no parked
 * stream of ours. Each stream waits a moment for that dial or attachment. On the loop's thread.
 */
#ifndef CARRY_ANSWERS_H
#define CARRY_ANSWERS_H

struct answers;
struct carry_host;
struct header;
struct pump_stream;
struct uv_loop_s;

struct answers_events {
  /* As parked_taken_cb. */
  void (*taken)(struct pump_stream *s, const struct header *h, void *arg);
  /* The same of one of the first version, for the service whose token it was. */
  void (*taken_original)(struct pump_stream *s, const char *service, void *arg);
  /* Nothing came of it; `text` is a phrase. */
  void (*failed)(const char *service, const char *text, void *arg);
};

int answers_open(struct answers **out, struct uv_loop_s *loop, const struct carry_host *host,
                 const struct answers_events *events, void *arg);
/* Those that still wait are closed. */
void answers_close(struct answers *as, void (*closed)(void *arg), void *arg);

/* Shows the token that came for `service`. */
void answers_start(struct answers *as, const char *service, const char *token);

#endif
