/* Which service a request is for: by its host, and by the longest path that its own begins with. Pure. On one thread at
 * a time. */
#ifndef GATE_ROUTES_H
#define GATE_ROUTES_H

#include "gate/http1/grammar.h"

struct routes;

struct routes *routes_create(void); /* NULL: out of memory */
void routes_free(struct routes *r);
void routes_clear(struct routes *r);
/* `host` is a name or an address without a port; `path` is "" or begins with "/". Several with the same host and path
 * share them. 0, or a negative errno. */
int routes_add(struct routes *r, const char *host, const char *path, const char *service);
/* HOST[/PATH]=SERVICE. -EINVAL as well. */
int routes_add_text(struct routes *r, const char *text);
/* Hosts LABEL.`domain` without a route are for the service LABEL. */
int routes_set_domain(struct routes *r, const char *domain);
/* How many services there are for it; the first of them is services[0]. At most `most` are told, good until the routes
 * change. `label` is filled with the one that --domain gives. */
enum { ROUTES_LABEL_SIZE = 64 };
size_t routes_find(const struct routes *r, struct http1_text host, struct http1_text path, const char **services,
                   size_t most, char label[ROUTES_LABEL_SIZE]);

#endif
