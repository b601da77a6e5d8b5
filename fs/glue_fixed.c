/* The operations whose answer is the same for every entry: by the errno that cp, tar and rsync take calmly. Locks are
 * left out on purpose: then the kernel keeps them. */
#include "fs/glue_internal.h"

#include <errno.h>
#include <poll.h>

enum { FREE_FILES = 1 << 20 }; /* as is told: nothing keeps count of what could be made */

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
  (void)ino;
  struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = FS_NAME_MAX};
  st.f_files = HASH_CNT(by_number, glue_fs(req)->table.by_ino) + FREE_FILES;
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
  glue_reply_error(req, -EOPNOTSUPP);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
  (void)ino;
  (void)name;
  (void)size;
  glue_reply_error(req, -ENODATA);
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
  glue_reply_error(req, -ENODATA);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
  (void)ino;
  (void)mask;
  glue_reply_error(req, 0);
}

static void op_bmap(fuse_req_t req, fuse_ino_t ino, size_t blocksize, uint64_t idx)
{
  (void)ino;
  (void)blocksize;
  (void)idx;
  glue_reply_error(req, -EINVAL);
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
  glue_reply_error(req, -ENOTTY);
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
  glue_reply_error(req, -EOPNOTSUPP);
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
  glue_reply_error(req, -EOPNOTSUPP);
}

void glue_fixed(struct fuse_lowlevel_ops *ops)
{
  ops->statfs = op_statfs;
  ops->setxattr = op_setxattr;
  ops->getxattr = op_getxattr;
  ops->listxattr = op_listxattr;
  ops->removexattr = op_removexattr;
  ops->access = op_access;
  ops->bmap = op_bmap;
  ops->ioctl = op_ioctl;
  ops->poll = op_poll;
  ops->retrieve_reply = op_retrieve_reply;
  ops->fallocate = op_fallocate;
  ops->copy_file_range = op_copy_file_range;
}
