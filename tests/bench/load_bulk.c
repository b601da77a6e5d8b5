/* Bulk from the client's end: streams that send or receive as fast as they can, or that stall. */
#include "load.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { STREAMS_MAX = 256 };

static struct load_flow flows[STREAMS_MAX];

static void *flow_send(void *arg)
{
  load_send_all(arg);
  return NULL;
}

static void *flow_receive(void *arg)
{
  load_receive_all(arg);
  return NULL;
}

int load_flood(char **arguments)
{
  static const struct {
    const char *name;
    enum load_role role;
    void *(*work)(void *);
  } ways[] = {
      {"sink", LOAD_SINK, flow_send},
      {"source", LOAD_SOURCE, flow_receive},
      {"neglect", LOAD_NEGLECT, flow_send},
      {"ignore", LOAD_SOURCE, NULL},
  };
  size_t count = strtoul(arguments[2], NULL, 10), way = 0;
  while (way < sizeof(ways) / sizeof(ways[0]) && strcmp(arguments[1], ways[way].name) != 0)
    way++;
  if (way == sizeof(ways) / sizeof(ways[0]) || count == 0 || count > STREAMS_MAX) {
    errno = EINVAL;
    load_fail("flood");
  }
  load_data_fill();
  for (size_t i = 0; i < count; i++) {
    char role = (char)ways[way].role;
    flows[i].offset = i * (LOAD_DATA / 8) % LOAD_DATA;
    flows[i].fd = load_dial(arguments[0], false);
    /* What is still queued when this ends is dropped, so that it is not in the way of what is measured next. */
    struct linger drop = {.l_onoff = 1};
    if (flows[i].fd < 0 || setsockopt(flows[i].fd, SOL_SOCKET, SO_LINGER, &drop, sizeof(drop)) ||
        send(flows[i].fd, &role, 1, MSG_NOSIGNAL) != 1)
      load_fail("connect");
    if (ways[way].work)
      load_thread(ways[way].work, &flows[i]);
  }
  printf("ready\n");
  for (int c; (c = getchar()) != EOF;) {
    if (c != '\n')
      continue;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
      sum += atomic_load_explicit(&flows[i].moved, memory_order_relaxed);
    bool receives = ways[way].role == LOAD_SOURCE;
    printf("%llu %llu %.6f\n", (unsigned long long)(receives ? sum : 0), (unsigned long long)(receives ? 0 : sum),
           load_now());
  }
  return 0;
}
