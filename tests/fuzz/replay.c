/* Runs a fuzz target over the files of the folders that are named, without libFuzzer: the corpus as a test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4 << 20 };

/* A copy of exactly its size, so that a read beyond its end is seen. */
static int replay_file(const char *path)
{
  FILE *f = fopen(path, "rb");
  uint8_t *input = f ? malloc(INPUT_MAX) : NULL;
  int result = -1;
  if (input) {
    size_t size = fread(input, 1, INPUT_MAX, f);
    uint8_t *shrunk = realloc(input, size ? size : 1);
    input = shrunk ? shrunk : input;
    LLVMFuzzerTestOneInput(input, size);
    result = 0;
  } else {
    perror(path);
  }
  free(input);
  if (f)
    fclose(f);
  return result;
}

/* How many files there were, or -1. */
static int replay_folder(const char *folder)
{
  struct dirent **entries;
  int result = 0;
  int count = scandir(folder, &entries, NULL, alphasort);
  if (count < 0) {
    perror(folder);
    return -1;
  }
  for (int i = 0; i < count; i++) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.' && result >= 0)
      result = length < (int)sizeof path && replay_file(path) == 0 ? result + 1 : -1;
    free(entries[i]);
  }
  free(entries);
  return result;
}

int main(int argc, char **argv)
{
  int total = 0;
  for (int i = 1; i < argc; i++) {
    int count = replay_folder(argv[i]);
    if (count < 0)
      return 1;
    total += count;
  }
  printf("%d inputs\n", total);
  return total > 0 ? 0 : 1;
}
