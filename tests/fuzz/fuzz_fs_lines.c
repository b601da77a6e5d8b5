/* Any bytes, cut in any way, are accepted and refused as they are when they come one by one. The first byte says how
 * they are cut. */
#include "fs/fs_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
  uint64_t digest;
  size_t count;
  int error;
};

static ssize_t write_once(struct fs_lines *lines, const char *bytes, size_t size, bool flush, struct outcome *outcome)
{
  struct fs_line line;
  if (fs_lines_write(lines, bytes, size) != 0)
    abort();
  int result = 0;
  while ((result = fs_lines_next(lines, flush, &line)) > 0) {
    if (line.size > FS_LINE_MAX || strlen(line.text) != line.size)
      abort();
    if (line.text[0] == '!')
      return fs_lines_refuse(lines, -1);
    for (size_t i = 0; i <= line.size; i++)
      outcome->digest = outcome->digest * 31 + (unsigned char)line.text[i];
    outcome->count++;
    fs_lines_accept(lines);
  }
  return result < 0 ? fs_lines_refuse(lines, result) : fs_lines_end(lines);
}

static struct outcome write_in_steps(const char *bytes, size_t size, size_t step)
{
  struct fs_lines lines = {0};
  struct outcome outcome = {0};
  while (size > 0) {
    size_t part = size < step ? size : step;
    ssize_t taken = write_once(&lines, bytes, part, false, &outcome);
    if (taken == 0 || taken > (ssize_t)part)
      abort();
    if (taken < 0) {
      outcome.error = (int)taken;
      break;
    }
    bytes += taken;
    size -= (size_t)taken;
  }
  if (lines.size > 0) {
    ssize_t result = write_once(&lines, NULL, 0, true, &outcome);
    outcome.error = result < 0 ? (int)result : 0;
  }
  fs_lines_clear(&lines);
  return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0)
    return 0;
  const char *bytes = (const char *)data + 1;
  struct outcome one = write_in_steps(bytes, size - 1, 1);
  struct outcome some = write_in_steps(bytes, size - 1, (size_t)data[0] + 2);
  struct outcome all = write_in_steps(bytes, size - 1, size);
  if (one.digest != some.digest || one.count != some.count || one.error != some.error)
    abort();
  if (one.digest != all.digest || one.count != all.count || one.error != all.error)
    abort();
  return 0;
}
