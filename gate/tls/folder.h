/* Which files of a directory are certificates, and which are their keys: the rule of certs.h. By names alone. Any
 * thread. */
#ifndef GATE_FOLDER_H
#define GATE_FOLDER_H

#include <stddef.h>

#include "proto/host/credential.h"

/* Paths begin with the directory's. */
struct folder_file {
  char *chain;
  char *key; /* NULL: in the same file */
  struct credential_mark chain_mark, key_mark;
};

struct folder {
  struct folder_file *files; /* sorted by `chain` */
  size_t count, room;
  size_t left_out; /* beyond `most` */
};

/* 0, or a negative errno. To be freed either way. */
int folder_list(struct folder *out, const char *dir, size_t most);
void folder_free(struct folder *f);

#endif
