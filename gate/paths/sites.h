/* Which service a request is for: by its host, and by the longest path that its own begins with. Pure. On one thread at
 * a time. */
#ifndef GATE_SITES_H
#define GATE_SITES_H

#include "gate/http1/grammar.h"

struct sites;

struct sites *sites_create(void); /* NULL: out of memory */
void sites_free(struct sites *r);
void sites_clear(struct sites *r);
/* `host` is a name or an address without a port; `path` is "" or begins with "/". Several with the same host and path
 * share them. 0, or a negative errno. */
int sites_add(struct sites *r, const char *host, const char *path, const char *service);
/* HOST[/PATH]=SERVICE. -EINVAL as well. */
int sites_add_text(struct sites *r, const char *text);
/* Hosts LABEL.`domain` without a route are for the service LABEL. */
int sites_set_domain(struct sites *r, const char *domain);
/* How many services there are for it; the first of them is services[0]. At most `most` are told, good until the routes
 * change. `label` is filled with the one that --domain gives. */
enum { SITES_LABEL_SIZE = 64 };
size_t sites_find(const struct sites *r, struct http1_text host, struct http1_text path, const char **services,
                  size_t most, char label[SITES_LABEL_SIZE]);

#endif
