/* A kit for file trees that are made up by a program, served over FUSE on a libuv loop.
 *
 * The program describes its tree as a table of rows, one for each shape of path, and adds and removes the entries that
 * exist only at run time. The kit does the rest: inodes and their lifetimes, renderings, splitting of writes into
 * lines, replies, interrupts. It answers every FUSE operation; what the table leaves empty gets a sane
 * refusal (a fixed file: EPERM).
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
struct fs_change;  /* something that was changed, and is not answered yet; the kit's */
struct fs_text;    /* a rendering under construction; the kit's */

enum fs_kind {
  FS_DIR,
  FS_TEXT, /* rendered whole when it is opened or its size is asked for; kept for a second, or while open */
  FS_LIVE, /* append-only bytes of the program, read where they lie; may become shorter */
};

/* One complete line that was written, without its newline, trimmed of blanks at both ends and of a byte order mark;
 * `text` ends in a NUL, has none within, and lives until the answer. Blank lines, and those that begin with #, do not
 * get here, nor do lines over FS_LINE_MAX bytes, which are refused with E2BIG, and those with a NUL byte (EINVAL). */
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
  int (*rmdir)(struct fs_entry *dir); /* of this very entry, whatever is left in it */
  /* Unlinks a file in it whose own row has no `unlink`: `rm -r` unlinks every file before it comes to rmdir. */
  int (*unlink_inside)(struct fs_entry *file);

  /* Files. */
  int (*render)(struct fs_entry *file, struct fs_text *out); /* FS_TEXT */
  int (*live)(struct fs_entry *file, const char **bytes,
              size_t *size); /* FS_LIVE; valid until the handler's caller returns to the loop */
  void (*line)(struct fs_request *request, struct fs_entry *file,
               const struct fs_line *line); /* writable if set; answers by fs_reply */
  /* What there is of a line when a write ends without a newline, untrimmed at its end: answers with an error if no
   * further bytes could make a good line of it, as `line` does. NULL: they always could. */
  void (*begun)(struct fs_request *request, struct fs_entry *file, const struct fs_line *line);
  /* A writer of lines is done with them: it has closed the file, or wants them to be safe (fsync). */
  void (*over)(struct fs_entry *file);
  void (*released)(struct fs_entry *file); /* the last handle is gone, however it was opened: what was made and not
                                              written can go */

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
  /* The kit itself refused something: an operation that no row provides for (-EPERM), or a line that never reached its
   * handler (-E2BIG, -EINVAL). `doing` "write", "rename to", ...; the path from the root; why, in words. NULL: untold.
   */
  void (*refused)(const char *doing, const char *path, const char *why, int error, void *arg);
  /* A mkdir, rmdir, unlink or write changed something, and is about to be answered. True: the answer waits for
   * fs_change_done, which comes later; false: it does not. NULL: no answer waits. */
  bool (*changed)(struct fs_change *change, void *arg);
  bool held;                                   /* nothing is answered until fs_serve */
  void (*unmounted)(struct fs *fs, void *arg); /* somebody else unmounted the tree; the program should fs_close */
  void *arg;
};

/* Mounts, and serves until fs_close. The options' strings and rows must live as long. `message` gets a sentence
 * when it fails. Meanwhile stderr is caught, so no other thread should open a tree at the same time. */
int fs_open(struct fs **out, struct uv_loop_s *loop, const char *mountpoint, const struct fs_options *options,
            char *message, size_t message_size);
/* Of a tree that is held: answers, from now on. 0 or a negative errno. */
int fs_serve(struct fs *fs);
/* Unmounts (lazily when busy), answers what waits with -ECANCELED, closes; `closed` runs on the loop when fs is freed.
 * From the call on no handler runs. Who holds a line still calls fs_reply, and who holds a change fs_change_done, now
 * or after `closed`, which then only frees it; entries are not to be used once `closed` ran. */
void fs_close(struct fs *fs, void (*closed)(void *arg), void *arg);

struct fs_entry *fs_root(struct fs *fs);
/* The static entry, or NULL: fs_find(fs_root(fs), "services"). Added ones as well. */
struct fs_entry *fs_find(struct fs_entry *dir, const char *name);
const char *fs_name(const struct fs_entry *entry);
void *fs_object(const struct fs_entry *entry);
struct fs_entry *fs_parent(const struct fs_entry *entry);
/* Also for the static entries below. */
void fs_set_object(struct fs_entry *entry, void *object);
struct fs *fs_of(const struct fs_entry *entry);

/* Adds `name` to `dir` as `row`, which must be of the table. -EEXIST, -ENAMETOOLONG, -ENOMEM. A name that was removed
 * while the kernel still held it gets its former node back if it is of the same row, and not too many went after it. */
int fs_add(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object, struct fs_entry **out);
/* The same, but known only to whom it was given in `create`: it is in no directory. It goes with its last handle, after
 * `released`; until then it can be opened anew, through /proc/self/fd. */
int fs_add_detached(struct fs_entry *dir, const struct fs_row *row, const char *name, void *object,
                    struct fs_entry **out);
/* The entry and all below are gone from the tree; no handler is called for them any more, and what is open reads to its
 * end. A line of theirs that waits must still be answered. */
void fs_remove(struct fs_entry *entry);
/* What was rendered is out of date: the next open or stat renders again. Also of the static entries below. */
void fs_touch(struct fs_entry *entry);

/* Appends to a rendering; remembers that memory was short, and the render fails with -ENOMEM. */
void fs_printf(struct fs_text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Answers a line: 0 or a negative errno. Exactly once. */
void fs_reply(struct fs_request *request, int error);
/* Lets the answer go. Exactly once for each change that `changed` said true of, and not inside it. */
void fs_change_done(struct fs_change *change);
/* If a signal ends the writer before the answer, `interrupted` runs, and should answer soon: usually -EINTR. A signal
 * that does not end it is no matter; it ends no wait. Not called after the answer. */
void fs_on_interrupt(struct fs_request *request, void (*interrupted)(struct fs_request *request, void *arg), void *arg);

#endif
