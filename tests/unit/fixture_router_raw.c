#include "fixture_router_raw.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "router/meet/first_message.h"

void passport_take(struct passport *p, struct fixture *f, const struct stream *watch)
{
  memset(p, 0, sizeof *p);
  p->f = f;
  ck_assert_uint_eq(watch->received, 1);
  Mindmeld__WatchServicesResponse *news = (Mindmeld__WatchServicesResponse *)rpc_message_unpack(
      watch->last, &mindmeld__watch_services_response__descriptor);
  ck_assert_ptr_nonnull(news);
  snprintf(p->address, sizeof p->address, "%s", news->stream_addr);
  if (p->address[0] != '\0') {
    ck_assert_uint_eq(news->stream_watch.len, RAW_WATCH_SIZE);
    ck_assert_uint_eq(news->stream_secret.len, RAW_SECRET_SIZE);
    memcpy(p->watch, news->stream_watch.data, RAW_WATCH_SIZE);
    raw_keys_derive(&p->keys, news->stream_secret.data);
    p->port = (int)strtol(p->address[1] != '\0' ? p->address + 1 : strrchr(f->address, ':') + 1, NULL, 10);
  }
  mindmeld__watch_services_response__free_unpacked(news, NULL);
}

int raw_connect(const struct passport *p)
{
  const struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)p->port)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
  return fd;
}

size_t raw_preamble_make(struct passport *p, uint8_t out[RAW_PREAMBLE_MAX], const void *first, size_t size)
{
  return raw_preamble_seal(out, &p->keys, p->watch, ++p->counter, first, size);
}

size_t raw_preamble_of(struct passport *p, uint8_t out[RAW_PREAMBLE_MAX], const struct header *h)
{
  uint8_t bytes[HEADER_SIZE_MAX];
  return raw_preamble_make(p, out, bytes, header_pack(h, bytes));
}

void raw_send(int fd, const void *bytes, size_t size)
{
  ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

int raw_open_with(struct passport *p, const struct header *h)
{
  uint8_t bytes[RAW_PREAMBLE_MAX];
  int fd = raw_connect(p);
  raw_send(fd, bytes, raw_preamble_of(p, bytes, h));
  return fd;
}

int raw_dial(struct passport *p, const char *name, struct who who)
{
  const struct header h = header_of_dial(name, who, 'c');
  return raw_open_with(p, &h);
}

int raw_park(struct passport *p, struct who who)
{
  struct header h = header_of(who);
  h.park = true;
  return raw_open_with(p, &h);
}

int raw_greet(struct passport *p)
{
  uint8_t bytes[RAW_PREAMBLE_MAX];
  int fd = raw_connect(p);
  raw_send(fd, bytes, raw_preamble_make(p, bytes, NULL, 0));
  return fd;
}

/* Whether it has ended; else *size more have come. */
static bool part_read(int fd, uint8_t *out, size_t size, size_t *read)
{
  ssize_t got = recv(fd, out, size, MSG_DONTWAIT);
  if (got > 0)
    *read += (size_t)got;
  return got == 0 || (got < 0 && errno != EAGAIN);
}

void raw_read(struct fixture *f, int fd, void *out, size_t size)
{
  size_t done = 0;
  bool ended = false;
  FIXTURE_UNTIL(f, (ended = part_read(fd, (uint8_t *)out + done, size - done, &done)) || done == size);
  ck_assert_msg(!ended, "it ended after %zu of %zu bytes", done, size);
}

void raw_hears(struct fixture *f, int fd, const char *text)
{
  char heard[1024];
  size_t size = strlen(text);
  ck_assert_uint_lt(size, sizeof heard);
  raw_read(f, fd, heard, size);
  ck_assert_mem_eq(heard, text, size);
}

struct raw_word raw_word_read(const struct passport *p, int fd, uint64_t counter)
{
  struct raw_word word;
  uint8_t bytes[RAW_WORD_MAX];
  const struct raw_place place = {.counter = counter};
  raw_read(p->f, fd, bytes, RAW_LENGTH_SIZE);
  int size = raw_word_length(bytes);
  ck_assert_int_gt(size, 0);
  raw_read(p->f, fd, bytes + RAW_LENGTH_SIZE, (size_t)size);
  ck_assert_int_eq(raw_word_open(&p->keys, &place, bytes, &word), 0);
  return word;
}

void raw_refused(const struct passport *p, int fd, uint64_t counter, enum rpc_status status, const char *part)
{
  struct raw_word word = raw_word_read(p, fd, counter);
  ck_assert_int_eq(word.kind, RAW_WORD_STATUS);
  ck_assert_msg(word.status == status, "%s, %s", rpc_status_name(word.status), word.text);
  ck_assert_msg(strstr(word.text, part) != NULL, "%s", word.text);
  raw_ends(p->f, fd);
}

void raw_ends(struct fixture *f, int fd)
{
  uint8_t byte;
  size_t read = 0;
  FIXTURE_UNTIL(f, part_read(fd, &byte, 1, &read) || read > 0);
  ck_assert_uint_eq(read, 0);
  close(fd);
}

void raw_is_reset(struct fixture *f, int fd)
{
  uint8_t byte;
  size_t read = 0;
  errno = 0;
  FIXTURE_UNTIL(f, part_read(fd, &byte, 1, &read) || read > 0);
  ck_assert_int_eq(errno, ECONNRESET);
  ck_assert_uint_eq(read, 0);
  close(fd);
}

bool raw_is_silent(int fd)
{
  uint8_t byte;
  return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

void raw_begins(const struct passport *p, int fd, uint64_t counter, struct header *out)
{
  const char *why;
  struct raw_word word = raw_word_read(p, fd, counter);
  ck_assert_int_eq(word.kind, RAW_WORD_FIRST);
  ck_assert_int_eq(first_message_read(word.first, word.first_size, out, &why), RPC_OK);
}
