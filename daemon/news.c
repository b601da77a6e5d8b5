/* All sentences are made here. Those that others can cause, one with each connection, are written so many times at
 * once, and then now and then: nobody else may fill the log, or push the rest out of `errors` and `events`.
 */
#include "news.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "carry/link/link.h"
#include "carry/net/address.h"
#include "carry/tunnel/tunnels.h"
#include "credentials.h"
#include "daemon/forwards/forwards.h"
#include "daemon/names/services.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "proto/host/journal.h"
#include "proto/host/notify.h"
#include "proto/host/pace.h"

enum { DETACHED_TOLD = 8, CAUSED_AT_ONCE = 256, CAUSED_EVERY_MS = 5000 };

void news_add(struct daemon *d, const char *format, ...)
{
  char line[1024];
  va_list values;

  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  journal_add(d->events, "%s", line);
  if (d->tree != NULL)
    tree_journals_changed(d->tree);
}

void news_add_failure(struct daemon *d, const char *sentence)
{
  journal_add(d->errors, "%s", sentence);
  news_add(d, "%s", sentence);
}

/* Whether there is room for one more line that an application or another mmfs causes. */
static bool may_tell_of_others(struct daemon *d)
{
  char sentence[128];
  uint64_t left_out = d->caused.left_out;

  if (!pace_allows(&d->caused, uv_now(&d->loop), CAUSED_AT_ONCE, CAUSED_EVERY_MS)) {
    if (left_out == 0)
      news_add_failure(d, "too many lines about connections at once: some are left out");
    return false;
  }
  if (left_out == 0)
    return true;
  snprintf(sentence, sizeof sentence, "%" PRIu64 " lines about connections were left out", left_out);
  d->caused.left_out = 0;
  news_add_failure(d, sentence);
  return true;
}

/* ---- The key, the authorities, the router. ---- */

void news_credentials_changed(struct daemon *d, bool usable)
{
  if (usable)
    news_add(d, "the key or the authorities have changed in their files");
  else
    news_add_failure(d, "memory is short: the new key and authorities are not used yet");
}

void news_credentials_unchanged(struct daemon *d)
{
  news_add(d, "SIGHUP: nothing has changed in the files");
}

void news_credentials_bad(struct daemon *d, const char *why)
{
  char sentence[CREDENTIAL_WHY_MAX + 64];

  snprintf(sentence, sizeof sentence, "%s; the former contents stay in use", why);
  news_add_failure(d, sentence);
}

void news_link_state(struct daemon *d, const struct link *l, bool connected, const char *why)
{
  if (connected) {
    news_add(d, "connected to %s%s", d->router, link_original(l) ? ", which speaks the first version" : "");
    notify_say(d->notify, "STATUS", "connected to %s", d->router);
  } else {
    news_add(d, "not connected: %s", why);
    notify_say(d->notify, "STATUS", "not connected to %s: %s", d->router, why);
  }
}

void news_link_renewed(struct daemon *d)
{
  news_add(d, "connected to %s anew, and nothing was lost", d->router);
}

void news_link_not_renewed(struct daemon *d, const char *why)
{
  news_add(d, "not connected anew: %s; the present path stays in use", why);
}

void news_link_draining(struct daemon *d)
{
  news_add(d, "the router is about to stop");
}

void news_link_superseded(struct daemon *d)
{
  news_add_failure(
      d,
      "a newer mmfs with the identity of this mount has taken its place: services here are no longer registered, and "
      "their connections end; forwards go on");
}

void news_name_hidden(struct daemon *d, const char *name)
{
  news_add(d, "service \"%.100s\" of the router is hidden: its name cannot be used here", name);
}

void news_stranded(struct daemon *d, size_t connections)
{
  news_add(d, "%zu connections are detached, and will be reset in %d s unless the router accepts this mount",
           connections, TUNNELS_REFUSED_MS / 1000);
}

/* ---- Services and forwards. ---- */

void news_service_changed(struct daemon *d, const struct service *s, const char *why)
{
  if (why != NULL)
    news_add(d, "service %s: %s: %s", service_name(s), service_state_name(service_state(s)), why);
  else
    news_add(d, "service %s: %s", service_name(s), service_state_name(service_state(s)));
}

void news_service_withdrawn(struct daemon *d, const struct service *s)
{
  news_add(d, "service %s: withdrawn", service_name(s));
}

/* An error only: the refusal is an event of its own. */
void news_service_refused(struct daemon *d, const struct service *s, int error, const char *why)
{
  journal_add(d->errors, "register services/%s: %s (%s)", service_name(s), why, uv_err_name(error));
  if (d->tree != NULL)
    tree_journals_changed(d->tree);
}

void news_service_public(struct daemon *d, const struct service *s, int error, const char *sentence)
{
  char line[1024];

  if (error == 0) {
    news_add(d, "service %s: %s", service_name(s), sentence);
    return;
  }
  snprintf(line, sizeof line, "service %s: %s (%s)", service_name(s), sentence, uv_err_name(error));
  news_add_failure(d, line);
}

void news_forward_listening(struct daemon *d, const struct forward *f, const struct address *address)
{
  char text[ADDRESS_TEXT_MAX];

  news_add(d, "forward %s: listening on %s", forward_name(f), address_format(address, text));
}

void news_forward_silent(struct daemon *d, const struct forward *f, const struct address *address, int error)
{
  char text[ADDRESS_TEXT_MAX];
  char sentence[512];

  address_format(address, text);
  if (error == 0) {
    news_add(d, "forward %s: no longer listening on %s", forward_name(f), text);
    return;
  }
  snprintf(sentence, sizeof sentence, "forward %s: cannot listen on %s any longer: %s", forward_name(f), text,
           strerror(-error));
  news_add_failure(d, sentence);
}

void news_forward_absent(struct daemon *d, const struct forward *f, const struct address *address, const char *why)
{
  char text[ADDRESS_TEXT_MAX];
  char sentence[1024];

  snprintf(sentence, sizeof sentence, "forward %s: does not listen on %s yet: %.500s; mmfs tries again",
           forward_name(f), address_format(address, text), why);
  news_add_failure(d, sentence);
}

void news_forward_starved(struct daemon *d, const struct forward *f, int error)
{
  char sentence[512];

  if (error == 0) {
    news_add(d, "forward %s: accepts connections again", forward_name(f));
    return;
  }
  snprintf(sentence, sizeof sentence, "forward %s: cannot accept connections for now: %s", forward_name(f),
           strerror(-error));
  news_add_failure(d, sentence);
}

/* ---- Connections. ---- */

void news_answer_failed(struct daemon *d, const char *service, const char *text)
{
  char sentence[512];

  if (!may_tell_of_others(d))
    return;
  snprintf(sentence, sizeof sentence, "connection to services/%s: %s", service, text);
  news_add_failure(d, sentence);
}

/* When a router ends, all connections are detached at once: only the first few are told one by one. */
void news_tunnel_detached(struct daemon *d, struct tunnel *t, const char *why)
{
  struct tunnel_info info = tunnel_info(t);

  if (tunnels_detached(d->tunnels) > DETACHED_TOLD + 1 || !may_tell_of_others(d))
    return;
  if (tunnels_detached(d->tunnels) <= DETACHED_TOLD)
    news_add(d, "connection %" PRIu64 " (%s): detached: %s", info.id, info.service, why);
  else
    news_add(d, "more connections are detached: see status");
}

void news_tunnel_resumed(struct daemon *d, struct tunnel *t)
{
  struct tunnel_info info = tunnel_info(t);

  if (tunnels_detached(d->tunnels) > DETACHED_TOLD || !may_tell_of_others(d))
    return;
  if (tunnels_detached(d->tunnels) < DETACHED_TOLD)
    news_add(d, "connection %" PRIu64 " (%s): goes on", info.id, info.service);
  else
    news_add(d, "all but %d connections go on", DETACHED_TOLD);
}

void news_tunnel_failed(struct daemon *d, const struct tunnel *t, const char *what)
{
  struct tunnel_info info = tunnel_info(t);
  char sentence[1024];

  if (!may_tell_of_others(d))
    return;
  if (info.role == TUNNEL_FORWARD)
    snprintf(sentence, sizeof sentence, "connection from %s through forwards/%s: %s", info.peer, info.service, what);
  else
    snprintf(sentence, sizeof sentence, "connection to services/%s: %s", info.service, what);
  news_add_failure(d, sentence);
}
