/* TCP: with port 0 the first endpoint gets a free port, and the others must get the same one; if somebody has it there,
 * another one is tried.
 *
 * Unix: a process that died may have left its socket file, on which nobody answers. Only such a file is removed, and
 * only if it is still the one that was looked at. The mode is set on the socket before it is bound: Linux makes the
 * file with the socket's own mode, so that there is no moment in which others could connect.
 */
#include "listener_bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/host/congestion.h"

enum { FREE_PORT_TRIES = 16, UNIX_MODE = 0600 };

static int explain(struct listener_binding *b, int error, const char *reason)
{
  char text[ADDRESS_TEXT_MAX];

  snprintf(b->why, sizeof(b->why), "listen on %s: %s", address_format(&b->address, text), reason);
  return error;
}

static int explain_errno(struct listener_binding *b, int error)
{
  return explain(b, error, strerror(-error));
}

static void close_all(struct listener_binding *b)
{
  for (unsigned i = 0; i < b->count; i++)
    close(b->fds[i]);
  b->count = 0;
}

static bool is_no_network(int error)
{
  return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static void set_port(struct sockaddr_storage *s, uint16_t port)
{
  if (s->ss_family == AF_INET6)
    ((struct sockaddr_in6 *)s)->sin6_port = htons(port);
  else
    ((struct sockaddr_in *)s)->sin_port = htons(port);
}

static int read_port(int fd, uint16_t *port)
{
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } at = {.v6 = {0}};
  socklen_t size = sizeof(at);

  if (getsockname(fd, &at.any, &size) != 0)
    return -errno;
  *port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
  return 0;
}

/* A socket that is bound: the descriptor, or a negative errno. */
static int bind_one(const struct endpoint *endpoint, uint16_t port, bool shared)
{
  struct sockaddr_storage at = endpoint->bytes;
  int on = 1;
  int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return -errno;
  set_port(&at, port);
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
      (at.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0) ||
      bind(fd, (const struct sockaddr *)&at, endpoint->size) != 0) {
    int rc = -errno;
    close(fd);
    return rc;
  }
  return fd;
}

/* Who shares does not notice others: that takes a look as one who does not. A port that is yet to be chosen is not
 * shared, lest it be one that somebody has. */
static int bind_shared(struct listener_binding *b, const struct endpoint *endpoint, uint16_t port)
{
  bool shared = b->shared && port != 0;
  int fd = shared ? bind_one(endpoint, port, false) : -1;

  if (fd >= 0)
    close(fd);
  b->beside |= fd == -EADDRINUSE;
  return bind_one(endpoint, port, shared);
}

/* The descriptor, or a negative errno. */
static int listen_tcp(struct listener_binding *b, const struct endpoint *endpoint, uint16_t *port)
{
  int rc = 0;
  int fd = bind_shared(b, endpoint, *port);

  if (fd < 0)
    return fd;
  congestion_begin(fd);
  if (listen(fd, SOMAXCONN) != 0)
    rc = -errno;
  if (rc == 0 && *port == 0)
    rc = read_port(fd, port);
  if (rc != 0) {
    close(fd);
    return rc;
  }
  return fd;
}

static int listen_all(struct listener_binding *b, const struct endpoints *endpoints, uint16_t *port)
{
  int missing = -EADDRNOTAVAIL;

  for (unsigned i = 0; i < endpoints->count; i++) {
    int fd = listen_tcp(b, &endpoints->at[i], port);

    if (fd >= 0)
      b->fds[b->count++] = fd;
    else if (is_no_network(fd))
      missing = fd;
    else {
      close_all(b);
      return fd;
    }
  }
  return b->count > 0 ? 0 : missing;
}

static int bind_tcp(struct listener_binding *b, const struct endpoints *endpoints)
{
  int rc = -EADDRINUSE;
  int tries = b->address.port == 0 ? FREE_PORT_TRIES : 1;

  for (; tries > 0 && rc == -EADDRINUSE; tries--) {
    uint16_t port = b->address.port;

    rc = listen_all(b, endpoints, &port);
    if (rc == 0)
      b->address.port = port;
  }
  return rc != 0 ? explain_errno(b, rc) : 0;
}

static const char *base_name(const struct listener_binding *b)
{
  return strrchr(b->address.path, '/') + 1;
}

static int open_directory(struct listener_binding *b)
{
  char path[ADDRESS_PATH_MAX + 1];
  size_t size = (size_t)(base_name(b) - b->address.path);

  memcpy(path, b->address.path, size);
  path[size] = '\0';
  b->directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return b->directory >= 0 ? 0 : -errno;
}

/* 0: nobody answers on the socket file `at`. */
static int probe(struct listener_binding *b, const struct endpoint *at)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int rc;

  if (fd < 0)
    return explain_errno(b, -errno);
  rc = connect(fd, (const struct sockaddr *)&at->bytes, at->size) == 0 ? 0 : -errno;
  close(fd);
  if (rc == -ECONNREFUSED || rc == -ENOENT)
    return 0;
  if (rc == 0 || rc == -EAGAIN)
    return explain(b, -EADDRINUSE, "another process listens there already");
  return explain(b, -EADDRINUSE, "the socket there belongs to somebody else");
}

static int remove_stale(struct listener_binding *b, const struct endpoint *at)
{
  struct stat before;
  struct stat now;
  int rc;

  if (fstatat(b->directory, base_name(b), &before, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? 0 : explain_errno(b, -errno);
  if (!S_ISSOCK(before.st_mode))
    return explain(b, -EADDRINUSE, "the file there is not a socket");
  rc = probe(b, at);
  if (rc != 0)
    return rc;
  if (fstatat(b->directory, base_name(b), &now, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? 0 : explain_errno(b, -errno);
  if (now.st_dev != before.st_dev || now.st_ino != before.st_ino)
    return explain(b, -EADDRINUSE, "another process begins to listen there");
  if (unlinkat(b->directory, base_name(b), 0) != 0 && errno != ENOENT)
    return explain(b, -errno, "the dead socket there cannot be removed");
  return 0;
}

static int listen_unix(struct listener_binding *b, const struct endpoint *at)
{
  struct stat st;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return -errno;
  b->fds[b->count++] = fd;
  if (fchmod(fd, UNIX_MODE) != 0 || bind(fd, (const struct sockaddr *)&at->bytes, at->size) != 0)
    return -errno;
  if (fstatat(b->directory, base_name(b), &st, AT_SYMLINK_NOFOLLOW) != 0)
    return -errno;
  b->dev = st.st_dev;
  b->ino = st.st_ino;
  return listen(fd, SOMAXCONN) == 0 ? 0 : -errno;
}

static int bind_unix(struct listener_binding *b, const struct endpoint *at)
{
  int rc;

  if (base_name(b)[0] == '\0')
    return explain(b, -EINVAL, "the path is a directory");
  rc = open_directory(b);
  if (rc != 0)
    return explain_errno(b, rc);
  rc = remove_stale(b, at);
  if (rc != 0)
    return rc;
  rc = listen_unix(b, at);
  return rc != 0 ? explain_errno(b, rc) : 0;
}

int listener_bind(struct listener_binding *b, const struct address *a, const struct endpoints *endpoints, bool shared)
{
  int rc;

  memset(b, 0, sizeof(*b));
  b->address = *a;
  b->directory = -1;
  b->shared = shared;
  rc = a->kind == ADDRESS_UNIX ? bind_unix(b, &endpoints->at[0]) : bind_tcp(b, endpoints);
  if (rc != 0)
    listener_unbind(b);
  return rc;
}

/* What a socket listens at. 0, or a negative errno. */
static int read_address(int fd, struct address *out)
{
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage room;
  } at = {.room = {0}};
  socklen_t size = sizeof at;
  int listens = 0;

  memset(out, 0, sizeof *out);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &(socklen_t){sizeof listens}) != 0 ||
      getsockname(fd, &at.any, &size) != 0)
    return -errno;
  if (listens == 0)
    return -EINVAL;
  if (at.any.sa_family == AF_UNIX) {
    out->kind = ADDRESS_UNIX;
    snprintf(out->path, sizeof out->path, "%s", at.local.sun_path);
    return 0;
  }
  out->kind = ADDRESS_TCP;
  out->port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
  if (at.any.sa_family == AF_INET6)
    inet_ntop(AF_INET6, &at.v6.sin6_addr, out->host, sizeof out->host);
  else if (at.any.sa_family == AF_INET)
    inet_ntop(AF_INET, &at.v4.sin_addr, out->host, sizeof out->host);
  else
    return -EAFNOSUPPORT;
  return 0;
}

int listener_take(struct listener_binding *b, const int *fds, unsigned count)
{
  int rc = count <= ENDPOINTS_MAX ? 0 : -E2BIG;

  memset(b, 0, sizeof *b);
  b->directory = -1;
  for (unsigned i = 0; i < count; i++) {
    if (i < ENDPOINTS_MAX)
      b->fds[b->count++] = fds[i];
    else
      close(fds[i]);
  }
  for (unsigned i = b->count; i > 0 && rc == 0; i--) {
    int flags = fcntl(b->fds[i - 1], F_GETFL);
    rc = read_address(b->fds[i - 1], &b->address);
    if (rc == 0 && (flags < 0 || fcntl(b->fds[i - 1], F_SETFL, flags | O_NONBLOCK) != 0))
      rc = -errno;
  }
  if (rc == 0)
    return 0;
  snprintf(b->why, sizeof b->why, "cannot listen on the sockets that were given: %s",
           rc == -EINVAL ? "one of them does not listen" : strerror(-rc));
  close_all(b);
  return rc;
}

void listener_deafen(const struct listener_binding *b)
{
  enum { FLAGS_AT = 13, SYN = 2, ACK = 16, ALL = 0x40000 };
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, ALL),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  for (unsigned i = 0; i < b->count; i++)
    setsockopt(b->fds[i], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void listener_unbind(struct listener_binding *b)
{
  struct stat st;

  /* Before the socket is closed: until then no other file can have its inode number. */
  if (b->directory >= 0 && b->ino != 0 && fstatat(b->directory, base_name(b), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISSOCK(st.st_mode) && st.st_dev == b->dev && st.st_ino == b->ino)
    unlinkat(b->directory, base_name(b), 0);
  listener_abandon(b);
}

void listener_hush(const struct listener_binding *b)
{
  for (unsigned i = 0; i < b->count; i++)
    shutdown(b->fds[i], SHUT_RDWR);
}

void listener_abandon(struct listener_binding *b)
{
  close_all(b);
  if (b->directory >= 0)
    close(b->directory);
  b->directory = -1;
}
