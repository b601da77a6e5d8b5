/* What the kernel tells of changes is only a reason to look: it tells the same again and again, whenever a router
 * advertises itself or a lease is renewed, and much of it is about other networks. So a moment later, when the changes
 * that belong together are made, it is asked which way packets to the router take now, from which address of ours, and
 * only another answer counts.
 *
 * A sleep leaves no trace of that kind. It shows in the clock that goes on meanwhile, whose timer fires at once when
 * the machine wakes up.
 */
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "proto/rpc/peer_name.h"

enum {
  SETTLE_MS = 100,
  LOOK_S = 5, /* whether it slept */
  SLEPT_MS = 1000,
  MESSAGE_MAX = 8192,
};

/* All zero but the error: there is none. */
struct way {
  int error;
  uint32_t interface;
  uint8_t gateway[16], source[16];
};

struct place {
  int family;
  uint8_t address[16];
  struct way way;
};

struct network {
  uv_loop_t *loop;
  uv_poll_t news, clock;
  uv_timer_t settle;
  int news_fd, clock_fd;
  unsigned handles; /* open: first settle, then news, then clock */
  bool arrived;     /* an address or a route */
  bool known;       /* places[0] is the peer, and the only one */
  struct place places[2];
  uint64_t offset;
  void (*changed)(bool sure, void *arg);
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- The way to the peer. ---- */

/* The family, or 0. */
static int parse_peer(const char *text, uint8_t out[16])
{
  struct peer_name name;

  if (!peer_name_parse(&name, text))
    return 0;
  bool v4 = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)name.address);
  memset(out, 0, 16);
  memcpy(out, name.address + (v4 ? 12 : 0), v4 ? 4 : 16);
  return v4 ? AF_INET : AF_INET6;
}

struct route_request {
  struct nlmsghdr header;
  struct rtmsg route;
  struct rtattr attribute;
  uint8_t address[16];
};

static size_t address_size(int family)
{
  return family == AF_INET ? 4 : 16;
}

static void read_route(struct way *way, const struct nlmsghdr *m, size_t address)
{
  const struct rtmsg *route = NLMSG_DATA(m);
  int left = (int)RTM_PAYLOAD(m);

  for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) == sizeof way->interface)
      memcpy(&way->interface, RTA_DATA(a), sizeof way->interface);
    else if (a->rta_type == RTA_GATEWAY && RTA_PAYLOAD(a) == address)
      memcpy(way->gateway, RTA_DATA(a), address);
    else if (a->rta_type == RTA_PREFSRC && RTA_PAYLOAD(a) == address)
      memcpy(way->source, RTA_DATA(a), address);
  }
}

/* The kernel answers inside send. */
static int ask_route(int fd, const struct place *place, struct way *way)
{
  size_t address = address_size(place->family);
  struct route_request request = {
      .header = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
      .route = {.rtm_family = (unsigned char)place->family, .rtm_dst_len = (unsigned char)(8 * address)},
      .attribute = {.rta_type = RTA_DST, .rta_len = (unsigned short)RTA_LENGTH(address)}};
  _Alignas(struct nlmsghdr) char answer[MESSAGE_MAX];
  const struct nlmsghdr *m = (const struct nlmsghdr *)answer;

  memcpy(request.address, place->address, address);
  request.header.nlmsg_len = (uint32_t)(offsetof(struct route_request, address) + address);
  if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
    return -errno;
  ssize_t size = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
  if (size < 0)
    return -errno;
  if (!NLMSG_OK(m, (size_t)size))
    return -EPROTO;
  if (m->nlmsg_type == NLMSG_ERROR)
    return ((const struct nlmsgerr *)NLMSG_DATA(m))->error;
  if (m->nlmsg_type != RTM_NEWROUTE)
    return -EPROTO;
  read_route(way, m, address);
  return 0;
}

static struct way find_way(const struct place *place)
{
  struct way way = {0};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

  way.error = fd >= 0 ? ask_route(fd, place, &way) : -errno;
  if (fd >= 0)
    close(fd);
  return way;
}

static bool same_way(const struct way *a, const struct way *b)
{
  return a->error == b->error && a->interface == b->interface && memcmp(a->gateway, b->gateway, 16) == 0 &&
         memcmp(a->source, b->source, 16) == 0;
}

/* Whether it was found, by another way than before. */
static bool look_again(struct place *place)
{
  struct way way = find_way(place);
  bool other = !same_way(&way, &place->way);

  place->way = way;
  return other && way.error == 0;
}

void network_watch(struct network *n, const char *peer)
{
  struct place place = {0};

  place.family = parse_peer(peer, place.address);
  if (place.family == 0)
    return;
  place.way = find_way(&place);
  n->places[0] = place;
  n->known = true;
}

/* Somewhere in the internet, in place of a peer that is not known yet. Nothing is ever sent there. */
static void watch_anybody(struct network *n)
{
  n->places[0] = (struct place){.family = AF_INET, .address = {128, 0, 0, 1}};
  n->places[1] = (struct place){.family = AF_INET6, .address = {0x20, [15] = 1}};
  for (size_t i = 0; i < 2; i++)
    n->places[i].way = find_way(&n->places[i]);
}

/* ---- What the kernel tells. ---- */

static void settled(uv_timer_t *timer)
{
  struct network *n = timer->data;
  bool arrived = n->arrived, sure = look_again(&n->places[0]);

  n->arrived = false;
  if (!n->known && look_again(&n->places[1]))
    sure = true;
  if (sure || (arrived && !n->known))
    n->changed(sure, n->arg);
}

static void news_came(uv_poll_t *handle, int status, int events)
{
  struct network *n = handle->data;
  _Alignas(struct nlmsghdr) char bytes[MESSAGE_MAX];
  ssize_t size;

  (void)status, (void)events;
  while ((size = recv(n->news_fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0 || (size < 0 && errno == ENOBUFS)) {
    const struct nlmsghdr *m = (const struct nlmsghdr *)bytes;

    /* Some of it was lost. */
    n->arrived = n->arrived || size < 0;
    for (; size > 0 && NLMSG_OK(m, (size_t)size); m = NLMSG_NEXT(m, size))
      n->arrived = n->arrived || m->nlmsg_type == RTM_NEWADDR || m->nlmsg_type == RTM_NEWROUTE;
  }
  if (!uv_is_active((uv_handle_t *)&n->settle))
    uv_timer_start(&n->settle, settled, SETTLE_MS, 0);
}

static int open_news(void)
{
  struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR |
                                             RTMGRP_IPV6_ROUTE};
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  int err = -errno;
  if (fd >= 0)
    close(fd);
  return err;
}

/* ---- Sleep. ---- */

bool network_slept(uint64_t *offset, uint64_t boottime_ms, uint64_t monotonic_ms)
{
  uint64_t now = boottime_ms - monotonic_ms + 1;
  bool slept = *offset != 0 && now > *offset + SLEPT_MS;

  *offset = now;
  return slept;
}

static uint64_t clock_ms(clockid_t clock)
{
  struct timespec t;

  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool look_at_clocks(struct network *n)
{
  uint64_t monotonic = clock_ms(CLOCK_MONOTONIC);

  return network_slept(&n->offset, clock_ms(CLOCK_BOOTTIME), monotonic);
}

static void clock_came(uv_poll_t *handle, int status, int events)
{
  struct network *n = handle->data;
  uint64_t count;

  (void)status, (void)events;
  if (read(n->clock_fd, &count, sizeof count) > 0 && look_at_clocks(n))
    n->changed(true, n->arg);
}

static int open_clock(void)
{
  const struct itimerspec every = {.it_interval = {.tv_sec = LOOK_S}, .it_value = {.tv_sec = LOOK_S}};
  int fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);

  if (fd >= 0 && timerfd_settime(fd, 0, &every, NULL) == 0)
    return fd;
  int err = -errno;
  if (fd >= 0)
    close(fd);
  return err;
}

/* ---- Open and close. ---- */

static void handle_closed(uv_handle_t *handle)
{
  struct network *n = handle->data;
  void (*closed)(void *) = n->closed;
  void *arg = n->closed_arg;

  if (--n->handles > 0)
    return;
  close(n->news_fd);
  close(n->clock_fd);
  free(n);
  if (closed != NULL)
    closed(arg);
}

static int start_poll(struct network *n, uv_poll_t *poll, int fd, uv_poll_cb cb)
{
  int err = uv_poll_init(n->loop, poll, fd);

  if (err != 0)
    return err;
  n->handles++;
  poll->data = n;
  return uv_poll_start(poll, UV_READABLE, cb);
}

static void close_handles(struct network *n)
{
  unsigned opened = n->handles;

  uv_close((uv_handle_t *)&n->settle, handle_closed);
  if (opened > 1)
    uv_close((uv_handle_t *)&n->news, handle_closed);
  if (opened > 2)
    uv_close((uv_handle_t *)&n->clock, handle_closed);
}

int network_open(struct network **out, struct uv_loop_s *loop, void (*changed)(bool sure, void *arg), void *arg)
{
  struct network *n = calloc(1, sizeof *n);
  int err;

  if (n == NULL)
    return -ENOMEM;
  *n = (struct network){.loop = loop, .changed = changed, .arg = arg, .clock_fd = -1};
  n->news_fd = err = open_news();
  if (err >= 0)
    n->clock_fd = err = open_clock();
  if (err >= 0)
    err = uv_timer_init(loop, &n->settle);
  if (err < 0) {
    if (n->news_fd >= 0)
      close(n->news_fd);
    if (n->clock_fd >= 0)
      close(n->clock_fd);
    free(n);
    return err;
  }
  n->handles = 1;
  n->settle.data = n;
  look_at_clocks(n);
  watch_anybody(n);
  err = start_poll(n, &n->news, n->news_fd, news_came);
  if (err == 0)
    err = start_poll(n, &n->clock, n->clock_fd, clock_came);
  if (err != 0) {
    close_handles(n);
    return err;
  }
  *out = n;
  return 0;
}

void network_close(struct network *n, void (*closed)(void *arg), void *arg)
{
  n->closed = closed;
  n->closed_arg = arg;
  close_handles(n);
}
