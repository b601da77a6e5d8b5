/* Any text as a line of the log: it is one line, and as JSON a string that nothing in it ends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/host/log_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const char *line, size_t size)
{
  if (size != strlen(line) || size >= LOG_LINE_MAX || line[size - 1] != '\n')
    abort();
  for (size_t i = 0; i + 1 < size; i++)
    if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
      abort();
}

/* What follows the beginning of the message, up to its end. */
static void check_object(const char *line, size_t size)
{
  static const char begin[] = "\"message\":\"", end[] = "\"}\n";
  const char *at = strstr(line, begin), *stop = line + size - strlen(end);
  if (at == NULL || strcmp(stop, end) != 0)
    abort();
  for (at += strlen(begin); at < stop;) {
    size_t step = log_line_character((const unsigned char *)at);
    if (step == 0 || *at == '"')
      abort();
    at += *at == '\\' ? 2 : step;
  }
  if (at != stop)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char text[2 * LOG_LINE_TEXT_MAX] = "", line[LOG_LINE_MAX];
  memcpy(text, data, size < sizeof text ? size : sizeof text - 1);
  for (int style = LOG_LINE_PLAIN; style <= LOG_LINE_JSON; style++) {
    size_t length = log_line_write(line, (enum log_line_style)style, "mmfs", 0, text);
    check_line(line, length);
    if (style == LOG_LINE_JSON)
      check_object(line, length);
  }
  return 0;
}
