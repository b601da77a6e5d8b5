/* What the files of the tree share: the handlers that stand in its one table, and how a refusal is told. */
#ifndef DAEMON_TREE_INTERNAL_H
#define DAEMON_TREE_INTERNAL_H

#include <stdint.h>

#include "fs/fs.h"
#include "tree.h"

struct forward_write;
struct public_wait;
struct replay;
struct service_wait;

/* A line that waits for its verdict. `tree` is NULL once the tree is closed. */
struct tree_wait {
  struct tree *tree;
  struct tree_wait *prev, *next;
  struct fs_request *request;
  struct service_wait *service;
  struct forward_write *forward;
  struct public_wait *public_name;
  struct replay *replay;
  bool declared; /* by this very line, which takes it back when it is refused */
  char name[64];
  const char *text;
  char path[96];
};

/* A file made by `echo ADDRESS > services/NAME`. */
struct tree_draft {
  struct tree *tree;
  struct tree_draft *prev, *next;
  char name[64];
};

struct tree {
  struct uv_loop_s *loop;
  struct fs *fs;
  struct tree_parts parts;
  struct tree_options options;
  struct fs_options fs_options;
  struct state *state; /* NULL: nothing is kept */
  uint64_t started_ms;
  struct tree_wait *waits;
  struct tree_draft *drafts;
  struct tree_link *links; /* the entries of public/ */
  void (*closed)(void *arg);
  void *closed_arg;
};

/* The row with this path and kind, which the table has. */
const struct fs_row *tree_row(const char *path, enum fs_kind kind);
/* The tree of an entry that is not below connections/. */
struct tree *tree_of(const struct fs_entry *entry);
struct fs_entry *tree_folder(const struct tree *t, const char *name);

/* Puts a line in errors: "DOING: WHY (ERRNO)". Returns `error`. */
int tree_refuse(struct tree *t, int error, const char *why, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether a router that is there does not let us in, so that nothing can be declared: -EACCES and why, or 0. */
int tree_shut_out(const struct tree *t, const char **why);

/* NULL when memory is short. `path` is relative to the mount. */
struct tree_wait *tree_wait_create(struct tree *t, struct fs_request *request, const char *path, const char *text);
/* Tells a refusal in errors, answers the line, and frees. */
void tree_wait_answer(struct tree_wait *w, int error, const char *why);

/* tree_services.c */
int services_row_mkdir(struct fs_entry *dir, const char *name);
int services_row_create(struct fs_entry *dir, const char *name, struct fs_entry **out);
int service_row_create(struct fs_entry *dir, const char *name, struct fs_entry **out);
int service_row_rmdir(struct fs_entry *dir);
void draft_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
void draft_row_begun(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
void draft_row_released(struct fs_entry *file);
bool target_row_visible(struct fs_entry *file);
int target_row_render(struct fs_entry *file, struct fs_text *out);
void target_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
void target_row_begun(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
int target_row_unlink(struct fs_entry *file);
int service_status_row_render(struct fs_entry *file, struct fs_text *out);
/* Of this service, whether it is declared or not. */
void tree_service_counts_changed(struct tree *t, const char *name);
int service_stats_row_render(struct fs_entry *file, struct fs_text *out);
int service_file_row_unlink(struct fs_entry *file);
int proxy_row_render(struct fs_entry *file, struct fs_text *out);
void proxy_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
int proxy_row_unlink(struct fs_entry *file);

/* tree_public.c */
bool own_row_visible(struct fs_entry *file); /* the service is declared here */
int public_row_render(struct fs_entry *file, struct fs_text *out);
void public_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
int public_row_unlink(struct fs_entry *file);
int url_row_render(struct fs_entry *file, struct fs_text *out);
int link_row_render(struct fs_entry *file, struct fs_text *out);
/* What public/ has is what the services have. */
void tree_public_refresh(struct tree *t);
void tree_links_free(struct tree *t);

/* tree_requests.c */
enum { TREE_REPLAY_MAX = 64 << 20 }; /* bytes of a request that is written */
void requests_row_opened(struct fs_entry *file);
int requests_row_live(struct fs_entry *file, const char **bytes, size_t *size);
int requests_row_unlink(struct fs_entry *file);
int inspect_row_rmdir(struct fs_entry *dir);
int inspect_row_unlink(struct fs_entry *file);
int limit_row_render(struct fs_entry *file, struct fs_text *out);
void limit_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
int exchange_row_rmdir(struct fs_entry *dir);
int exchange_row_live(struct fs_entry *file, const char **bytes, size_t *size);
int exchange_row_render(struct fs_entry *file, struct fs_text *out);
int replay_row_render(struct fs_entry *file, struct fs_text *out);
void replay_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);

/* tree_rules.c */
int rule_row_render(struct fs_entry *file, struct fs_text *out);
void rule_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
void rule_row_over(struct fs_entry *file);
int rule_row_unlink(struct fs_entry *file);

/* tree_forwards.c */
int forwards_row_create(struct fs_entry *dir, const char *name, struct fs_entry **out);
int forward_row_render(struct fs_entry *file, struct fs_text *out);
void forward_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
void forward_row_begun(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
void forward_row_over(struct fs_entry *file);
void forward_row_released(struct fs_entry *file);
int forward_row_unlink(struct fs_entry *file);

/* tree_connections.c */
int connection_row_render(struct fs_entry *file, struct fs_text *out);
int connection_row_unlink(struct fs_entry *file);

#endif
