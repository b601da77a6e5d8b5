#include "link_line.h"

/* A count that has shrunk is another connection's. */
static bool slow_between(const struct link_line *line, uint64_t moved, uint64_t ms)
{
  uint64_t bytes = moved > line->moved ? moved - line->moved : 0;
  uint64_t rate = bytes * 1000 / ms;

  return rate >= LINE_IDLE_RATE && rate < LINE_SLOW_RATE;
}

bool link_line_is_slow(const struct link_line *line, uint64_t moved, uint64_t now)
{
  uint64_t ms = now - line->looked_at;

  return ms >= LINE_LOOK_MS ? slow_between(line, moved, ms) : line->slow;
}

void link_line_look(struct link_line *line, uint64_t moved, uint64_t now)
{
  if (now - line->looked_at < LINE_LOOK_MS)
    return;
  line->slow = line->looked_at != 0 && link_line_is_slow(line, moved, now);
  line->moved = moved;
  line->looked_at = now;
}
