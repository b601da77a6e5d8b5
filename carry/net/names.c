/* A name is here as long as somebody waits for it, it is looked up, or its answer is remembered.
 *
 *     asked --> LOOKING_UP --answer--> REMEMBERED --its time is over--> gone
 *
 * When nobody waits for it any more it is looked up nevertheless: that cannot be stopped, and whoever asks next shares
 * it. Only at the end is it forgotten.
 */
#include "names.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#include "address.h"
#include "workers.h"

enum { THREADS = 64, MEMORY_MAX_MS = 5000 };

enum name_state { LOOKING_UP, REMEMBERED };

struct name {
  struct work work;
  struct names *names;
  char host[ADDRESS_HOST_MAX + 1];
  int family;
  enum name_state state;
  bool old; /* the network was another one when it was asked for */
  uint64_t began, until;
  struct name_wait *waits;
  struct name_answer answer;
  struct name *prev, *next;
};

struct names {
  uv_loop_t *loop;
  struct workers *workers;
  uv_timer_t soon; /* somebody waits for what is remembered */
  struct name *all;
  bool telling;  /* what is told may ask again */
  unsigned open; /* of workers and timer */
  void (*closed)(void *arg);
  void *closed_arg;
};

uint64_t names_memory_ms(uint64_t took_ms)
{
  return took_ms < MEMORY_MAX_MS ? took_ms : MEMORY_MAX_MS;
}

/* ---- In a thread. ---- */

static void collect(struct endpoints *found, const struct addrinfo *list)
{
  for (const struct addrinfo *ai = list; ai != NULL && found->count < ENDPOINTS_FAMILY_MAX; ai = ai->ai_next) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)ai->ai_addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)ai->ai_addr;

    if (ai->ai_family == AF_INET)
      endpoints_add_v4(found, &v4->sin_addr, 0);
    else if (ai->ai_family == AF_INET6)
      endpoints_add_v6(found, &v6->sin6_addr, v6->sin6_scope_id, 0);
  }
}

static int shortage(void)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS ? -errno : 0;
  close(fd);
  return 0;
}

static void look_up(struct work *w)
{
  struct name *n = (struct name *)w;
  const struct addrinfo hints = {.ai_family = n->family, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;

  n->answer.status = getaddrinfo(n->host, NULL, &hints, &list);
  if (n->answer.status == EAI_SYSTEM && errno != 0)
    n->answer.error = -errno;
  if (n->answer.status == 0) {
    collect(&n->answer.found, list);
    freeaddrinfo(list);
  } else if (n->answer.error == 0) {
    n->answer.error = n->answer.status == EAI_MEMORY ? -ENOMEM : shortage();
  }
}

/* ---- On the loop. ---- */

static void discard(struct name *n)
{
  DL_DELETE(n->names->all, n);
  free(n);
}

static void lost(struct work *w)
{
  free(w);
}

static void tell(struct name *n)
{
  struct name_wait *w;

  n->names->telling = true;
  while ((w = n->waits) != NULL) {
    DL_DELETE(n->waits, w);
    w->name = NULL;
    w->told(w, &n->answer);
  }
  n->names->telling = false;
}

static void looked_up(struct work *w, int error)
{
  struct name *n = (struct name *)w;
  uint64_t now = uv_hrtime() / 1000000;

  if (error != 0) {
    n->answer.status = EAI_AGAIN;
    n->answer.error = error;
  }
  n->until = n->answer.error != 0 || n->old ? now : now + names_memory_ms(now - n->began);
  n->state = REMEMBERED;
  tell(n);
}

static bool is_over(const struct name *n)
{
  return n->state == REMEMBERED && n->waits == NULL && uv_hrtime() / 1000000 >= n->until;
}

static struct name *find(struct names *ns, const char *host, int family)
{
  struct name *found = NULL, *n, *next;

  DL_FOREACH_SAFE(ns->all, n, next)
  {
    if (is_over(n)) {
      if (!ns->telling)
        discard(n);
    } else if (n->family == family && !n->old && strcasecmp(n->host, host) == 0) {
      found = n;
    }
  }
  return found;
}

static int add(struct names *ns, const char *host, int family, struct name **out)
{
  struct name *n = calloc(1, sizeof *n);

  if (n == NULL)
    return -ENOMEM;
  n->work = (struct work){.run = look_up, .done = looked_up, .lost = lost};
  n->names = ns;
  n->family = family;
  n->began = uv_hrtime() / 1000000;
  snprintf(n->host, sizeof n->host, "%s", host);
  int error = workers_start(ns->workers, &n->work);
  if (error != 0) {
    free(n);
    return error;
  }
  DL_APPEND(ns->all, n);
  *out = n;
  return 0;
}

static void tell_soon(uv_timer_t *timer)
{
  struct names *ns = timer->data;
  struct name *n, *next;

  DL_FOREACH_SAFE(ns->all, n, next)
  if (n->state == REMEMBERED)
    tell(n);
}

int names_ask(struct names *ns, struct name_wait *w, const char *host, int family)
{
  struct name *n = find(ns, host, family);
  int error = n == NULL ? add(ns, host, family, &n) : 0;

  if (error != 0)
    return error;
  w->name = n;
  DL_APPEND(n->waits, w);
  if (n->state == REMEMBERED)
    uv_timer_start(&ns->soon, tell_soon, 0, 0);
  return 0;
}

void names_forget(struct name_wait *w)
{
  if (w->name != NULL)
    DL_DELETE(w->name->waits, w);
  w->name = NULL;
}

void names_renew(struct names *ns)
{
  for (struct name *n = ns->all; n != NULL; n = n->next)
    n->old = true;
}

static void part_closed(struct names *ns)
{
  void (*closed)(void *) = ns->closed;
  void *arg = ns->closed_arg;

  if (--ns->open > 0)
    return;
  free(ns);
  if (closed != NULL)
    closed(arg);
}

static void workers_closed(void *arg)
{
  part_closed(arg);
}

static void timer_closed(uv_handle_t *handle)
{
  part_closed(handle->data);
}

int names_open(struct names **out, struct uv_loop_s *loop)
{
  struct names *ns = calloc(1, sizeof *ns);

  if (ns == NULL)
    return -ENOMEM;
  int error = workers_open(&ns->workers, loop, THREADS);
  if (error != 0) {
    free(ns);
    return error;
  }
  ns->loop = loop;
  uv_timer_init(loop, &ns->soon);
  ns->soon.data = ns;
  ns->open = 2;
  *out = ns;
  return 0;
}

void names_close(struct names *ns, void (*closed)(void *arg), void *arg)
{
  struct name *n, *next;

  ns->closed = closed;
  ns->closed_arg = arg;
  DL_FOREACH_SAFE(ns->all, n, next)
  {
    DL_DELETE(ns->all, n);
    if (n->state == LOOKING_UP)
      workers_forget(&n->work);
    else
      free(n);
  }
  workers_close(ns->workers, workers_closed, ns);
  uv_close((uv_handle_t *)&ns->soon, timer_closed);
}
