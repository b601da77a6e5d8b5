/* A leg that is a raw connection. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "leg.h"
#include "raw.h"

static const char *raw_peer(const struct leg *l, char room[LEG_PEER_MAX])
{
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } name = {.any = {.sa_family = AF_UNSPEC}};
  socklen_t size = sizeof name;
  char text[INET6_ADDRSTRLEN] = "?";
  (void)getpeername(l->raw->fd, &name.any, &size);
  if (name.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&name.v6.sin6_addr)) {
    inet_ntop(AF_INET, &name.v6.sin6_addr.s6_addr[12], text, sizeof text);
    snprintf(room, LEG_PEER_MAX, "ipv4:%s:%d", text, ntohs(name.v6.sin6_port));
  } else if (name.any.sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &name.v6.sin6_addr, text, sizeof text);
    snprintf(room, LEG_PEER_MAX, "ipv6:[%s]:%d", text, ntohs(name.v6.sin6_port));
  } else {
    inet_ntop(AF_INET, &name.v4.sin_addr, text, sizeof text);
    snprintf(room, LEG_PEER_MAX, "ipv4:%s:%d", text, ntohs(name.v4.sin_port));
  }
  return room;
}

static int raw_keep(struct leg *l, struct leg_keeper *k)
{
  l->raw->keeper = k;
  return 0;
}

static void refuse(const struct leg *l, enum rpc_status status, const char *text)
{
  raw_refuse(l->raw, status, text);
}

static int join(struct meet *in, const struct leg *legs, void (*over)(void *arg), void *arg)
{
  (void)in;
  return raw_pair_join(legs[0].raw->all, legs, over, arg);
}

const struct leg_kind leg_raw = {.number = 1, .peer = raw_peer, .keep = raw_keep, .refuse = refuse, .join = join};
