/* Host names to addresses, one family at a time, by the system's resolver, which knows what users expect
 * (nsswitch.conf, /etc/hosts, mDNS): so in threads, each of which may wait for a server that is silent. Whoever asks
 * for the same name at the same time shares one look-up. An answer, or that there is none, is remembered for as long as
 * it took to get, 5 seconds at most: what is quick is always fresh, and what is slow is not asked for all the time. On
 * the loop's thread.
 */
#ifndef DAEMON_NAMES_H
#define DAEMON_NAMES_H

#include <stdint.h>

#include "endpoints.h"

struct name;
struct names;
struct uv_loop_s;

struct name_answer {
  int status; /* 0, or an EAI_ code */
  int error;  /* 0, or a negative errno: descriptors or memory are short, which glibc tells as a name that is not there
               */
  struct endpoints found; /* with port 0 */
};

/* Part of what the caller allocates; to be left alone until it was told, or is forgotten. */
struct name_wait {
  void (*told)(struct name_wait *w, const struct name_answer *answer);

  struct name *name; /* the rest is theirs */
  struct name_wait *prev, *next;
};

int names_open(struct names **out, struct uv_loop_s *loop);
void names_close(struct names *ns, void (*closed)(void *arg), void *arg);

/* AF_INET or AF_INET6. `told` comes once, never inside. */
int names_ask(struct names *ns, struct name_wait *w, const char *host, int family);
void names_forget(struct name_wait *w);
/* The network is another one: what is remembered may not be true there. */
void names_renew(struct names *ns);

/* Pure. For how long to remember what took so long. */
uint64_t names_memory_ms(uint64_t took_ms);

#endif
