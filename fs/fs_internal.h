/* What the files of the kit share: the tree (table.c), renderings (text.c), lines (lines.c), what is open (handle.c),
 * lines that wait (request.c), and the session (session.c), which reaches libfuse only through the files named glue.
 * All of it belongs to the loop's thread. */
#ifndef FS_FS_INTERNAL_H
#define FS_FS_INTERNAL_H

#include "fs/fs.h"

#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
/* An entry that found no room has tbl == NULL afterwards. The default function falls through its cases unannounced. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_OAT
#include <uthash.h>
#include <uv.h>

enum { FS_TEXT_KEPT_MS = 1000, FS_LOOK_MS = 100, FS_WRITE_MAX = 128 * 1024, FS_ROOT_INO = 1 };

/* text.c: a rendering, shared by reference counts. */
struct fs_text {
  char *bytes;
  size_t size;
  size_t room;
  unsigned references;
  bool failed; /* memory was short */
};

struct fs_text *fs_text_new(void);
struct fs_text *fs_text_hold(struct fs_text *text);
void fs_text_release(struct fs_text *text); /* NULL is fine */

/* lines.c: bytes in, lines out. One write at a time: fs_lines_write; then fs_lines_next and fs_lines_accept in turn;
 * then fs_lines_end or fs_lines_refuse, whose result is the answer to the write. */
struct fs_lines {
  char *bytes; /* what an earlier write left, and what this one brought; ends in room for a NUL */
  size_t size;
  size_t room;
  size_t carried; /* how many of them an earlier write was answered for */
  size_t done;    /* those before it are carried out */
  size_t next;    /* where the line after the present one begins */
};

int fs_lines_write(struct fs_lines *lines, const char *bytes, size_t size);
/* 1 and the next complete line; 0 when there is none; or why it is refused. With `flush` the rest is a line too. */
int fs_lines_next(struct fs_lines *lines, bool flush, struct fs_line *line);
/* Between fs_lines_next, which found none, and fs_lines_end: what there is of a line that is not complete, if it can be
 * seen that it will say something. */
bool fs_lines_rest(struct fs_lines *lines, struct fs_line *line);
void fs_lines_accept(struct fs_lines *lines);
ssize_t fs_lines_end(struct fs_lines *lines);
ssize_t fs_lines_refuse(struct fs_lines *lines, int error);
void fs_lines_clear(struct fs_lines *lines);

/* table.c: the rows and the tree of entries. An entry that is in the tree stays; one that was removed is freed when
 * nothing holds it: handles, requests and running handlers (holds), entries below it (dependants), and the kernel
 * (lookups) unless FS_GHOSTS_MAX others went after it. */
/* How a row's path hangs together with the others. */
struct fs_shape {
  const struct fs_row *parent; /* NULL: the root */
  const char *name;            /* the last part of the path */
  bool star;
};

/* rows.c. -EINVAL when a path makes no sense. */
int fs_shapes_fill(struct fs_shape *shapes, const struct fs_row *rows, size_t row_count);

enum { FS_GHOSTS_MAX = 1024 }; /* of one directory */

/* A number that an entry had, and that the kernel still knows it by. */
struct fs_alias {
  uint64_t ino;
  uint64_t lookups;
  struct fs_entry *entry;
  struct fs_alias *following; /* of the same entry */
  UT_hash_handle by_number;
};

struct fs_table {
  const struct fs_row *rows;
  size_t row_count;
  struct fs_shape *shapes;
  struct fs_entry *by_ino;
  struct fs_alias *aliases;
  struct fs_entry *root;
  uint64_t next_ino;
  uid_t uid;
  gid_t gid;
  struct fs *fs;
};

struct fs_entry {
  struct fs_table *table;
  const struct fs_row *row;
  struct fs_entry *parent;
  struct fs_entry *children; /* by name, in the order in which they came */
  struct fs_entry *ghosts;   /* removed and still held, by name, the oldest first: they may come back */
  void *object;
  uint64_t ino;
  uint64_t lookups;
  struct fs_alias *aliases;
  mode_t mode; /* the row's, or less of it */
  size_t dependants;
  unsigned holds;
  unsigned life;  /* how often it was removed: a handle of a former life is dead */
  unsigned opens; /* handles of this life */
  bool removed;
  bool detached;
  bool dead; /* the kernel took it for removed by rmdir: its inode number never comes back */
  struct fs_text *text;
  uint64_t rendered; /* when, in milliseconds of the loop's clock */
  uint64_t digest;   /* of the last rendering */
  size_t live_size;
  struct timespec changed;
  UT_hash_handle by_name;
  UT_hash_handle by_number;
  char name[];
};

/* Checks the rows; -EINVAL, -ENOMEM. The caller sets uid, gid and fs afterwards. */
int fs_table_init(struct fs_table *table, const struct fs_row *rows, size_t row_count, void *root_object);
void fs_table_free(struct fs_table *table);
/* By its name, if it is visible now. NULL: none. */
struct fs_entry *fs_entry_find(struct fs_entry *dir, const char *name);
/* It came into being with the entry above. */
bool fs_entry_static(const struct fs_entry *entry);
bool fs_entry_visible(struct fs_entry *entry);
/* Whether it and all above are in the tree. */
bool fs_entry_alive(const struct fs_entry *entry);
void fs_entry_hold(struct fs_entry *entry);
void fs_entry_let(struct fs_entry *entry);
void fs_entry_forget(struct fs_entry *entry, uint64_t lookups);
/* S_IFDIR and the like. */
mode_t fs_row_type(const struct fs_row *row);
/* Renders unless what there is will do; a `fresh` one is not older than FS_TEXT_KEPT_MS. *out is the entry's. */
int fs_entry_render(struct fs_entry *entry, uint64_t now, bool fresh, struct fs_text **out);
/* What lies in a live file now; nothing when it is not alive. */
int fs_entry_live(struct fs_entry *entry, const char **bytes, size_t *size);
int fs_entry_stat(struct fs_entry *entry, uint64_t now, struct stat *st);

/* numbers.c: what the kernel calls an entry. */
struct fs_entry *fs_table_find(struct fs_table *table, uint64_t ino);
void fs_table_forget(struct fs_table *table, uint64_t ino, uint64_t lookups);
/* Gives an entry that rmdir left in place a new number, since the kernel holds the old one for dead. */
void fs_entry_renew(struct fs_entry *entry);
/* Gives an entry a new number for all who come by its name; those who have it open keep the old one. Short of memory,
 * it keeps the one that it has. */
void fs_entry_part(struct fs_entry *entry);
/* The entry is about to be freed. */
void fs_numbers_drop(struct fs_entry *entry);

/* handle.c: what the kernel has open. */
struct fs_name {
  uint64_t ino;
  mode_t type; /* as in st_mode */
  size_t at;   /* of the name in the listing's bytes */
};

struct fs_handle {
  struct fs_entry *entry;
  unsigned life;
  pid_t opener; /* the thread, as the kernel calls it; 0: unknown */
  bool writable;
  bool append;
  bool accepted; /* a line of this open was */
  bool going_on; /* ... and the row was not told since that it is over */
  bool released;
  struct fs_request *waiting;
  struct fs_text *text;
  struct fs_lines lines;
  struct fs_name *names; /* of a directory when it was opened or rewound */
  size_t name_count;
  char *name_bytes;
  struct fs_handle **list; /* the list that it is in */
  struct fs_handle *prev, *next;
};

/* `flags` as of open(2). The handle joins *list. */
int fs_handle_open(struct fs_entry *entry, int flags, uint64_t now, struct fs_handle **list, struct fs_handle **out);
int fs_handle_list(struct fs_handle *handle); /* lists a directory, again */
const char *fs_handle_name(const struct fs_handle *handle, const struct fs_name *name);
/* What there is to read; valid until the return to the loop. */
int fs_handle_bytes(struct fs_handle *handle, const char **bytes, size_t *size);
bool fs_handle_alive(const struct fs_handle *handle);
/* Tells the row that the lines are over. */
void fs_handle_end(struct fs_handle *handle);
/* The kernel let go of it. It is freed when nothing waits any more. */
void fs_handle_release(struct fs_handle *handle);
/* Frees the handle alone: its entry may be gone. */
void fs_handle_free(struct fs_handle *handle);

/* request.c: the lines of one write, or of a flush. */
struct fs_request {
  struct fs_handle *handle;
  struct fs_line line;
  pid_t writer; /* the thread, as the kernel calls it; 0: unknown */
  bool flush;
  bool begun;       /* `line` is not complete */
  bool running;     /* the handler of the line is */
  bool answered;    /* ... and has answered */
  bool interrupted; /* the writer was */
  bool ending;      /* ... by a signal that ends it */
  bool abandoned;   /* the session is over: fs_reply frees, and no more */
  int error;
  void (*answer)(void *token, bool flush, ssize_t result);
  void *token;
  void (*on_interrupt)(struct fs_request *request, void *arg);
  void *arg;
  void (*wake)(struct fs *fs);
  struct fs_request **list;
  struct fs_request *prev, *next;
};

/* NULL: no memory. The caller fills in writer, flush, answer, token and wake, then runs it; from then on it belongs to
 * the one who has to answer the line. `answer` runs once, with the count or a negative errno. */
struct fs_request *fs_request_new(struct fs_handle *handle, struct fs_request **list);
void fs_request_run(struct fs_request *request, const char *bytes, size_t size);
/* Tells those whose writers a signal ends. True: others were interrupted, by a signal that does not; the kernel will
 * not say when one comes that does. */
bool fs_requests_interrupt(struct fs_request **list);
/* At the end, answers all that wait with -ECANCELED. */
void fs_requests_abandon(struct fs_request **list);

/* writer.c: what can be seen of a process. Has `closer`, which closes a descriptor of the entry, opened it as `opener`,
 * and has no other one for writing? */
bool fs_writer_is_done(pid_t opener, pid_t closer, const struct fs_entry *entry);
/* Is there a signal that ends it? */
bool fs_writer_is_ending(pid_t writer);

/* change.c: answers that wait until the program has done what is due after a change. */
struct fs_change {
  struct fs *fs; /* NULL: answered, since the session is over */
  /* `error` is 0 or -ECANCELED. */
  void (*answer)(const struct fs_change *change, int error);
  void *token;
  struct fs_entry *entry; /* to be answered with, or NULL */
  size_t written;         /* likewise, of a write */
  struct fs_change *prev, *next;
};

/* `told` is copied. Its answer runs once: inside this call, or later. */
void fs_change_tell(struct fs *fs, const struct fs_change *told);
/* Answers all with -ECANCELED. */
void fs_changes_abandon(struct fs *fs);

/* mountpoint.c: the device number, as text, of what is mounted on `path` (resolved) now. False: nothing, or unknown. */
enum { FS_DEVICE_SIZE = 32 };
bool fs_mountpoint_device(const char *path, char *device, size_t device_size);

/* capture.c: keeps what libfuse and fusermount3 print to stderr while a mount is tried. */
struct fs_capture {
  int saved;
  int file;
};
void fs_capture_begin(struct fs_capture *capture);
/* The first sentence goes to `message`; or, when it is NULL, everything goes to where it was meant for. */
void fs_capture_end(struct fs_capture *capture, char *message, size_t message_size);

/* refusal.c: tells the program that the kit refused to do something to `name` in `at`, or (NULL) to `at` itself. */
void fs_refusal_tell(const struct fs_entry *at, const char *name, const char *doing, const char *why, int error);

/* reach.c: whether there is a path to the tree, in any mount namespace of a process. */
enum fs_reach_state { FS_REACH_HERE, FS_REACH_ELSEWHERE, FS_REACH_NOWHERE };
enum { FS_REACH_WATCHES = 2 };
struct fs_reach_watch {
  bool started;
  int fd; /* of the list of mounts, which tells when it changes */
  uv_poll_t poll;
};
struct fs_reach {
  bool started;
  struct fs_reach_watch watches[FS_REACH_WATCHES];
  uv_timer_t timer;
  uv_work_t work;
  bool looking;
  bool changed; /* while it is looked at */
  char device[FS_DEVICE_SIZE];
  enum fs_reach_state found;
};
/* Ends the session, by fs_session_over, once there is none. Nothing to do for what is no mount. */
int fs_reach_start(struct fs *fs);
void fs_reach_stop(struct fs *fs);

/* session.c */
struct fs {
  struct fs_table table;
  struct fs_options options;
  struct fs_glue *glue;
  struct fs_handle *handles;
  struct fs_request *requests;
  struct fs_change *changes;
  uv_poll_t poll;
  uv_async_t wake; /* somebody was interrupted */
  uv_timer_t look; /* whether a signal ends somebody by now */
  struct fs_reach reach;
  unsigned uv_handles; /* and work of the thread pool: what calls back before all can be freed */
  bool over;           /* the program was told */
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* Tells the program, once, that the tree is not mounted any more. */
void fs_session_over(struct fs *fs);
/* One of its uv_handles has called back for the last time. */
void fs_let(struct fs *fs);

/* glue.c, which with its glue_*.c sees libfuse. */
int fs_glue_open(struct fs_glue **out, struct fs *fs, const char *mountpoint, const struct fs_options *options);
int fs_glue_fd(const struct fs_glue *glue);
/* The number of the mount's device, as text. False: none, or unknown. */
bool fs_glue_device(const struct fs_glue *glue, char *out, size_t size);
/* Serves one request: 1; 0 when there is none; -ENODEV when the session is over. */
int fs_glue_serve(struct fs_glue *glue);
void fs_glue_unmount(struct fs_glue *glue); /* closes the descriptor */
void fs_glue_free(struct fs_glue *glue);

#endif
