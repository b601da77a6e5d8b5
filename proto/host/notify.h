/* What the service manager hears of us, by the protocol of sd_notify(3): one datagram for each assignment. */
#ifndef PROTO_NOTIFY_H
#define PROTO_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
  int fd; /* -1: nobody wants to hear */
  struct sockaddr_un to;
  socklen_t to_size;
  uint64_t alive_ms; /* how often WATCHDOG=1 is due; 0: never */
};

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no child speaks for us: before
 * any thread exists, and before anything is run. */
void notify_open(struct notify *n);

/* Says KEY=VALUE: READY=1, RELOADING=1, STOPPING=1, WATCHDOG=1, STATUS=a sentence. Never blocks; what cannot be sent is
 * lost, and so is everything without a manager, which `n` NULL is as well. A value is one line: other control
 * characters become "?". Any thread.
 */
void notify_say(const struct notify *n, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

void notify_close(struct notify *n);

#endif
