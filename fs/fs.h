/* A kit for file trees that are made up by a program, served over FUSE on a libuv loop.
 *
 * The program describes its tree as a table of rows, one for each shape of path, and adds and removes the entries that
 * exist only at run time. The kit does the rest: inodes and their lifetimes, renderings, splitting of writes into
 * lines, replies, interrupts. It answers every FUSE operation, and refuses those that the table leaves empty with a
 * sane errno (of a fixed file: EPERM).
 *
 * Everything runs on the loop's thread. Handlers answer at once: they never wait. The exception is `line`, which may
 * answer later. Handlers return 0 or a negative errno, and may call any function here except fs_close.
 */
#ifndef FS_FS_H
#define FS_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct uv_loop_s;
struct fs;
struct fs_entry;   /* a node of the tree; the kit's */
struct fs_request; /* one line that waits for its answer; the kit's */
struct fs_change;  /* a change that is not answered yet; the kit's */
struct fs_text;    /* a rendering under construction; the kit's */

enum fs_kind {
  FS_DIR,
  FS_TEXT, /* rendered whole when it is opened or its size is asked for; kept for a second, or while open */
  FS_LINK, /* a symbolic link: its rendering is where it leads; fixed */
  FS_LIVE, /* append-only bytes of the program, read where they lie; may become shorter */
};

/* One complete line of a write, without its newline, its byte order mark, and the blanks at both ends. `text` ends in a
 * NUL, has none within, and lives until the answer. The kit drops blank lines and those that begin with #. It refuses
 * lines over FS_LINE_MAX bytes (E2BIG) and lines with a NUL byte (EINVAL). */
struct fs_line {
  const char *text;
  size_t size;
  bool replace; /* the first line of this open without O_APPEND: it replaces what was there; else it adds */
  bool first;   /* of this open */
};
enum { FS_LINE_MAX = 4096, FS_NAME_MAX = 255 };

/* `path` is where the row stands: "" is the root, "services/star/target" with a literal * for star: an entry added at
 * run time. Parents come before children. Static rows below an added entry come into being with it, and share its
 * object. Several rows may have the same path with a *: rows below belong to the nearest directory row before them. */
struct fs_row {
  const char *path;
  enum fs_kind kind;
  mode_t mode; /* permission bits; chmod can take some away from one entry, as long as it lives */

  /* Directories. */
  int (*mkdir)(struct fs_entry *dir, const char *name);
  /* Makes the regular file `name`: adds an entry (fs_add or fs_add_detached), or makes a static one visible, and gives
   * it in *out. */
  int (*create)(struct fs_entry *dir, const char *name, struct fs_entry **out);
  int (*rmdir)(struct fs_entry *dir); /* removes this entry, whatever is left in it */
  /* Unlinks a file in it whose own row has no `unlink`: `rm -r` unlinks every file before it comes to rmdir. */
  int (*unlink_inside)(struct fs_entry *file);

  /* Files. */
  int (*render)(struct fs_entry *file, struct fs_text *out); /* FS_TEXT, FS_LINK */
  int (*live)(struct fs_entry *file, const char **bytes,
              size_t *size); /* FS_LIVE; valid until the handler's caller returns to the loop */
  void (*line)(struct fs_request *request, struct fs_entry *file,
               const struct fs_line *line); /* writable if set; answers by fs_reply */
  /* Not 0: what one open writes is not cut into lines. It is one "line" of any bytes, which is handed over, untouched
   * and with a NUL behind it, when its writer has closed the file, and has at most so many (EFBIG). */
  size_t whole;
  /* A write ended without a newline: this is the beginning of a line, untrimmed at its end. Answers as `line` does,
   * with an error if no further bytes could make it a good line. NULL: they always could. */
  void (*begun)(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
  /* A writer has written all its lines: it has closed the file, or wants them to be safe (fsync). */
  void (*over)(struct fs_entry *file);
  void (*opened)(struct fs_entry *file);   /* somebody has opened it, which a look at its attributes does not */
  void (*released)(struct fs_entry *file); /* the last handle is gone, however it was opened: an entry that was made
                                              and never written can go */

  /* Both. */
  bool (*visible)(struct fs_entry *entry); /* of static rows: does it exist now? NULL: yes */
  int (*unlink)(struct fs_entry *file);    /* returning 0 without fs_remove leaves it in place */
};

struct fs_options {
  const struct fs_row *rows;
  size_t row_count;
  void *root_object;
  const char *source;  /* what mount(8) shows as the device */
  const char *subtype; /* fuse.SUBTYPE */
  bool allow_other;
  const char *mount_options; /* NULL, or more for mount(8): "nosuid,nodev" */
  int session_fd; /* 0, or a SOCK_SEQPACKET that speaks FUSE in place of a mount: for tests; closed by the kit */
  /* The kit itself refused an operation that no row provides for (-EPERM), or a line before its handler saw it (-E2BIG,
   * -EINVAL). `doing` is "write", "rename to", ...; `path` begins at the root; `why` is a phrase. NULL: nobody is told.
   */
  void (*refused)(const char *doing, const char *path, const char *why, int error, void *arg);
  /* A mkdir, rmdir, unlink or write changed something, and is about to be answered. True: the answer waits for
   * fs_change_done, which comes later; false: it does not. NULL: no answer waits. */
  bool (*changed)(struct fs_change *change, void *arg);
  bool held;                                   /* no operation is answered until fs_serve */
  void (*unmounted)(struct fs *fs, void *arg); /* another process unmounted the tree; the program should fs_close */
  void *arg;
};

/* Mounts, and serves until fs_close. The options' strings and rows must live as long. On failure `message` gets a
 * sentence. The call catches stderr, so no other thread should open a tree at the same time. */
int fs_open(struct fs **out, struct uv_loop_s *loop, const char *mountpoint, const struct fs_options *options,
            char *message, size_t message_size);
/* A held tree answers from now on. 0 or a negative errno. */
int fs_serve(struct fs *fs);
/* Unmounts (lazily when busy), answers waiting requests with -ECANCELED, and closes; `closed` runs on the loop when fs
 * is freed. No handler runs after this call. The holder of a line still calls fs_reply, and the holder of a change
 * fs_change_done, now or after `closed`; then that only frees it. Entries must not be used after `closed`. */
void fs_close(struct fs *fs, void (*closed)(void *arg), void *arg);

struct fs_entry *fs_root(struct fs *fs);
/* An entry of this directory, static or added, or NULL: fs_find(fs_root(fs), "services"). */
struct fs_entry *fs_find(struct fs_entry *dir, const char *name);
const char *fs_name(const struct fs_entry *entry);
void *fs_object(const struct fs_entry *entry);
struct fs_entry *fs_parent(const struct fs_entry *entry);
/* Sets it for the static entries below, too. */
void fs_set_object(struct fs_entry *entry, void *object);
struct fs *fs_of(const struct fs_entry *entry);

/* Adds `name` to `dir` as `row`, which must be of the table. -EEXIST, -ENAMETOOLONG, -ENOMEM. A name that was removed
 * while the kernel still held it gets its former node back if it is of the same row, and not too many went after it. */
int fs_add(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object, struct fs_entry **out);
/* The same, but the entry is in no directory: only the process that `create` answers has it. It goes with its last
 * handle, after `released`; until then it can be opened again through /proc/self/fd. */
int fs_add_detached(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object,
                    struct fs_entry **out);
/* Takes the entry and all below from the tree. No handler is called for them any more; open handles read to their end.
 * A waiting line of theirs must still be answered. */
void fs_remove(struct fs_entry *entry);
/* The rendering is out of date, and those of the static entries below: the next open or stat renders again. */
void fs_touch(struct fs_entry *entry);

/* Appends to a rendering. If memory is short, the whole render fails with -ENOMEM. */
void fs_printf(struct fs_text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Answers a line: 0 or a negative errno. Exactly once. */
void fs_reply(struct fs_request *request, int error);
/* Sends the answer. Exactly once for each change for which `changed` returned true, and not inside it. */
void fs_change_done(struct fs_change *change);
/* If a signal ends the writer before the answer, `interrupted` runs, and should answer soon, usually with -EINTR. A
 * signal that does not end the writer does not end the wait. `interrupted` never runs after the answer. */
void fs_on_interrupt(struct fs_request *request, void (*interrupted)(struct fs_request *request, void *arg), void *arg);

#endif
