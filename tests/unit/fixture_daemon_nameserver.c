#include "fixture_daemon_nameserver.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

static void nameserver_replace(const char *path, const char *text)
{
  char other[] = "/tmp/test-nameserver-XXXXXX";
  int fd = mkstemp(other);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
  ck_assert_msg(mount(other, path, NULL, MS_BIND, NULL) == 0, "%s: %s", path, strerror(errno));
  unlink(other);
}

int nameserver_open(void)
{
  const int spaces = CLONE_NEWNS | CLONE_NEWNET;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int fd;

  ck_assert_msg(unshare(spaces) == 0 || unshare(CLONE_NEWUSER | spaces) == 0, "unshare: %s", strerror(errno));
  ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
  fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &up), 0);
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
  nameserver_replace("/etc/resolv.conf", "nameserver 127.0.0.1\n");
  nameserver_replace("/etc/nsswitch.conf", "hosts: files dns\n");
  return fd;
}

void nameserver_hear(int fd, struct nameserver_question *q)
{
  socklen_t from = sizeof q->from;
  size_t at = 12, used = 0;
  ssize_t got = recvfrom(fd, q->bytes, sizeof q->bytes, 0, (struct sockaddr *)&q->from, &from);

  ck_assert_int_gt(got, 12);
  while (q->bytes[at] != 0) {
    used += (size_t)snprintf(q->name + used, sizeof q->name - used, "%s%.*s", used > 0 ? "." : "", q->bytes[at],
                             (char *)q->bytes + at + 1);
    at += 1U + q->bytes[at];
  }
  q->type = (uint16_t)(q->bytes[at + 1] << 8 | q->bytes[at + 2]);
  q->size = at + 5;
}

void nameserver_answer(int fd, struct nameserver_question *q, int code, const void *addresses, size_t count)
{
  size_t each = q->type == NAMESERVER_A ? 4 : 16, at = q->size;
  const uint8_t record[] = {0xc0, 12, 0, (uint8_t)q->type, 0, 1, 0, 0, 0, 0, 0, (uint8_t)each};

  q->bytes[2] = 0x81;
  q->bytes[3] = (uint8_t)(0x80 | code);
  memset(q->bytes + 6, 0, 6);
  q->bytes[7] = (uint8_t)count;
  for (size_t i = 0; i < count; i++) {
    memcpy(q->bytes + at, record, sizeof record);
    memcpy(q->bytes + at + sizeof record, (const uint8_t *)addresses + i * each, each);
    at += sizeof record + each;
  }
  ck_assert_int_eq(sendto(fd, q->bytes, at, 0, (struct sockaddr *)&q->from, sizeof q->from), (ssize_t)at);
}
