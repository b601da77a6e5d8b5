/* What the gate says itself of a request is not the owner's to say: where a body ends, what becomes of the connection,
 * who asked. */
#include "rule_line.h"

#include <errno.h>
#include <string.h>

#include "network.h"
#include "proto/http1/target.h"

enum { HASH_MEMORY_KIB = 64 * 1024, HASH_PASSES = 4, HASH_MAX = 127 };

bool rule_line_split(const char *line, size_t size, struct http1_text *name, struct http1_text *value)
{
  const char *colon = memchr(line, ':', size);
  if (colon == NULL)
    return false;
  *name = (struct http1_text){line, (size_t)(colon - line)};
  *value = (struct http1_text){colon + 1, size - name->size - 1};
  return true;
}

static void append(char out[RULE_LINE_SIZE], size_t *at, const char *bytes, size_t size)
{
  memcpy(out + *at, bytes, size);
  *at += size;
  out[*at] = '\0';
}

static int check_client(const char *text, size_t size, char out[RULE_LINE_SIZE], const char **why)
{
  struct network n;
  char written[NETWORK_TEXT_SIZE];
  size_t at = 0;
  int error = network_parse(text, size, &n, why);
  if (error == 0) {
    network_format(&n, written);
    append(out, &at, written, strlen(written));
  }
  return error;
}

/* ---- Fields ---- */

static bool is_gates_own(struct http1_text name)
{
  static const char *const own[] = {"content-length",
                                    "transfer-encoding",
                                    "connection",
                                    "keep-alive",
                                    "proxy-connection",
                                    "proxy-authenticate",
                                    "te",
                                    "proxy-authorization",
                                    "trailer",
                                    "upgrade",
                                    "expect",
                                    "http2-settings",
                                    "x-forwarded-for",
                                    "x-forwarded-host",
                                    "forwarded",
                                    "x-forwarded-proto"};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
    if (grammar_is_word(name, own[i]))
      return true;
  }
  return false;
}

static int check_field(const char *text, size_t size, char out[RULE_LINE_SIZE], const char **why)
{
  struct http1_text name, value, host, port;
  size_t at = 0;

  *why = "a field is written NAME: VALUE, as Host: localhost:5173";
  if (!rule_line_split(text, size, &name, &value) || !grammar_is_token(name))
    return -EINVAL;
  value = grammar_trim(value);
  *why = "a field's value has no control characters";
  for (size_t i = 0; i < value.size; i++) {
    if (!grammar_is_value_character((unsigned char)value.at[i]))
      return -EINVAL;
  }
  *why = "that field is the gate's own: it says where a request ends, what becomes of its connection, or who asked";
  if (is_gates_own(name))
    return -EINVAL;
  *why = "Host is written HOST or HOST:PORT, as localhost:5173";
  if (grammar_is_word(name, "host") && !http1_authority_check(value, &host, &port))
    return -EINVAL;
  *why = "the line is too long";
  if (name.size + value.size + 3 > RULE_LINE_SIZE)
    return -EINVAL;
  append(out, &at, name.at, name.size);
  append(out, &at, ": ", value.size > 0 ? 2 : 1);
  append(out, &at, value.at, value.size);
  return 0;
}

/* ---- Users ---- */

/* Takes `word` off the front. */
static bool skip(struct http1_text *t, const char *word)
{
  size_t size = strlen(word);
  if (t->size < size || memcmp(t->at, word, size) != 0)
    return false;
  *t = (struct http1_text){t->at + size, t->size - size};
  return true;
}

/* Takes a number from 1 to `most` off the front. */
static bool skip_number(struct http1_text *t, unsigned long most)
{
  unsigned long number = 0;
  size_t digits = 0;
  while (digits < t->size && digits < 9 && t->at[digits] >= '0' && t->at[digits] <= '9')
    number = number * 10 + (unsigned long)(t->at[digits++] - '0');
  if (digits == 0 || t->at[0] == '0' || number > most)
    return false;
  *t = (struct http1_text){t->at + digits, t->size - digits};
  return true;
}

/* Takes `least` or more characters of base64 off the front. */
static bool skip_base64(struct http1_text *t, size_t least)
{
  size_t size = 0;
  while (size < t->size && t->at[size] != '\0' &&
         strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", t->at[size]) != NULL)
    size++;
  *t = (struct http1_text){t->at + size, t->size - size};
  return size >= least;
}

bool rule_line_is_hash(struct http1_text secret)
{
  struct http1_text t = secret;
  if (t.size > HASH_MAX || !skip(&t, "$argon2id$v=19$m=") || !skip_number(&t, HASH_MEMORY_KIB) || !skip(&t, ",t=") ||
      !skip_number(&t, HASH_PASSES) || !skip(&t, ",p=1$"))
    return false;
  return skip_base64(&t, 11) && skip(&t, "$") && skip_base64(&t, 22) && t.size == 0;
}

static bool has_control(struct http1_text t)
{
  for (size_t i = 0; i < t.size; i++) {
    if ((unsigned char)t.at[i] < ' ' || t.at[i] == 0x7f)
      return true;
  }
  return false;
}

int rule_line_user(const char *text, bool *hashed, const char **why)
{
  struct http1_text name, secret, rest;

  *hashed = false;
  *why = "a user is written NAME:SECRET";
  if (!rule_line_split(text, strlen(text), &name, &secret) || name.size == 0 || secret.size == 0)
    return -EINVAL;
  *why = "a user's name has at most 64 bytes, and the secret 256";
  if (name.size > RULE_USER_MAX || secret.size > RULE_SECRET_MAX)
    return -EINVAL;
  *why = "a user's name and secret have no control characters";
  if (has_control(name) || has_control(secret))
    return -EINVAL;
  rest = secret;
  if (!skip(&rest, "$argon2id$"))
    return 0;
  *hashed = true;
  *why = "a secret that begins with $argon2id$ is a hash, which has the version 19, at most 64 MiB (m=65536), 4 passes "
         "and p=1";
  return rule_line_is_hash(secret) ? 0 : -EINVAL;
}

static int check_user(const char *text, size_t size, char out[RULE_LINE_SIZE], const char **why)
{
  bool hashed;
  size_t at = 0;
  int error = rule_line_user(text, &hashed, why);
  if (error != 0)
    return error;
  *why = "the secret is not hashed";
  if (!hashed)
    return -EINVAL;
  append(out, &at, text, size);
  return 0;
}

int rule_line_check(enum rule_kind kind, const char *text, char out[RULE_LINE_SIZE], const char **why)
{
  size_t size = strlen(text);

  switch (kind) {
  case RULE_CLIENTS:
    return check_client(text, size, out, why);
  case RULE_HEADERS:
    return check_field(text, size, out, why);
  case RULE_USERS:
    return check_user(text, size, out, why);
  default:
    *why = "it is not made of lines";
    return -EINVAL;
  }
}
