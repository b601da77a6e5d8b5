/* A line for each field. Public values are there, too: they tell a human whose file it is, and since they are derived
 * from the secrets, they show whether a secret is damaged. The reader takes the fields from where they must stand, and
 * checks that writing them again gives the same text.
 */
#include "identity_text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_MAX = 2 * IDENTITY_SIZE + 1 };

static const char title[] = "mindmeld identity ";
static const char version[] = "1\n", version_with_machine[] = "2\n";

static const char *to_hex(const uint8_t *bytes, size_t size, char out[HEX_MAX])
{
  for (size_t i = 0; i < size; i++)
    snprintf(out + 2 * i, 3, "%02x", bytes[i]);
  return out;
}

/* What tells a damaged machine from a whole one. */
static void bind(const struct identity_text *from, uint8_t out[HEADER_MEMBER_SIZE])
{
  uint8_t key[HEADER_MEMBER_KEY_SIZE];

  memcpy(key, from->machine, sizeof from->machine);
  memcpy(key + sizeof from->machine, from->seed, sizeof key - sizeof from->machine);
  member_of_key(key, out);
  explicit_bzero(key, sizeof key);
}

size_t identity_text_write(const struct identity_text *from, char out[IDENTITY_TEXT_MAX])
{
  uint8_t identity[IDENTITY_SIZE], member[HEADER_MEMBER_SIZE];
  char identity_hex[HEX_MAX], seed_hex[HEX_MAX], member_hex[HEX_MAX], key_hex[HEX_MAX];

  identity_of_seed(from->seed, identity);
  member_of_key(from->member_key, member);
  int length = snprintf(
      out, IDENTITY_TEXT_MAX, "%s%sidentity %s\nseed %s\ninstance %" PRIu64 "\nmember %s\nmember_key %s\n", title,
      from->has_machine ? version_with_machine : version, to_hex(identity, sizeof identity, identity_hex),
      to_hex(from->seed, sizeof from->seed, seed_hex), from->instance, to_hex(member, sizeof member, member_hex),
      to_hex(from->member_key, sizeof from->member_key, key_hex));
  if (from->has_machine) {
    bind(from, member);
    length +=
        snprintf(out + length, IDENTITY_TEXT_MAX - (size_t)length, "machine %s\nbound %s\n",
                 to_hex(from->machine, sizeof from->machine, identity_hex), to_hex(member, sizeof member, member_hex));
  }
  if (from->has_former) {
    member_of_key(from->former_key, member);
    length +=
        snprintf(out + length, IDENTITY_TEXT_MAX - (size_t)length, "former %s\nformer_key %s\n",
                 to_hex(member, sizeof member, member_hex), to_hex(from->former_key, sizeof from->former_key, key_hex));
  }
  explicit_bzero(seed_hex, sizeof seed_hex);
  explicit_bzero(key_hex, sizeof key_hex);
  return (size_t)length;
}

static int hex_digit(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of the line that begins with `label`. */
static const char *value_of(const char *text, const char *label)
{
  const char *at = strstr(text, label);

  return at != NULL ? at + strlen(label) : NULL;
}

bool identity_text_hex(const char *text, uint8_t *out, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    int high = hex_digit(text[2 * i]), low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);

    if (low < 0)
      return false;
    out[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

static bool read_hex(const char *at, uint8_t *out, size_t size)
{
  return at != NULL && identity_text_hex(at, out, size);
}

static bool read_fields(const char *text, struct identity_text *out)
{
  const char *instance = value_of(text, "\ninstance "), *machine = value_of(text, "\nmachine "),
             *former = value_of(text, "\nformer_key ");

  if (instance == NULL || !read_hex(value_of(text, "\nseed "), out->seed, sizeof out->seed) ||
      !read_hex(value_of(text, "\nmember_key "), out->member_key, sizeof out->member_key))
    return false;
  out->has_machine = machine != NULL;
  if (out->has_machine && !read_hex(machine, out->machine, sizeof out->machine))
    return false;
  out->has_former = former != NULL;
  if (out->has_former && !read_hex(former, out->former_key, sizeof out->former_key))
    return false;
  errno = 0;
  out->instance = strtoull(instance, NULL, 10);
  return errno == 0;
}

static bool is_newer(const char *text)
{
  const char *said = text + strlen(title);

  return strncmp(text, title, strlen(title)) == 0 && strchr(text, '\n') != NULL &&
         strncmp(said, version, strlen(version)) != 0 &&
         strncmp(said, version_with_machine, strlen(version_with_machine)) != 0;
}

int identity_text_read(const char *text, size_t size, struct identity_text *out)
{
  char copy[IDENTITY_TEXT_MAX], again[IDENTITY_TEXT_MAX];
  int err = -EINVAL;

  memset(out, 0, sizeof *out);
  if (size >= sizeof copy || memchr(text, '\0', size) != NULL)
    return -EINVAL;
  memcpy(copy, text, size);
  copy[size] = '\0';
  if (is_newer(copy))
    err = -EPROTONOSUPPORT;
  else if (read_fields(copy, out) && identity_text_write(out, again) == size && memcmp(copy, again, size) == 0)
    err = 0;
  if (err != 0)
    explicit_bzero(out, sizeof *out);
  explicit_bzero(copy, sizeof copy);
  explicit_bzero(again, sizeof again);
  return err;
}
