/* The operations on names: listing a directory, making and removing entries. */
#include "fs/glue_internal.h"

#include <errno.h>
#include <stdlib.h>

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
  struct fs_entry *dir = glue_hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  struct fs_entry *entry = fs_entry_find(dir, name);
  if (entry == NULL)
    glue_reply_error(req, -ENOENT);
  else
    glue_reply_entry(req, entry);
  fs_entry_let(dir);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
  fs_table_forget(&glue_fs(req)->table, ino, lookups);
  fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
  for (size_t i = 0; i < count; i++)
    fs_table_forget(&glue_fs(req)->table, forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(req);
}

static void refuse_name(fuse_req_t req, fuse_ino_t parent, const char *name, const char *doing, const char *why)
{
  struct fs_entry *dir = glue_hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  glue_reply_error(req, glue_refuse(dir, name, doing, why));
  fs_entry_let(dir);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
  (void)mode;
  (void)rdev;
  refuse_name(req, parent, name, "mknod", "the tree has only files and directories");
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
  (void)link;
  refuse_name(req, parent, name, "link", "the tree has no links");
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname,
                      unsigned flags)
{
  (void)parent;
  (void)name;
  (void)flags;
  refuse_name(req, newparent, newname, "rename to", "names cannot be changed");
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
  (void)ino;
  refuse_name(req, newparent, newname, "link", "the tree has no links");
}

static int make_dir(struct fs_entry *dir, const char *name)
{
  if (fs_entry_find(dir, name) != NULL)
    return -EEXIST;
  if (dir->row->mkdir == NULL)
    return glue_refuse(dir, name, "mkdir", "a directory cannot be created here");
  return dir->row->mkdir(dir, name);
}

static void answer_entry(const struct fs_change *change, int error)
{
  if (error != 0)
    glue_reply_error(change->token, error);
  else
    glue_reply_entry(change->token, change->entry);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
  (void)mode;
  struct fs_entry *dir = glue_hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = make_dir(dir, name);
  struct fs_entry *entry = error == 0 ? fs_entry_find(dir, name) : NULL;
  const struct fs_change change = {.answer = answer_entry, .token = req, .entry = entry};
  if (entry != NULL)
    fs_change_tell(glue_fs(req), &change);
  else
    glue_reply_error(req, error != 0 ? error : -ENOENT);
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
    return glue_refuse(entry, NULL, "remove", "the file is fixed");
  fs_entry_hold(entry);
  int error = remove_file(entry);
  fs_entry_let(entry);
  return error;
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
  struct fs_entry *dir = glue_hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = unlink_entry(fs_entry_find(dir, name));
  glue_reply_change(req, error);
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
    return glue_refuse(entry, NULL, "rmdir", "the directory is fixed");
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
  struct fs_entry *dir = glue_hold_dir(req, parent, name);
  if (dir == NULL)
    return;
  int error = rmdir_entry(fs_entry_find(dir, name));
  glue_reply_change(req, error);
  fs_entry_let(dir);
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
    param.attr.st_mode = listed->type;
  }
  size_t need = plus ? fuse_add_direntry_plus(req, to, room, name, &param, (off_t)index + 1)
                     : fuse_add_direntry(req, to, room, name, &param.attr, (off_t)index + 1);
  return need > room ? 0 : need;
}

static void reply_names(fuse_req_t req, size_t size, off_t off, const struct fuse_file_info *fi, bool plus)
{
  struct fs_handle *handle = glue_handle(fi);
  int error = off == 0 ? fs_handle_list(handle) : 0;
  char *buffer = error == 0 ? malloc(size) : NULL;
  if (buffer == NULL) {
    glue_reply_error(req, error != 0 ? error : -ENOMEM);
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

void glue_names(struct fuse_lowlevel_ops *ops)
{
  ops->lookup = op_lookup;
  ops->forget = op_forget;
  ops->forget_multi = op_forget_multi;
  ops->mknod = op_mknod;
  ops->symlink = op_symlink;
  ops->rename = op_rename;
  ops->link = op_link;
  ops->mkdir = op_mkdir;
  ops->unlink = op_unlink;
  ops->rmdir = op_rmdir;
  ops->readdir = op_readdir;
  ops->readdirplus = op_readdirplus;
}
