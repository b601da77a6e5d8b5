/* What the files share that see libfuse: glue.c and those named glue_. No other file sees it, since this header alone
 * includes its interface, and they alone include this header. */
#ifndef FS_GLUE_INTERNAL_H
#define FS_GLUE_INTERNAL_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/fs_internal.h"

/* Each file sets the operations that it has. */
void glue_names(struct fuse_lowlevel_ops *ops);
void glue_files(struct fuse_lowlevel_ops *ops);
void glue_fixed(struct fuse_lowlevel_ops *ops);

/* glue_reply.c */
struct fs *glue_fs(fuse_req_t req);
uint64_t glue_now(const struct fs *fs);
struct fs_handle *glue_handle(const struct fuse_file_info *fi);
/* Held until fs_entry_let; or NULL, and answered. */
struct fs_entry *glue_hold(fuse_req_t req, fuse_ino_t ino);
/* The directory, if a name in it can be asked for. */
struct fs_entry *glue_hold_dir(fuse_req_t req, fuse_ino_t ino, const char *name);
/* What the table does not provide for is refused here: -EPERM. */
int glue_refuse(const struct fs_entry *at, const char *name, const char *doing, const char *why);
int glue_fill(struct fs *fs, struct fs_entry *entry, struct fuse_entry_param *param);
void glue_reply_error(fuse_req_t req, int error);
void glue_reply_entry(fuse_req_t req, struct fs_entry *entry);
/* Answers a change; one that succeeded, when the program has kept it. */
void glue_reply_change(fuse_req_t req, int error);
void glue_answer_plainly(const struct fs_change *change, int error);

#endif
