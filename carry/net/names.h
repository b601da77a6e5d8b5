/* Host names to addresses, one family at a time, by the system's resolver, which knows what users expect
 * (nsswitch.conf, /etc/hosts, mDNS): so in threads, each of which may wait for a silent server. Questions for the same
 * name at the same time share one look-up. An answer, also a negative one, is remembered for as long as it took to get,
 * 5 seconds at most: quick answers are always fresh, and slow ones are not asked for all the time. On the loop's
 * thread.
 */
#ifndef CARRY_NAMES_H
#define CARRY_NAMES_H

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

/* Part of a structure of the caller's. It must not be touched until `told` came, or until it is forgotten. */
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
/* The machine is in another network, where remembered answers may be wrong. */
void names_renew(struct names *ns);

/* Pure. How long to remember an answer that took `took_ms`. */
uint64_t names_memory_ms(uint64_t took_ms);

#endif
