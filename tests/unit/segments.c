#include "segments.h"

#include <check.h>
#include <linux/tcp.h> /* glibc's own is older than the counters */
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

unsigned segments_in(int fd)
{
  struct tcp_info info = {.tcpi_state = 0};
  ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof info}), 0);
  return info.tcpi_segs_in;
}

bool segments_are_acknowledged(int fd)
{
  int left = 1;
  ck_assert_int_eq(ioctl(fd, TIOCOUTQ, &left), 0);
  return left == 0;
}
