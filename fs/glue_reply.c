/* What every operation needs: the entry that the kernel means, and the answers that are not of one operation alone. */
#include "fs/glue_internal.h"

#include <errno.h>
#include <string.h>

struct fs *glue_fs(fuse_req_t req)
{
  return fuse_req_userdata(req);
}

uint64_t glue_now(const struct fs *fs)
{
  return uv_now(fs->poll.loop);
}

struct fs_handle *glue_handle(const struct fuse_file_info *fi)
{
  return (struct fs_handle *)(uintptr_t)fi->fh;
}

void glue_reply_error(fuse_req_t req, int error)
{
  fuse_reply_err(req, -error);
}

int glue_refuse(const struct fs_entry *at, const char *name, const char *doing, const char *why)
{
  fs_refusal_tell(at, name, doing, why, -EPERM);
  return -EPERM;
}

struct fs_entry *glue_hold(fuse_req_t req, fuse_ino_t ino)
{
  struct fs_entry *entry = fs_table_find(&glue_fs(req)->table, ino);
  if (entry == NULL)
    glue_reply_error(req, -ESTALE);
  else
    fs_entry_hold(entry);
  return entry;
}

struct fs_entry *glue_hold_dir(fuse_req_t req, fuse_ino_t ino, const char *name)
{
  if (strlen(name) > FS_NAME_MAX) {
    glue_reply_error(req, -ENAMETOOLONG);
    return NULL;
  }
  struct fs_entry *dir = glue_hold(req, ino);
  if (dir == NULL || fs_entry_alive(dir))
    return dir;
  fs_entry_let(dir);
  glue_reply_error(req, -ENOENT);
  return NULL;
}

int glue_fill(struct fs *fs, struct fs_entry *entry, struct fuse_entry_param *param)
{
  *param = (struct fuse_entry_param){.ino = entry->ino};
  return fs_entry_stat(entry, glue_now(fs), &param->attr);
}

void glue_reply_entry(fuse_req_t req, struct fs_entry *entry)
{
  struct fuse_entry_param param;
  int error = glue_fill(glue_fs(req), entry, &param);
  if (error != 0) {
    glue_reply_error(req, error);
    return;
  }
  entry->lookups++;
  if (fuse_reply_entry(req, &param) != 0)
    fs_entry_forget(entry, 1);
}

void glue_answer_plainly(const struct fs_change *change, int error)
{
  glue_reply_error(change->token, error);
}

/* A refused caller needs no further answer. */
void glue_reply_change(fuse_req_t req, int error)
{
  const struct fs_change change = {.answer = glue_answer_plainly, .token = req};
  if (error != 0)
    glue_reply_error(req, error);
  else
    fs_change_tell(glue_fs(req), &change);
}
