/* gRPC tries the addresses of a name one after the other, and looks for proxies by itself. Neither is what we want: it
 * is given one address, which has answered, and the name apart, for :authority and for the certificate. The proxy is
 * what is at that address; the arguments that ask it to CONNECT are those which gRPC's own search would set.
 */
#include "rpc_target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { LOGIN_MAX = 512, URI_MAX = 128 };

/* The brackets of a v6 address are encoded, as gRPC does it. */
static char *address_uri(const struct sockaddr *address)
{
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
  char ip[INET6_ADDRSTRLEN], scope[32] = "";
  char *out = malloc(URI_MAX);

  if (!out)
    return NULL;
  if (address->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
    if (v6->sin6_scope_id != 0)
      snprintf(scope, sizeof scope, "%%25%u", v6->sin6_scope_id);
    snprintf(out, URI_MAX, "ipv6:%%5B%s%s%%5D:%u", ip, scope, ntohs(v6->sin6_port));
  } else {
    inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
    snprintf(out, URI_MAX, "ipv4:%s:%u", ip, ntohs(v4->sin_port));
  }
  return out;
}

/* A host's name may look like one of gRPC's schemes. What has brackets cannot. */
static char *name_uri(const char *name)
{
  size_t size = strlen(name) + sizeof "dns:///";
  char *out = malloc(size);
  if (out)
    snprintf(out, size, "%s%s", name[0] == '[' ? "" : "dns:///", name);
  return out;
}

static char *host_of(const char *name)
{
  const char *end = strrchr(name, ':');
  size_t size = end ? (size_t)(end - name) : strlen(name);
  if (name[0] == '[' && size >= 2)
    return strndup(name + 1, size - 2);
  return strndup(name, size);
}

static int make_login(char **out, const char *login)
{
  static const char begin[] = "Proxy-Authorization:Basic ";
  size_t size = strlen(login);
  if (size > LOGIN_MAX)
    return -EINVAL;
  size_t room = sizeof begin + sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_ORIGINAL);
  *out = malloc(room);
  if (!*out)
    return -ENOMEM;
  memcpy(*out, begin, sizeof begin);
  sodium_bin2base64(*out + sizeof begin - 1, room - sizeof begin + 1, (const unsigned char *)login, size,
                    sodium_base64_VARIANT_ORIGINAL);
  return 0;
}

int rpc_target_make(struct rpc_target *t, const struct rpc_channel_options *options)
{
  int error = 0;
  *t = (struct rpc_target){.address = options->address, .proxy = options->proxy, .tls = options->tls};
  t->uri = options->address ? address_uri(options->address) : name_uri(options->target);
  t->name = strdup(options->target);
  t->host = host_of(options->target);
  if (options->proxy && options->proxy->login)
    error = make_login(&t->headers, options->proxy->login);
  return t->uri && t->name && t->host ? error : -ENOMEM;
}

void rpc_target_free(struct rpc_target *t)
{
  if (t->headers)
    explicit_bzero(t->headers, strlen(t->headers));
  free(t->headers);
  free(t->host);
  free(t->name);
  free(t->uri);
}

void rpc_target_add_args(const struct rpc_target *t, struct rpc_args *args)
{
  rpc_args_add(args, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!t->address)
    return;
  rpc_args_add_text(args, GRPC_ARG_DEFAULT_AUTHORITY, t->name);
  if (t->tls)
    rpc_args_add_text(args, GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, t->host);
  if (t->proxy)
    rpc_args_add_text(args, "grpc.http_connect_server", t->name);
  if (t->headers)
    rpc_args_add_text(args, "grpc.http_connect_headers", t->headers);
}
