#include "loopback.h"

#include <arpa/inet.h>
#include <strings.h>

bool loopback_is_v4(struct in_addr address)
{
  return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool loopback_is_host(const char *host)
{
  struct in6_addr v6;
  struct in_addr v4;

  if (inet_pton(AF_INET, host, &v4) == 1)
    return loopback_is_v4(v4);
  if (inet_pton(AF_INET6, host, &v6) == 1)
    return IN6_IS_ADDR_LOOPBACK(&v6);
  return strcasecmp(host, "localhost") == 0;
}
