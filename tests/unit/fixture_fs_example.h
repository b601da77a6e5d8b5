/* A small tree for the tests of the kit, with one file of each kind, and what the tests see of its inside. */
#ifndef FIXTURE_FS_EXAMPLE_H
#define FIXTURE_FS_EXAMPLE_H

#include <stdbool.h>
#include <utlist.h>
#include <uv.h>

#include "fs/fs.h"

enum { EXAMPLE_LINES = 64 };

struct example_item {
  struct example *example;
  struct fs_entry *entry;
  char name[64];
  char value[64];
  bool listed; /* as a directory; else a file under construction */
  struct example_item *prev, *next;
};

struct example {
  struct fs *fs;
  uv_loop_t *loop;
  uv_timer_t timer;
  struct fs_request *waiting;
  struct fs_entry *waiting_file;
  struct example_item *items;
  long counter;
  char log[4096];
  size_t log_size;
  char lines[EXAMPLE_LINES][64]; /* as the handler of `counter` saw them: text, and r(eplace) or a(dd) */
  size_t line_count;
  unsigned renders;
  unsigned released;
  unsigned over;
  unsigned interrupts;
  unsigned unmounted;
  bool shown; /* what `visible` says of `shy` */
  bool keeps; /* whether answers wait for fs_change_done */
  struct fs_change *changes[8];
  size_t change_count;
};

void on_slow_interrupt(struct fs_request *request, void *arg);

/* Those that handlers add, and how many there are. */
enum { ROW_ITEM = 8, ROW_DRAFT = 12, ROW_MANY = 14, EXAMPLE_ROWS = 17, BLOB_MAX = 16 };

extern const struct fs_row example_rows[EXAMPLE_ROWS];

void free_item(struct example_item *item);
int mkdir_item(struct fs_entry *dir, const char *name);
int rmdir_item(struct fs_entry *dir);
struct fs_options example_options(struct example *example);
void example_init(struct example *example, uv_loop_t *loop);

/* After the tree is closed. */
void example_free(struct example *example);

#endif
