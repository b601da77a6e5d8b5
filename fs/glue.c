/* The one file that sees libfuse: every operation of its low-level API, in terms of the rest of the kit.
 *
 * Nothing is cached by the kernel: all timeouts are 0, and files are read with direct_io. What is not said in the table
 * is refused by the errno that cp, tar and rsync take calmly. Locks are left out on purpose: then the kernel keeps
 * them.
 *
 * libfuse's own reads and writes print when they fail, so they are replaced, also on a real mount. */
#define FUSE_USE_VERSION 314
#include "fs/fs_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FREE_FILES = 1 << 20 }; /* as is told: nothing keeps count of what could be made */

struct fs_glue {
  struct fuse_session *session;
  struct fuse_buf buffer;
  char *mountpoint; /* resolved; NULL: a socket */
  char device[FS_DEVICE_SIZE];
};

static struct fs *fs_of_request(fuse_req_t req)
{
  return fuse_req_userdata(req);
}

static uint64_t now(const struct fs *fs)
{
  return uv_now(fs->poll.loop);
}

static void reply_error(fuse_req_t req, int error)
{
  fuse_reply_err(req, -error);
}

/* What the table does not provide for is refused here. */
static int refuse(const struct fs_entry *at, const char *name, const char *doing, const char *why)
{
  fs_refusal_tell(at, name, doing, why, -EPERM);
  return -EPERM;
}

/* Held until fs_entry_let; or NULL, and answered. */
static struct fs_entry *hold_entry(fuse_req_t req, fuse_ino_t ino)
{
  struct fs_entry *entry = fs_table_find(&fs_of_request(req)->table, ino);
  if (entry == NULL)
    reply_error(req, -ESTALE);
  else
    fs_entry_hold(entry);
  return entry;
}

/* The directory, if a name in it can be asked for. */
static struct fs_entry *hold_dir(fuse_req_t req, fuse_ino_t ino, const char *name)
{
  if (strlen(name) > FS_NAME_MAX) {
    reply_error(req, -ENAMETOOLONG);
    return NULL;
  }
  struct fs_entry *dir = hold_entry(req, ino);
  if (dir == NULL || fs_entry_alive(dir))
    return dir;
  fs_entry_let(dir);
  reply_error(req, -ENOENT);
  return NULL;
}

static struct fs_handle *handle_of(const struct fuse_file_info *fi)
{
  return (struct fs_handle *)(uintptr_t)fi->fh;
}

static int fill_entry(struct fs *fs, struct fs_entry *entry, struct fuse_entry_param *param)
{
  *param = (struct fuse_entry_param){.ino = entry->ino};
  return fs_entry_stat(entry, now(fs), &param->attr);
}

static void reply_entry(fuse_req_t req, struct fs_entry *entry)
{
  struct fuse_entry_param param;
  int error = fill_entry(fs_of_request(req), entry, &param);
  if (error != 0) {
    reply_error(req, error);
    return;
  }
  entry->lookups++;
  if (fuse_reply_entry(req, &param) != 0)
    fs_entry_forget(entry, 1);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
  (void)userdata;
  /* With timeouts of 0 the kernel asks for every entry again: readdirplus would render every file for nothing. */
  conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ |
                            FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  conn->max_write = FS_WRITE_MAX;
}

static void op_destroy(void *userdata)
{
  (void)userdata;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
  struct fs_entry *dir = hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  struct fs_entry *entry = fs_entry_find(dir, name);
  if (entry == NULL)
    reply_error(req, -ENOENT);
  else
    reply_entry(req, entry);
  fs_entry_let(dir);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
  fs_table_forget(&fs_of_request(req)->table, ino, lookups);
  fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
  for (size_t i = 0; i < count; i++)
    fs_table_forget(&fs_of_request(req)->table, forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, struct fs_entry *entry, const struct fuse_file_info *fi)
{
  struct stat st;
  int error = fs_entry_stat(entry, now(fs_of_request(req)), &st);
  if (error != 0) {
    reply_error(req, error);
    return;
  }
  const struct fs_handle *handle = fi != NULL ? handle_of(fi) : NULL;
  if (handle != NULL && handle->text != NULL)
    st.st_size = (off_t)handle->text->size;
  fuse_reply_attr(req, &st, 0);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  struct fs_entry *entry = hold_entry(req, ino);
  if (entry == NULL)
    return;
  reply_attr(req, entry, fi);
  fs_entry_let(entry);
}

/* Who copies a file sets its mode and times afterwards. A mode can take away of what the row gives, and what it would
 * add is left out: then nobody sees more than he is meant to, and nobody is told of a protection that is not there.
 * Times follow the contents. */
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
    return refuse(entry, NULL, "change", "owners are fixed");
  if (fixed && (mode || contents))
    return refuse(entry, NULL, "change", "it is a fixed file");
  if (mode)
    entry->mode = attr->st_mode & row->mode;
  return 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
  struct fs_entry *entry = hold_entry(req, ino);
  if (entry == NULL)
    return;
  int error = set_attr(entry, attr, to_set);
  if (error != 0)
    reply_error(req, error);
  else
    reply_attr(req, entry, fi);
  fs_entry_let(entry);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
  (void)ino;
  reply_error(req, -EINVAL);
}

static void refuse_name(fuse_req_t req, fuse_ino_t parent, const char *name, const char *doing, const char *why)
{
  struct fs_entry *dir = hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  reply_error(req, refuse(dir, name, doing, why));
  fs_entry_let(dir);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
  (void)mode;
  (void)rdev;
  refuse_name(req, parent, name, "mknod", "there are only files and directories here");
}

static int make_dir(struct fs_entry *dir, const char *name)
{
  if (fs_entry_find(dir, name) != NULL)
    return -EEXIST;
  if (dir->row->mkdir == NULL)
    return refuse(dir, name, "mkdir", "no directory can be made here");
  return dir->row->mkdir(dir, name);
}

static void answer_entry(const struct fs_change *change, int error)
{
  if (error != 0)
    reply_error(change->token, error);
  else
    reply_entry(change->token, change->entry);
}

static void answer_plainly(const struct fs_change *change, int error)
{
  reply_error(change->token, error);
}

/* Nothing is to be told to whoever was refused, nor to wait for. */
static void reply_change(fuse_req_t req, int error)
{
  const struct fs_change change = {.answer = answer_plainly, .token = req};
  if (error != 0)
    reply_error(req, error);
  else
    fs_change_tell(fs_of_request(req), &change);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
  (void)mode;
  struct fs_entry *dir = hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = make_dir(dir, name);
  struct fs_entry *entry = error == 0 ? fs_entry_find(dir, name) : NULL;
  const struct fs_change change = {.answer = answer_entry, .token = req, .entry = entry};
  if (entry != NULL)
    fs_change_tell(fs_of_request(req), &change);
  else
    reply_error(req, error != 0 ? error : -ENOENT);
  fs_entry_let(dir);
}

static int unlink_entry(struct fs_entry *entry)
{
  if (entry == NULL)
    return -ENOENT;
  if (entry->row->kind == FS_DIR)
    return -EISDIR;
  int (*remove_file)(struct fs_entry *) =
      entry->row->unlink != NULL ? entry->row->unlink : entry->parent->row->unlink_inside;
  if (remove_file == NULL)
    return refuse(entry, NULL, "remove", "it is a fixed file");
  fs_entry_hold(entry);
  int error = remove_file(entry);
  fs_entry_let(entry);
  return error;
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
  struct fs_entry *dir = hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = unlink_entry(fs_entry_find(dir, name));
  reply_change(req, error);
  fs_entry_let(dir);
}

/* After an rmdir that succeeded the kernel has marked its inode as dead, and would refuse all names in it. */
static int rmdir_entry(struct fs_entry *entry)
{
  if (entry == NULL)
    return -ENOENT;
  if (entry->row->kind != FS_DIR)
    return -ENOTDIR;
  if (entry->row->rmdir == NULL)
    return refuse(entry, NULL, "rmdir", "it is a fixed directory");
  fs_entry_hold(entry);
  entry->dead = true;
  int error = entry->row->rmdir(entry);
  if (!entry->removed) {
    entry->dead = false;
    if (error == 0)
      fs_entry_renew(entry);
  }
  fs_entry_let(entry);
  return error;
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
  struct fs_entry *dir = hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = rmdir_entry(fs_entry_find(dir, name));
  reply_change(req, error);
  fs_entry_let(dir);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
  (void)link;
  refuse_name(req, parent, name, "link", "there are no links here");
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
                      unsigned flags)
{
  (void)parent;
  (void)name;
  (void)flags;
  refuse_name(req, newparent, newname, "rename to", "names are fixed");
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
  (void)ino;
  refuse_name(req, newparent, newname, "link", "there are no links here");
}

static void answer_written(const struct fs_change *change, int error)
{
  if (error != 0)
    reply_error(change->token, error);
  else
    fuse_reply_write(change->token, change->written);
}

static void on_answer(void *token, bool flush, ssize_t result)
{
  fuse_req_t req = token;
  const struct fs_change change = {
      .answer = flush ? answer_plainly : answer_written, .token = req, .written = result > 0 ? (size_t)result : 0};
  /* Whom it would be told to is gone. */
  fuse_req_interrupt_func(req, NULL, NULL);
  if (result < 0)
    reply_error(req, (int)result);
  else
    fs_change_tell(fs_of_request(req), &change);
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
  wake_loop(fs_of_request(req));
}

static void run_lines(fuse_req_t req, struct fs_handle *handle, bool flush, const char *bytes, size_t size)
{
  struct fs *fs = fs_of_request(req);
  struct fs_request *request = fs_request_new(handle, &fs->requests);
  if (request == NULL) {
    reply_error(req, -ENOMEM);
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
  struct fs *fs = fs_of_request(req);
  struct fs_handle *handle = NULL;
  pid_t opener = fuse_req_ctx(req)->pid;
  int error = fs_handle_open(entry, fi->flags, now(fs), &fs->handles, &handle);
  if (error != 0)
    return error;
  handle->opener = opener;
  fi->fh = (uintptr_t)handle;
  fi->direct_io = entry->row->kind != FS_DIR;
  return 0;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  struct fs_entry *entry = hold_entry(req, ino);
  if (entry == NULL)
    return;
  int error = open_handle(req, entry, fi);
  if (error == -EPERM)
    error = refuse(entry, NULL, "write", "it is a fixed file");
  if (error != 0)
    reply_error(req, error);
  else if (fuse_reply_open(req, fi) != 0)
    fs_handle_release(handle_of(fi)); /* the opener was interrupted: the kernel will not release it */
  fs_entry_let(entry);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  (void)ino;
  struct fs_handle *handle = handle_of(fi);
  if (handle->waiting == NULL && handle->lines.size > 0) {
    handle->released = true; /* when the last line is answered */
    run_lines(req, handle, true, NULL, 0);
    return;
  }
  fs_handle_release(handle);
  reply_error(req, 0);
}

/* Held, or NULL and *error. */
static struct fs_entry *create_entry(struct fs_entry *dir, const char *name, int flags, int *error)
{
  struct fs_entry *entry = fs_entry_find(dir, name);
  *error = 0;
  if (entry != NULL)
    *error = (flags & O_EXCL) != 0 ? -EEXIST : entry->row->kind == FS_DIR ? -EISDIR : 0;
  else if (dir->row->create == NULL)
    *error = refuse(dir, name, "create", "no file can be made here");
  else
    *error = dir->row->create(dir, name, &entry);
  if (*error != 0 || entry == NULL)
    return NULL;
  fs_entry_hold(entry);
  return entry;
}

static void reply_create(fuse_req_t req, struct fs_entry *entry, struct fuse_file_info *fi)
{
  struct fs *fs = fs_of_request(req);
  struct fuse_entry_param param;
  int error = open_handle(req, entry, fi);
  if (error != 0) {
    reply_error(req, error);
    if (entry->row->released != NULL && fs_entry_alive(entry) && entry->opens == 0)
      entry->row->released(entry);
    if (entry->detached)
      fs_remove(entry);
    return;
  }
  error = fill_entry(fs, entry, &param);
  if (error != 0) {
    reply_error(req, error);
    fs_handle_release(handle_of(fi));
    return;
  }
  entry->lookups++;
  if (fuse_reply_create(req, &param, fi) != 0) {
    fs_entry_forget(entry, 1);
    fs_handle_release(handle_of(fi));
  }
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
  (void)mode;
  struct fs_entry *dir = hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = 0;
  struct fs_entry *entry = create_entry(dir, name, fi->flags, &error);
  if (entry == NULL) {
    reply_error(req, error != 0 ? error : -ENOENT);
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
  int error = fs_handle_bytes(handle_of(fi), &bytes, &have);
  if (error != 0) {
    reply_error(req, error);
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
  struct fs_handle *handle = handle_of(fi);
  if (!handle->writable)
    reply_error(req, -EBADF);
  else if (handle->waiting != NULL)
    reply_error(req, -EBUSY);
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
  reply_error(req, 0);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  (void)ino;
  struct fs_handle *handle = handle_of(fi);
  bool goes_on = handle->going_on || handle->lines.size > 0;
  if (goes_on && fs_writer_is_done(handle->opener, fuse_req_ctx(req)->pid, handle->entry))
    end_lines(req, handle);
  else
    reply_error(req, 0);
}

/* To have it on the disk is to have it carried out. */
static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
  (void)ino;
  (void)datasync;
  end_lines(req, handle_of(fi));
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
  op_open(req, ino, fi);
}

/* Adds the entry at `index`: itself, its parent, or a name. 0 when there is no room. */
static size_t add_direntry(fuse_req_t req, const struct fs_handle *handle, size_t index, bool plus, char *to,
                           size_t room)
{
  const struct fs_entry *dir = handle->entry;
  struct fuse_entry_param param = {.attr.st_mode = S_IFDIR, .attr.st_ino = dir->ino};
  const char *name = ".";
  if (index == 1) {
    name = "..";
    param.attr.st_ino = dir->parent != NULL ? dir->parent->ino : dir->ino;
  } else if (index > 1) {
    const struct fs_name *listed = &handle->names[index - 2];
    name = fs_handle_name(handle, listed);
    param.attr.st_ino = listed->ino;
    param.attr.st_mode = listed->dir ? S_IFDIR : S_IFREG;
  }
  size_t need = plus ? fuse_add_direntry_plus(req, to, room, name, &param, (off_t)index + 1)
                     : fuse_add_direntry(req, to, room, name, &param.attr, (off_t)index + 1);
  return need > room ? 0 : need;
}

static void reply_names(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi, bool plus)
{
  struct fs_handle *handle = handle_of(fi);
  int error = off == 0 ? fs_handle_list(handle) : 0;
  char *buffer = error == 0 ? malloc(size) : NULL;
  if (buffer == NULL) {
    reply_error(req, error != 0 ? error : -ENOMEM);
    return;
  }
  size_t used = 0;
  size_t need = 1;
  for (size_t i = off < 0 ? 0 : (size_t)off; i < handle->name_count + 2 && need > 0; i++) {
    need = add_direntry(req, handle, i, plus, buffer + used, size - used);
    used += need;
  }
  fuse_reply_buf(req, buffer, used);
  free(buffer);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  (void)ino;
  reply_names(req, size, off, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
  (void)ino;
  reply_names(req, size, off, fi, true);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
  (void)ino;
  struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = FS_NAME_MAX};
  st.f_files = HASH_CNT(by_number, fs_of_request(req)->table.by_ino) + FREE_FILES;
  st.f_ffree = st.f_favail = FREE_FILES;
  fuse_reply_statfs(req, &st);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
  (void)ino;
  (void)name;
  (void)value;
  (void)size;
  (void)flags;
  reply_error(req, -EOPNOTSUPP);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
  (void)ino;
  (void)name;
  (void)size;
  reply_error(req, -ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
  (void)ino;
  if (size == 0)
    fuse_reply_xattr(req, 0);
  else
    fuse_reply_buf(req, NULL, 0);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
  (void)ino;
  (void)name;
  reply_error(req, -ENODATA);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
  (void)ino;
  (void)mask;
  reply_error(req, 0);
}

static void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t blocksize, uint64_t idx)
{
  (void)ino;
  (void)blocksize;
  (void)idx;
  reply_error(req, -EINVAL);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
                     const void *in_buf, size_t in_size, size_t out_size)
{
  (void)ino;
  (void)cmd;
  (void)arg;
  (void)fi;
  (void)flags;
  (void)in_buf;
  (void)in_size;
  (void)out_size;
  reply_error(req, -ENOTTY);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *handle)
{
  (void)ino;
  (void)fi;
  if (handle != NULL)
    fuse_pollhandle_destroy(handle);
  fuse_reply_poll(req, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
}

static void op_retrieve_reply(fuse_req_t req, void *cookie, fuse_ino_t ino, off_t offset, struct fuse_bufvec *bufv)
{
  (void)cookie;
  (void)ino;
  (void)offset;
  (void)bufv;
  fuse_reply_none(req);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                         struct fuse_file_info *fi)
{
  (void)ino;
  (void)mode;
  (void)offset;
  (void)length;
  (void)fi;
  reply_error(req, -EOPNOTSUPP);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
                               fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
  (void)ino_in;
  (void)off_in;
  (void)fi_in;
  (void)ino_out;
  (void)off_out;
  (void)fi_out;
  (void)len;
  (void)flags;
  reply_error(req, -EOPNOTSUPP);
}

/* A file is all data, with one hole at its end. */
static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
  (void)ino;
  const char *bytes = NULL;
  size_t size = 0;
  int error = fs_handle_bytes(handle_of(fi), &bytes, &size);
  if (error == 0 && whence != SEEK_DATA && whence != SEEK_HOLE)
    error = -EINVAL;
  if (error == 0 && (off < 0 || (uintmax_t)off >= size))
    error = -ENXIO;
  if (error != 0)
    reply_error(req, error);
  else
    fuse_reply_lseek(req, whence == SEEK_DATA ? off : (off_t)size);
}

static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .destroy = op_destroy,
    .lookup = op_lookup,
    .forget = op_forget,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .release = op_release,
    .fsync = op_fsync,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .releasedir = op_release,
    .fsyncdir = op_fsync,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .access = op_access,
    .create = op_create,
    .bmap = op_bmap,
    .ioctl = op_ioctl,
    .poll = op_poll,
    .retrieve_reply = op_retrieve_reply,
    .forget_multi = op_forget_multi,
    .fallocate = op_fallocate,
    .readdirplus = op_readdirplus,
    .copy_file_range = op_copy_file_range,
    .lseek = op_lseek,
};

/* ENODEV is how a session ends; everything but "nothing now" ends it. */
static ssize_t read_device(int fd, void *buffer, size_t size, void *userdata)
{
  (void)userdata;
  ssize_t got = read(fd, buffer, size);
  if (got >= (ssize_t)sizeof(struct fuse_in_header))
    return got;
  if (got >= 0 || (errno != EAGAIN && errno != EINTR && errno != ENOENT))
    errno = ENODEV;
  return -1;
}

/* ENOENT is what libfuse takes for an answer that came too late, and says nothing about. */
static ssize_t write_device(int fd, struct iovec *parts, int count, void *userdata)
{
  (void)userdata;
  ssize_t put = writev(fd, parts, count);
  if (put < 0)
    errno = ENOENT;
  return put;
}

static const struct fuse_custom_io device = {.read = read_device, .writev = write_device};

static void say_nothing(enum fuse_log_level level, const char *format, va_list arguments)
{
  (void)level;
  (void)format;
  (void)arguments;
}

static void print_escaped(struct fs_text *text, const char *key, const char *value)
{
  if (value == NULL)
    return;
  fs_printf(text, "%s", key);
  for (; *value != '\0'; value++)
    fs_printf(text, *value == ',' || *value == '\\' ? "\\%c" : "%c", *value);
}

static int build_arguments(struct fuse_args *arguments, const struct fs_options *options)
{
  struct fs_text *text = fs_text_new();
  if (text == NULL)
    return -ENOMEM;
  fs_printf(text, "default_permissions");
  if (options->allow_other)
    fs_printf(text, ",allow_other");
  print_escaped(text, ",fsname=", options->source);
  print_escaped(text, ",subtype=", options->subtype);
  if (options->mount_options != NULL && options->mount_options[0] != '\0')
    fs_printf(text, ",%s", options->mount_options);
  bool added = !text->failed && fuse_opt_add_arg(arguments, "mount") == 0 && fuse_opt_add_arg(arguments, "-o") == 0 &&
               fuse_opt_add_arg(arguments, text->bytes) == 0;
  fs_text_release(text);
  return added ? 0 : -ENOMEM;
}

/* The mount outlives the working directory of who asks for it. */
static int resolve(struct fs_glue *glue, const char *mountpoint)
{
  struct stat st;
  glue->mountpoint = realpath(mountpoint, NULL);
  int error = 0;
  if (glue->mountpoint == NULL || stat(glue->mountpoint, &st) != 0)
    error = -errno;
  else if (!S_ISDIR(st.st_mode))
    error = -ENOTDIR;
  if (error != 0)
    fuse_log(FUSE_LOG_ERR, "%s: %s\n", mountpoint, strerror(-error));
  return error;
}

static int attach_session(struct fs_glue *glue, const char *mountpoint, const struct fs_options *options)
{
  if (options->session_fd != 0)
    return fuse_session_custom_io(glue->session, &device, options->session_fd);
  int error = resolve(glue, mountpoint);
  if (error != 0)
    return error;
  errno = 0;
  if (fuse_session_mount(glue->session, glue->mountpoint) != 0)
    return errno != 0 ? -errno : -EPERM;
  if (!fs_mountpoint_device(glue->mountpoint, glue->device, sizeof(glue->device)))
    glue->device[0] = '\0';
  return fuse_session_custom_io(glue->session, &device, fuse_session_fd(glue->session));
}

int fs_glue_open(struct fs_glue **out, struct fs *fs, const char *mountpoint, const struct fs_options *options)
{
  struct fs_glue *glue = calloc(1, sizeof(*glue));
  if (glue == NULL)
    return -ENOMEM;
  struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
  int error = build_arguments(&arguments, options);
  fuse_set_log_func(NULL);
  if (error == 0) {
    glue->session = fuse_session_new(&arguments, &operations, sizeof(operations), fs);
    error = glue->session == NULL ? -EINVAL : attach_session(glue, mountpoint, options);
  }
  fuse_set_log_func(say_nothing);
  fuse_opt_free_args(&arguments);
  if (error != 0) {
    if (glue->session != NULL)
      fuse_session_unmount(glue->session);
    fs_glue_free(glue);
    return error;
  }
  *out = glue;
  return 0;
}

int fs_glue_fd(const struct fs_glue *glue)
{
  return fuse_session_fd(glue->session);
}

bool fs_glue_device(const struct fs_glue *glue, char *out, size_t size)
{
  snprintf(out, size, "%s", glue->device);
  return glue->device[0] != '\0';
}

/* How many bytes; 0 when there are none now; -ENODEV at the end. */
static int receive(struct fs_glue *glue)
{
  int got = 0;
  do {
    got = fuse_session_receive_buf(glue->session, &glue->buffer);
  } while (got == -EINTR);
  if (got == 0)
    return -ENODEV;
  return got > 0 ? got : 0;
}

int fs_glue_serve(struct fs_glue *glue)
{
  int got = receive(glue);
  if (got <= 0)
    return got;
  fuse_session_process_buf(glue->session, &glue->buffer);
  return 1;
}

static bool is_ours(const struct fs_glue *glue)
{
  char device_now[FS_DEVICE_SIZE];
  if (glue->mountpoint == NULL || glue->device[0] == '\0')
    return true;
  return fs_mountpoint_device(glue->mountpoint, device_now, sizeof(device_now)) &&
         strcmp(device_now, glue->device) == 0;
}

/* libfuse leaves the mountpoint alone when the session's descriptor reports an error, as one end of a pipe does when
 * the other is closed. */
static void let_mountpoint_alone(const struct fs_glue *glue)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return;
  close(ends[0]);
  dup3(ends[1], fs_glue_fd(glue), O_CLOEXEC);
  close(ends[1]);
}

void fs_glue_unmount(struct fs_glue *glue)
{
  if (!is_ours(glue))
    let_mountpoint_alone(glue);
  fuse_session_unmount(glue->session);
}

void fs_glue_free(struct fs_glue *glue)
{
  if (glue->session != NULL)
    fuse_session_destroy(glue->session);
  free(glue->buffer.mem);
  free(glue->mountpoint);
  free(glue);
}
