#include "gatekeeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gatekeeper_process.h"
#include "proto/host/exit_status.h"

enum { START_MS = 30000, CLOSE_MS = 1000 };

int gatekeeper_fork(struct gatekeeper *out, const char *const *arguments, void (*log)(void *arg, const char *line),
                    void *log_arg)
{
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return -errno;
  pid_t pid = fork();
  if (pid < 0) {
    int error = -errno;
    close(pair[0]);
    close(pair[1]);
    return error;
  }
  if (pid == 0) {
    const struct gatekeeper_process options = {.fd = pair[1], .arguments = arguments, .log = log, .log_arg = log_arg};
    close(pair[0]);
    setpgid(0, 0); /* what a terminal says to all is the router's to say */
    signal(SIGHUP, SIG_IGN);
    gatekeeper_process_run(&options);
  }
  close(pair[1]);
  out->fd = pair[0];
  return 0;
}

static bool say(const struct gatekeeper *k, enum order_kind kind, const struct gatekeeper_way *way)
{
  struct gatekeeper_order order = {.kind = kind};
  if (way != NULL) {
    snprintf(order.router, sizeof order.router, "%s", way->router);
    snprintf(order.at, sizeof order.at, "%s", way->at);
    snprintf(order.cafile, sizeof order.cafile, "%s", way->cafile != NULL ? way->cafile : "");
    snprintf(order.key, sizeof order.key, "%s", way->key != NULL ? way->key : "");
  }
  bool said = send(k->fd, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof order;
  explicit_bzero(&order, sizeof order);
  return said;
}

int gatekeeper_start(const struct gatekeeper *k, const struct gatekeeper_way *way)
{
  unsigned char status = EXIT_AGAIN;
  struct pollfd one = {.fd = k->fd, .events = POLLIN};
  if (!say(k, ORDER_RUN, way) || poll(&one, 1, START_MS) <= 0 || recv(k->fd, &status, 1, MSG_DONTWAIT) <= 0)
    return EXIT_AGAIN;
  return status;
}

void gatekeeper_renew(const struct gatekeeper *k, const struct gatekeeper_way *way)
{
  if (k->fd >= 0)
    say(k, ORDER_RUN, way);
}

void gatekeeper_end(const struct gatekeeper *k)
{
  if (k->fd >= 0)
    say(k, ORDER_END, NULL);
}

void gatekeeper_close(struct gatekeeper *k)
{
  struct pollfd one = {.fd = k->fd};
  if (k->fd < 0)
    return;
  (void)poll(&one, 1, CLOSE_MS);
  close(k->fd);
  k->fd = -1;
}
