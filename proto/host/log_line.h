/* One line of a log on standard error, as whoever reads it wants it. Pure but for log_line_style. Any thread. */
#ifndef PROTO_LOG_LINE_H
#define PROTO_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum log_line_style {
  LOG_LINE_PLAIN, /* PROGRAM: TEXT */
  LOG_LINE_TIMED, /* TIME PROGRAM: TEXT */
  LOG_LINE_JSON,  /* an object with the members time, program and message */
};

enum { LOG_LINE_TEXT_MAX = 1200, LOG_LINE_MAX = 2 * LOG_LINE_TEXT_MAX + 128 };

/* Whether systemd's journal is what reads the descriptor, as JOURNAL_STREAM tells. */
bool log_line_is_journal(int fd);
/* The journal adds times by itself: LOG_LINE_PLAIN or LOG_LINE_TIMED. */
enum log_line_style log_line_style(int fd);
/* With a newline and a final NUL; a text over LOG_LINE_TEXT_MAX is cut. Control characters become "?", and in JSON so
 * does what is no UTF-8. Returns the length. */
size_t log_line_write(char out[LOG_LINE_MAX], enum log_line_style style, const char *program, time_t when,
                      const char *text);

/* How many bytes the UTF-8 character at `s`, before a NUL, has. 0: it is none, or a control character. */
size_t log_line_character(const unsigned char *s);

#endif
