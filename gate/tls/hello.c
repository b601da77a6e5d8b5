/* RFC 8446, 4.1.2; RFC 6066, 3. A length that leaves a byte over, or takes one too many, is an error. A message may be
 * cut into records at any place.
 */
#include "hello.h"

#include <string.h>

enum {
  RECORD_HEADER = 5,
  RECORD_MAX = 16 * 1024,
  RECORD_HANDSHAKE = 22,
  MESSAGE_HEADER = 4,
  MESSAGE_CLIENT_HELLO = 1,
  VERSION_AND_RANDOM = 2 + 32,
  SESSION_MAX = 32,
  EXTENSION_SERVER_NAME = 0,
  NAME_HOST = 0,
};

const char hello_refusal[HELLO_REFUSAL_SIZE] = {21, 3, 1, 0, 2, 2, 80};

/* What is left to be read. */
struct rest {
  const uint8_t *at;
  size_t size;
  bool failed; /* more was taken than there is */
};

static struct rest take(struct rest *from, size_t size)
{
  if (size > from->size) {
    *from = (struct rest){.failed = true};
    return *from;
  }
  struct rest part = {from->at, size, false};
  from->at += size;
  from->size -= size;
  return part;
}

static size_t take_number(struct rest *from, size_t bytes)
{
  struct rest part = take(from, bytes);
  size_t number = 0;
  for (size_t i = 0; i < part.size; i++)
    number = number << 8 | part.at[i];
  return number;
}

/* What has its length before it, in so many bytes. */
static struct rest take_vector(struct rest *from, size_t bytes)
{
  size_t size = take_number(from, bytes);
  return take(from, size);
}

/* In lower case; 0: it is in no host. */
static uint8_t host_character(uint8_t c)
{
  if (c >= 'A' && c <= 'Z')
    return c | 0x20;
  bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  return good ? c : 0;
}

bool hello_read_server_name(const uint8_t *bytes, size_t size, char name[HELLO_NAME_SIZE])
{
  struct rest all = {bytes, size, false};
  struct rest list = take_vector(&all, 2);
  size_t kind = take_number(&list, 1);
  struct rest host = take_vector(&list, 2);

  if (all.failed || all.size > 0 || list.failed || list.size > 0 || kind != NAME_HOST)
    return false;
  if (host.size > 0 && host.at[host.size - 1] == '.')
    host.size--;
  if (host.size == 0 || host.size >= HELLO_NAME_SIZE)
    return false;
  for (size_t i = 0; i < host.size; i++) {
    name[i] = (char)host_character(host.at[i]);
    if (name[i] == '\0')
      return false;
  }
  name[host.size] = '\0';
  return true;
}

static enum hello read_extensions(struct rest all, char name[HELLO_NAME_SIZE])
{
  bool named = false;

  while (all.size > 0) {
    size_t kind = take_number(&all, 2);
    struct rest contents = take_vector(&all, 2);
    if (all.failed)
      return HELLO_BAD;
    if (kind != EXTENSION_SERVER_NAME)
      continue;
    if (named || !hello_read_server_name(contents.at, contents.size, name))
      return HELLO_BAD;
    named = true;
  }
  return named ? HELLO_NAMED : HELLO_NAMELESS;
}

static enum hello read_message(struct rest m, char name[HELLO_NAME_SIZE])
{
  take(&m, VERSION_AND_RANDOM);
  struct rest session = take_vector(&m, 1);
  struct rest suites = take_vector(&m, 2);
  struct rest compression = take_vector(&m, 1);

  if (m.failed || session.size > SESSION_MAX || suites.size == 0 || suites.size % 2 != 0 || compression.size == 0)
    return HELLO_BAD;
  if (m.size == 0)
    return HELLO_NAMELESS;
  struct rest extensions = take_vector(&m, 2);
  return m.failed || m.size > 0 ? HELLO_BAD : read_extensions(extensions, name);
}

/* What is known to be wrong is wrong before it is complete. */
static bool begins_well(const uint8_t *message, size_t size, size_t *whole)
{
  *whole = SIZE_MAX;
  if (size > 0 && message[0] != MESSAGE_CLIENT_HELLO)
    return false;
  if (size < MESSAGE_HEADER)
    return true;
  size_t body = (size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3];
  *whole = MESSAGE_HEADER + body;
  return body <= HELLO_MAX;
}

static bool header_is_good(const uint8_t *header, size_t size, size_t *contents)
{
  if ((size > 0 && header[0] != RECORD_HANDSHAKE) || (size > 1 && header[1] != 3))
    return false;
  *contents = size < RECORD_HEADER ? 0 : (size_t)header[3] << 8 | header[4];
  return size < RECORD_HEADER || (*contents > 0 && *contents <= RECORD_MAX);
}

enum hello hello_read(const uint8_t *bytes, size_t size, char name[HELLO_NAME_SIZE])
{
  uint8_t message[MESSAGE_HEADER + HELLO_MAX];
  size_t have = 0, whole, contents;

  for (size_t at = 0;; at += contents) {
    if (!header_is_good(bytes + at, size - at, &contents))
      return HELLO_BAD;
    if (size - at < RECORD_HEADER)
      break;
    at += RECORD_HEADER;
    size_t here = contents < size - at ? contents : size - at;
    size_t room = sizeof message - have;
    memcpy(message + have, bytes + at, here < room ? here : room);
    have += here < room ? here : room;
    if (!begins_well(message, have, &whole))
      return HELLO_BAD;
    if (have >= whole)
      return read_message((struct rest){message + MESSAGE_HEADER, whole - MESSAGE_HEADER, false}, name);
    if (here < contents)
      break;
  }
  return size < HELLO_PEEK ? HELLO_MORE : HELLO_BAD;
}
