/* The machine's id is confidential, since a machine can be recognised by it elsewhere. So we write down only a hash of
 * it together with an id of ours.
 */
#include "identity_machine.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { ID_SIZE = 16, TEXT_SIZE = 2 * ID_SIZE };

/* Random, and for this use only. */
static const uint8_t ours[] = {0x8e, 0x2b, 0x5d, 0x90, 0x17, 0xc4, 0x4f, 0x6a,
                               0xa3, 0x3c, 0xd8, 0x01, 0x76, 0xe9, 0xb5, 0x4f};

static bool read_id(const char *file, char text[TEXT_SIZE])
{
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

  if (fd < 0)
    return false;
  ssize_t size = read(fd, text, TEXT_SIZE);
  close(fd);
  return size == TEXT_SIZE;
}

bool identity_machine_read(const char *file, uint8_t out[IDENTITY_MACHINE_SIZE])
{
  uint8_t key[HEADER_MEMBER_KEY_SIZE];
  char text[TEXT_SIZE];

  _Static_assert(sizeof key == ID_SIZE + sizeof ours && (int)IDENTITY_MACHINE_SIZE == (int)HEADER_MEMBER_SIZE,
                 "the hash that there is takes both");
  if (!read_id(file, text) || !identity_text_hex(text, key, ID_SIZE))
    return false;
  memcpy(key + ID_SIZE, ours, sizeof ours);
  member_of_key(key, out);
  return true;
}
