/* One level of folders is looked into: those of certbot and dehydrated have one folder for each name. */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *name, const char *end)
{
  size_t size = strlen(name), tail = strlen(end);
  return size > tail && strcmp(name + size - tail, end) == 0;
}

static char *join(const char *dir, const char *name)
{
  char *path;
  return asprintf(&path, "%s/%s", dir, name) >= 0 ? path : NULL;
}

/* NAME.key for NAME.pem; NULL in *out: there is none. */
static int key_beside(const char *chain, char **out)
{
  size_t stem = strlen(chain) - 4;
  char *key = malloc(stem + sizeof ".key");

  *out = NULL;
  if (key == NULL)
    return -ENOMEM;
  memcpy(key, chain, stem);
  memcpy(key + stem, ".key", sizeof ".key");
  if (access(key, F_OK) == 0)
    *out = key;
  else
    free(key);
  return 0;
}

/* Takes both over. */
static int add(struct folder *f, char *chain, char *key, size_t most)
{
  int error = 0;

  if (f->count == most) {
    f->left_out++;
  } else if (f->count == f->room) {
    size_t room = f->room > 0 ? 2 * f->room : 16;
    struct folder_file *files = realloc(f->files, room * sizeof *files);
    error = files != NULL ? 0 : -ENOMEM;
    f->files = files != NULL ? files : f->files;
    f->room = files != NULL ? room : f->room;
  }
  if (error == 0 && f->count < most) {
    f->files[f->count++] = (struct folder_file){chain, key, credential_look(chain), credential_look(key)};
    return 0;
  }
  free(chain);
  free(key);
  return error;
}

static int add_named(struct folder *f, const char *dir, const char *name, size_t most)
{
  char *key = NULL, *chain = join(dir, name);
  int error = chain != NULL ? key_beside(chain, &key) : -ENOMEM;

  if (error == 0)
    return add(f, chain, key, most);
  free(chain);
  return error;
}

/* Whether the folder has one, as certbot makes it. */
static int add_full_chain(struct folder *f, const char *dir, size_t most, bool *found)
{
  char *chain = join(dir, "fullchain.pem"), *key = join(dir, "privkey.pem");

  *found = chain != NULL && access(chain, F_OK) == 0;
  if (chain != NULL && key != NULL && *found)
    return add(f, chain, key, most);
  int error = chain != NULL && key != NULL ? 0 : -ENOMEM;
  free(chain);
  free(key);
  return error;
}

static int list_level(struct folder *f, const char *dir, size_t most, bool deeper);

static int list_entry(struct folder *f, const char *dir, const char *name, size_t most, bool deeper)
{
  struct stat st;
  char *path = join(dir, name);
  if (path == NULL)
    return -ENOMEM;
  bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
  int error = 0;
  if (is_folder && deeper)
    error = list_level(f, path, most, false);
  else if (!is_folder && (ends_with(name, ".pem") || ends_with(name, ".crt")))
    error = add_named(f, dir, name, most);
  free(path);
  /* A folder that is gone or closed to us has no certificates; the directory itself was opened. */
  return error == -ENOMEM ? error : 0;
}

static int list_level(struct folder *f, const char *dir, size_t most, bool deeper)
{
  bool full_chain;
  DIR *opened = opendir(dir);
  if (opened == NULL)
    return -errno;
  int error = add_full_chain(f, dir, most, &full_chain);
  for (struct dirent *e; error == 0 && (!full_chain || deeper) && (e = readdir(opened)) != NULL;) {
    bool named = ends_with(e->d_name, ".pem") || ends_with(e->d_name, ".crt");
    if (e->d_name[0] != '.' && !(full_chain && named))
      error = list_entry(f, dir, e->d_name, most, deeper);
  }
  closedir(opened);
  return error;
}

static int by_chain(const void *a, const void *b)
{
  return strcmp(((const struct folder_file *)a)->chain, ((const struct folder_file *)b)->chain);
}

int folder_list(struct folder *out, const char *dir, size_t most)
{
  *out = (struct folder){0};
  int error = list_level(out, dir, most, true);
  if (out->count > 1)
    qsort(out->files, out->count, sizeof *out->files, by_chain);
  return error;
}

void folder_free(struct folder *f)
{
  for (size_t i = 0; i < f->count; i++) {
    free(f->files[i].chain);
    free(f->files[i].key);
  }
  free(f->files);
  *f = (struct folder){0};
}
