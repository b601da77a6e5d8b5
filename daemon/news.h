/* The sentences in which the daemon tells what happens: lines of `events`, and of `errors` too where something failed.
 */
#ifndef DAEMON_NEWS_H
#define DAEMON_NEWS_H

#include <stdbool.h>
#include <stddef.h>

struct address;
struct daemon;
struct forward;
struct link;
struct service;
struct tunnel;

/* A line in events. */
void news_add(struct daemon *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, in errors too: a whole sentence. */
void news_add_failure(struct daemon *d, const char *sentence);

void news_credentials_changed(struct daemon *d, bool usable);
void news_credentials_unchanged(struct daemon *d);
void news_credentials_bad(struct daemon *d, const char *why);

void news_link_state(struct daemon *d, const struct link *l, bool connected, const char *why);
void news_link_renewed(struct daemon *d);
void news_link_not_renewed(struct daemon *d, const char *why);
void news_link_draining(struct daemon *d);
void news_link_superseded(struct daemon *d);
void news_name_hidden(struct daemon *d, const char *name);
/* The router does not let us in, and so many connections wait for it. */
void news_stranded(struct daemon *d, size_t connections);

void news_service_changed(struct daemon *d, const struct service *s, const char *why);
void news_service_withdrawn(struct daemon *d, const struct service *s);
void news_service_refused(struct daemon *d, const struct service *s, int error, const char *why);
void news_service_public(struct daemon *d, const struct service *s, int error, const char *sentence);

void news_forward_listening(struct daemon *d, const struct forward *f, const struct address *address);
void news_forward_silent(struct daemon *d, const struct forward *f, const struct address *address, int error);
void news_forward_absent(struct daemon *d, const struct forward *f, const struct address *address, const char *why);
void news_forward_starved(struct daemon *d, const struct forward *f, int error);

/* What others cause, connection by connection: some are left out when there are too many. */
void news_answer_failed(struct daemon *d, const char *service, const char *text);
void news_tunnel_detached(struct daemon *d, struct tunnel *t, const char *why);
void news_tunnel_resumed(struct daemon *d, struct tunnel *t);
void news_tunnel_failed(struct daemon *d, const struct tunnel *t, const char *what);

#endif
