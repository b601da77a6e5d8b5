/* The operations on open files, and on attributes. A write becomes lines, which may be answered later. */
#include "fs/glue_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void reply_attr(fuse_req_t req, struct fs_entry *entry, const struct fuse_file_info *fi)
{
  struct stat st;
  int error = fs_entry_stat(entry, glue_now(glue_fs(req)), &st);
  if (error != 0) {
    glue_reply_error(req, error);
    return;
  }
  const struct fs_handle *handle = fi != NULL ? glue_handle(fi) : NULL;
  if (handle != NULL && handle->text != NULL)
    st.st_size = (off_t)handle->text->size;
  fuse_reply_attr(req, &st, 0);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  struct fs_entry *entry = glue_hold(req, ino);
  if (entry == NULL)
    return;
  reply_attr(req, entry, fi);
  fs_entry_let(entry);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
  struct fs_entry *entry = glue_hold(req, ino);
  if (entry == NULL)
    return;
  struct fs_text *text = NULL;
  int error = -EINVAL;
  if (entry->row->kind == FS_LINK)
    error = fs_entry_render(entry, glue_now(glue_fs(req)), true, &text);
  if (error == 0)
    fuse_reply_readlink(req, text->size > 0 ? text->bytes : "");
  else
    glue_reply_error(req, error);
  fs_entry_let(entry);
}

/* A program that copies a file sets its mode and times afterwards. A mode can take permissions away that the row gives,
 * and cannot add any. So nobody sees more than is intended, and no mode claims a protection that is not there. Times
 * follow the contents. */
static int set_attr(struct fs_entry *entry, const struct stat *attr, int to_set)
{
  const struct fs_table *table = entry->table;
  const struct fs_row *row = entry->row;
  bool fixed = row->kind != FS_DIR && row->line == NULL;
  bool owner = ((to_set & FUSE_SET_ATTR_UID) != 0 && attr->st_uid != table->uid) ||
               ((to_set & FUSE_SET_ATTR_GID) != 0 && attr->st_gid != table->gid);
  bool mode = (to_set & FUSE_SET_ATTR_MODE) != 0 && (attr->st_mode & 07777) != entry->mode;
  bool contents = (to_set & (FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) != 0;
  if (owner)
    return glue_refuse(entry, NULL, "change", "owners cannot be changed");
  if (fixed && (mode || contents))
    return glue_refuse(entry, NULL, "change", "the file is fixed");
  if (mode)
    entry->mode = attr->st_mode & row->mode;
  return 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
  struct fs_entry *entry = glue_hold(req, ino);
  if (entry == NULL)
    return;
  int error = set_attr(entry, attr, to_set);
  if (error != 0)
    glue_reply_error(req, error);
  else
    reply_attr(req, entry, fi);
  fs_entry_let(entry);
}

static void answer_written(const struct fs_change *change, int error)
{
  if (error != 0)
    glue_reply_error(change->token, error);
  else
    fuse_reply_write(change->token, change->written);
}

static void on_answer(void *token, bool flush, ssize_t result)
{
  fuse_req_t req = token;
  const struct fs_change change = {
      .answer = flush ? glue_answer_plainly : answer_written, .token = req, .written = result > 0 ? (size_t)result : 0};
  /* Whom it would be told to is gone. */
  fuse_req_interrupt_func(req, NULL, NULL);
  if (result < 0)
    glue_reply_error(req, (int)result);
  else
    fs_change_tell(glue_fs(req), &change);
}

static void wake_loop(struct fs *fs)
{
  uv_async_send(&fs->wake);
}

/* Runs under libfuse's locks; so the program hears of it from the loop. */
static void on_interrupt(fuse_req_t req, void *data)
{
  struct fs_request *request = data;
  request->interrupted = true;
  wake_loop(glue_fs(req));
}

static void run_lines(fuse_req_t req, struct fs_handle *handle, bool flush, const char *bytes, size_t size)
{
  struct fs *fs = glue_fs(req);
  struct fs_request *request = fs_request_new(handle, &fs->requests);
  if (request == NULL) {
    glue_reply_error(req, -ENOMEM);
    if (handle->released)
      fs_handle_release(handle);
    return;
  }
  request->writer = fuse_req_ctx(req)->pid;
  request->flush = flush;
  request->answer = on_answer;
  request->token = req;
  request->wake = wake_loop;
  fuse_req_interrupt_func(req, on_interrupt, request);
  fs_request_run(request, bytes, size);
}

static int open_handle(fuse_req_t req, struct fs_entry *entry, struct fuse_file_info *fi)
{
  struct fs *fs = glue_fs(req);
  struct fs_handle *handle = NULL;
  pid_t opener = fuse_req_ctx(req)->pid;
  int error = fs_handle_open(entry, fi->flags, glue_now(fs), &fs->handles, &handle);
  if (error != 0)
    return error;
  handle->opener = opener;
  fi->fh = (uintptr_t)handle;
  fi->direct_io = entry->row->kind != FS_DIR;
  return 0;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  struct fs_entry *entry = glue_hold(req, ino);
  if (entry == NULL)
    return;
  int error = open_handle(req, entry, fi);
  if (error == -EPERM)
    error = glue_refuse(entry, NULL, "write", "the file is fixed");
  if (error != 0)
    glue_reply_error(req, error);
  else if (fuse_reply_open(req, fi) != 0)
    fs_handle_release(glue_handle(fi)); /* the opener was interrupted: the kernel will not release it */
  fs_entry_let(entry);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  (void)ino;
  struct fs_handle *handle = glue_handle(fi);
  if (handle->waiting == NULL && handle->lines.size > 0) {
    handle->released = true; /* when the last line is answered */
    run_lines(req, handle, true, NULL, 0);
    return;
  }
  fs_handle_release(handle);
  glue_reply_error(req, 0);
}

/* Held, or NULL and *error. */
static struct fs_entry *create_entry(struct fs_entry *dir, const char *name, int flags, int *error)
{
  struct fs_entry *entry = fs_entry_find(dir, name);
  *error = 0;
  if (entry != NULL)
    *error = (flags & O_EXCL) != 0 ? -EEXIST : entry->row->kind == FS_DIR ? -EISDIR : 0;
  else if (dir->row->create == NULL)
    *error = glue_refuse(dir, name, "create", "a file cannot be created here");
  else
    *error = dir->row->create(dir, name, &entry);
  if (*error != 0 || entry == NULL)
    return NULL;
  fs_entry_hold(entry);
  return entry;
}

static void reply_create(fuse_req_t req, struct fs_entry *entry, struct fuse_file_info *fi)
{
  struct fs *fs = glue_fs(req);
  struct fuse_entry_param param;
  int error = open_handle(req, entry, fi);
  if (error != 0) {
    glue_reply_error(req, error);
    if (entry->row->released != NULL && fs_entry_alive(entry) && entry->opens == 0)
      entry->row->released(entry);
    if (entry->detached)
      fs_remove(entry);
    return;
  }
  error = glue_fill(fs, entry, &param);
  if (error != 0) {
    glue_reply_error(req, error);
    fs_handle_release(glue_handle(fi));
    return;
  }
  entry->lookups++;
  if (fuse_reply_create(req, &param, fi) != 0) {
    fs_entry_forget(entry, 1);
    fs_handle_release(glue_handle(fi));
  }
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
  (void)mode;
  struct fs_entry *dir = glue_hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = 0;
  struct fs_entry *entry = create_entry(dir, name, fi->flags, &error);
  if (entry == NULL) {
    glue_reply_error(req, error != 0 ? error : -ENOENT);
  } else {
    reply_create(req, entry, fi);
    fs_entry_let(entry);
  }
  fs_entry_let(dir);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  (void)ino;
  const char *bytes = NULL;
  size_t have = 0;
  int error = fs_handle_bytes(glue_handle(fi), &bytes, &have);
  if (error != 0) {
    glue_reply_error(req, error);
    return;
  }
  size_t at = off < 0 || (uintmax_t)off > have ? have : (size_t)off;
  fuse_reply_buf(req, bytes + at, size < have - at ? size : have - at);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
  (void)ino;
  (void)off;
  struct fs_handle *handle = glue_handle(fi);
  if (!handle->writable)
    glue_reply_error(req, -EBADF);
  else if (handle->waiting != NULL)
    glue_reply_error(req, -EBUSY);
  else
    run_lines(req, handle, false, bytes, size);
}

/* What there is of a line is one, and no other follows. */
static void end_lines(fuse_req_t req, struct fs_handle *handle)
{
  if (handle->waiting == NULL && handle->lines.size > 0) {
    run_lines(req, handle, true, NULL, 0);
    return;
  }
  if (handle->waiting == NULL)
    fs_handle_end(handle);
  glue_reply_error(req, 0);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  (void)ino;
  struct fs_handle *handle = glue_handle(fi);
  bool goes_on = handle->going_on || handle->lines.size > 0;
  if (goes_on && fs_writer_is_done(handle->opener, fuse_req_ctx(req)->pid, handle->entry))
    end_lines(req, handle);
  else
    glue_reply_error(req, 0);
}

/* To have it on the disk is to have it carried out. */
static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
  (void)ino;
  (void)datasync;
  end_lines(req, glue_handle(fi));
}

/* A file is all data, with one hole at its end. */
static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
  (void)ino;
  const char *bytes = NULL;
  size_t size = 0;
  int error = fs_handle_bytes(glue_handle(fi), &bytes, &size);
  if (error == 0 && whence != SEEK_DATA && whence != SEEK_HOLE)
    error = -EINVAL;
  if (error == 0 && (off < 0 || (uintmax_t)off >= size))
    error = -ENXIO;
  if (error != 0)
    glue_reply_error(req, error);
  else
    fuse_reply_lseek(req, whence == SEEK_DATA ? off : (off_t)size);
}

void glue_files(struct fuse_lowlevel_ops *ops)
{
  ops->getattr = op_getattr;
  ops->readlink = op_readlink;
  ops->setattr = op_setattr;
  ops->open = op_open;
  ops->opendir = op_open;
  ops->release = op_release;
  ops->releasedir = op_release;
  ops->create = op_create;
  ops->read = op_read;
  ops->write = op_write;
  ops->flush = op_flush;
  ops->fsync = op_fsync;
  ops->fsyncdir = op_fsync;
  ops->lseek = op_lseek;
}
