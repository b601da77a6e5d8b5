/* The edits from one word to the other are counted, neighbours that changed places as one. */
#include "spelling.h"

#include <string.h>

enum { WORD_MAX = 32, LETTERS_PER_SLIP = 3, SLIPS_MAX = 2 };

static size_t least(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
  size_t rows[WORD_MAX + 1][WORD_MAX + 1];

  for (size_t i = 0; i <= a_size; i++) {
    for (size_t j = 0; j <= b_size; j++) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      rows[i][j] =
          least(least(rows[i - 1][j], rows[i][j - 1]) + 1, rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
    }
  }
  return rows[a_size][b_size];
}

bool spelling_near(const char *word, size_t size, const char *known)
{
  size_t known_size = strlen(known);

  if (size > WORD_MAX || known_size > WORD_MAX)
    return false;
  return distance(word, size, known, known_size) <= least(known_size / LETTERS_PER_SLIP, SLIPS_MAX);
}
