/* The certificates follow their directory. On the loop's thread. */
#ifndef GATE_RENEWAL_H
#define GATE_RENEWAL_H

struct renewal;
struct tls_context;
struct uv_loop_s;

struct renewal_options {
  const char *dir;
  struct tls_context *tls;
  void (*says)(const char *sentence, void *arg);
  void *arg;
};

enum { RENEWAL_WHY_MAX = 600 };

/* Reads them for the first time, inside the call. 0, or a negative errno with a sentence in `why`. What `options`
 * points to must outlive it. */
int renewal_open(struct renewal **out, struct uv_loop_s *loop, const struct renewal_options *options,
                 char why[RENEWAL_WHY_MAX]);
/* Reads all of them anew, and says how that went. */
void renewal_now(struct renewal *r);
void renewal_close(struct renewal *r, void (*closed)(void *arg), void *arg);

#endif
