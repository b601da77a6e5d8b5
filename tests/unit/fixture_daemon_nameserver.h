/* A network of the test's own, with a nameserver in it that says only what the test says. Each test is a process, so
 * that all of it goes with it. */
#ifndef FIXTURE_DAEMON_NAMESERVER_H
#define FIXTURE_DAEMON_NAMESERVER_H

#include <netinet/in.h>

enum { NAMESERVER_A = 1, NAMESERVER_AAAA = 28, NAMESERVER_SIZE = 512 };

struct nameserver_question {
  uint8_t bytes[NAMESERVER_SIZE];
  size_t size; /* header and question */
  char name[256];
  uint16_t type;
  struct sockaddr_in from;
};

/* A socket on which questions come. */
int nameserver_open(void);

/* Reads the next one. */
void nameserver_hear(int fd, struct nameserver_question *q);

/* Addresses of 4 or 16 bytes, as the type says; none, and `code` 0: the name has none; 3: it does not exist; 2: the
 * server has failed. */
void nameserver_answer(int fd, struct nameserver_question *q, int code, const void *addresses, size_t count);

#endif
