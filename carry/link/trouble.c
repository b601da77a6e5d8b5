/* gRPC reports every way in which a router is not there as a status and a text for programmers. The texts are matched
 * by what they contain, the most telling first, and what nobody foresaw is passed on as it is. */
#include "trouble.h"

#include <stdio.h>
#include <string.h>

enum when { ALWAYS, WITH_TLS, WITHOUT_TLS };

struct pattern {
  const char *part;
  enum when when;
  const char *sentence; /* %s: the router */
};

static const struct pattern patterns[] = {
    {"Connection refused", ALWAYS, "nothing listens at %s (connection refused): is the router running?"},
    {"does not resolve", ALWAYS, "the host name in %s does not resolve: check its spelling and the network"},
    {"CERTIFICATE_VERIFY_FAILED", WITH_TLS,
     "the certificate of %s is not trusted, or has expired: renew it, or name its authority with cafile=FILE"},
    {"certificate verify failed", WITH_TLS,
     "the certificate of %s is not trusted, or has expired: renew it, or name its authority with cafile=FILE"},
    {"is not in peer certificate", WITH_TLS, "the certificate of %s is for another host name"},
    {"missing selected ALPN", WITH_TLS, "%s does not speak HTTP/2 over TLS: is this a router?"},
    {"WRONG_VERSION_NUMBER", WITH_TLS, "%s does not speak TLS: a router without TLS needs the option insecure"},
    {"wrong version number", WITH_TLS, "%s does not speak TLS: a router without TLS needs the option insecure"},
    {"andshake failed", WITH_TLS,
     "TLS with %s failed: check cafile=FILE, or the option insecure for a router without TLS"},
    {"andshake timed out", WITH_TLS,
     "TLS with %s failed: check cafile=FILE, or the option insecure for a router without TLS"},
    {"SSL_ERROR", WITH_TLS, "TLS with %s failed: check cafile=FILE, or the option insecure for a router without TLS"},
    {"http1.x", ALWAYS, "%s speaks HTTP/1, not gRPC: is this a router?"},
    {"http2 header with status", ALWAYS, "%s is a web server, but not a router"},
    {"Failed parsing HTTP/2", ALWAYS, "%s does not speak gRPC: is this a router, and does it speak TLS?"},
    {"No route to host", ALWAYS, "no route to %s: check the network"},
    {"etwork is unreachable", ALWAYS, "the network of %s is unreachable: check the network"},
    {"onnection timed out", ALWAYS, "%s does not answer: check the address, the network and the firewall"},
    {"connect timed out", ALWAYS, "%s does not answer: check the address, the network and the firewall"},
    {"Socket closed", WITHOUT_TLS, "%s closes the connection: is this a router, and does it speak TLS?"},
    {"Connection reset", ALWAYS, "%s closes the connection: is this a router?"},
    {"Socket closed", WITH_TLS, "%s closes the connection: is this a router?"},
};

/* The sentences of the table have one %s each, which the compiler cannot see. */
static void fill(char out[TROUBLE_MAX], const char *sentence, const char *target)
{
  const char *hole = strstr(sentence, "%s");

  snprintf(out, TROUBLE_MAX, "%.*s%s%s", (int)(hole - sentence), sentence, target, hole + 2);
}

static bool by_pattern(const struct trouble_where *where, const char *text, char out[TROUBLE_MAX])
{
  for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    const struct pattern *p = &patterns[i];

    if (p->when == (where->tls ? WITHOUT_TLS : WITH_TLS) || strstr(text, p->part) == NULL)
      continue;
    fill(out, p->sentence, where->target);
    return true;
  }
  return false;
}

/* What the way through a proxy adds: that it does not want to, or is not there. */
static bool by_proxy(const struct trouble_where *where, const char *text, char out[TROUBLE_MAX])
{
  static const char refusal[] = "HTTP proxy returned response code ";
  static const char *const absences[] = {"Connection refused", "No route to host", "etwork is unreachable",
                                         "onnection timed out", "connect timed out"};
  const char *code = strstr(text, refusal);

  if (code != NULL) {
    snprintf(out, TROUBLE_MAX,
             "the proxy %s refuses to connect to %s (HTTP %.3s): to reach the router without it, list the router "
             "in no_proxy",
             where->proxy, where->target, code + sizeof refusal - 1);
    return true;
  }
  for (size_t i = 0; i < sizeof absences / sizeof *absences; i++)
    if (strstr(text, absences[i]) != NULL) {
      snprintf(out, TROUBLE_MAX,
               "cannot reach the proxy %s: to reach the router without it, list the router in no_proxy", where->proxy);
      return true;
    }
  return false;
}

const char *trouble_not_found(const struct trouble_where *where, const char *why, unsigned causes,
                              char out[TROUBLE_MAX])
{
  if (where->proxy != NULL)
    snprintf(out, TROUBLE_MAX, "cannot reach the proxy %s: %s", where->proxy, why);
  else if (causes > 1 || !by_pattern(where, why, out))
    snprintf(out, TROUBLE_MAX, "cannot reach %s: %s", where->target, why);
  return out;
}

const char *trouble_sentence(const struct trouble_where *where, enum rpc_status status, const char *text,
                             char out[TROUBLE_MAX])
{
  switch (status) {
  case RPC_UNAUTHENTICATED:
  case RPC_PERMISSION_DENIED:
    if (where->key)
      snprintf(out, TROUBLE_MAX, "the router refuses the key: %s", text);
    else
      snprintf(out, TROUBLE_MAX, "the router wants a key, name it with key=FILE: %s", text);
    return out;
  case RPC_DEADLINE_EXCEEDED:
    snprintf(out, TROUBLE_MAX, "%s does not answer: check the address, the network and the firewall", where->target);
    return out;
  case RPC_UNIMPLEMENTED:
    if (!by_pattern(where, text, out))
      snprintf(out, TROUBLE_MAX, "%s speaks gRPC, but is not a router", where->target);
    return out;
  default:
    break;
  }
  if (where->connected)
    snprintf(out, TROUBLE_MAX, "the router %s went away: %s", where->target, text);
  else if ((where->proxy == NULL || !by_proxy(where, text, out)) && !by_pattern(where, text, out))
    snprintf(out, TROUBLE_MAX, "cannot reach %s: %s (%s)", where->target, text, rpc_status_name(status));
  return out;
}
