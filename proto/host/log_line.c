/* Text is passed on as it is, but for what would break the line, or the object. */
#include "log_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plain.h"

bool log_line_is_journal(int fd)
{
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat st;
  char *end = NULL;
  unsigned long long dev;
  unsigned long long ino;

  /* systemd tells in it which device and inode its stream has. */
  if (stream == NULL || fstat(fd, &st) != 0)
    return false;
  dev = strtoull(stream, &end, 10);
  if (end == stream || *end != ':')
    return false;
  ino = strtoull(end + 1, NULL, 10);
  return dev == st.st_dev && ino == st.st_ino;
}

enum log_line_style log_line_style(int fd)
{
  return log_line_is_journal(fd) ? LOG_LINE_PLAIN : LOG_LINE_TIMED;
}

size_t log_line_character(const unsigned char *s)
{
  static const struct {
    unsigned char mask, lead;
    unsigned least; /* smaller ones are controls, or written too long */
  } shapes[] = {{0x80, 0x00, 0x20}, {0xe0, 0xc0, 0xa0}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

  for (size_t more = 0; more < sizeof(shapes) / sizeof(shapes[0]); more++) {
    unsigned point = s[0] & ~(unsigned)shapes[more].mask & 0xff;

    if ((s[0] & shapes[more].mask) != shapes[more].lead)
      continue;
    for (size_t i = 1; i <= more; i++) {
      if ((s[i] & 0xc0) != 0x80)
        return 0;
      point = point << 6 | (s[i] & 0x3f);
    }
    bool character = point >= shapes[more].least && point != 0x7f && point <= 0x10ffff && (point & ~0x7ffU) != 0xd800;
    return character ? more + 1 : 0;
  }
  return 0;
}

static void append(char **at, const char *text)
{
  size_t size = strlen(text);

  memcpy(*at, text, size);
  *at += size;
}

static void append_time(char **at, time_t when)
{
  struct tm tm = {0};

  gmtime_r(&when, &tm);
  *at += strftime(*at, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* The room for it is known: each byte takes at most two. */
static void append_text(char **at, const char *text, bool json)
{
  size_t left = LOG_LINE_TEXT_MAX;

  while (*text != '\0' && left > 0) {
    size_t size = log_line_character((const unsigned char *)text);

    if (size > left)
      return;
    if (json && (*text == '"' || *text == '\\'))
      *(*at)++ = '\\';
    bool bad = size == 0 && (json || plain_is_control(*text));
    size = size > 0 ? size : 1;
    memcpy(*at, bad ? "?" : text, size);
    *at += size;
    text += size;
    left -= size;
  }
}

size_t log_line_write(char out[LOG_LINE_MAX], enum log_line_style style, const char *program, time_t when,
                      const char *text)
{
  char *at = out;

  if (style == LOG_LINE_JSON)
    append(&at, "{\"time\":\"");
  if (style != LOG_LINE_PLAIN)
    append_time(&at, when);
  append(&at, style == LOG_LINE_JSON ? "\",\"program\":\"" : style == LOG_LINE_TIMED ? " " : "");
  append(&at, program);
  append(&at, style == LOG_LINE_JSON ? "\",\"message\":\"" : ": ");
  append_text(&at, text, style == LOG_LINE_JSON);
  append(&at, style == LOG_LINE_JSON ? "\"}\n" : "\n");
  *at = '\0';
  return (size_t)(at - out);
}
