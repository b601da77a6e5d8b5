/* A file is not written to: each process writes a new one beside it and renames that over it, so that at any moment
 * there is a whole one. The only change in place is that its last lines are cut off, in one step. The process that has
 * the file locked owns the identity. The lock belongs to the file, not to its name: the new file is locked before it
 * gets the name, and a process that waited for the old one sees that it has lost its name, and begins anew. Everything
 * is asked of the descriptor.
 */
#include "own_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "identity_holder.h"
#include "identity_machine.h"
#include "identity_place.h"
#include "identity_text.h"

enum {
  WAIT_MS = 2000, /* a process whose mount died may need a moment to end */
  WAIT_STEP_MS = 10,
  OPEN_FLAGS = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW,
};

/* ---- The file. ---- */

/* Whether the file still has its name. */
static bool is_current(const struct identity_place *p, const struct stat *st)
{
  struct stat named;

  return fstatat(p->fd, p->name, &named, AT_SYMLINK_NOFOLLOW) == 0 && named.st_dev == st->st_dev &&
         named.st_ino == st->st_ino;
}

static int lock(int fd, unsigned *waited_ms)
{
  const struct timespec step = {.tv_nsec = WAIT_STEP_MS * 1000000L};

  for (; flock(fd, LOCK_EX | LOCK_NB) != 0; *waited_ms += WAIT_STEP_MS) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return -errno;
    if (*waited_ms >= WAIT_MS)
      return -EBUSY;
    nanosleep(&step, NULL);
  }
  return 0;
}

static int check_file(int fd, const struct identity_place *p, struct stat *st, char why[OWN_IDENTITY_WHY_MAX])
{
  if (fstat(fd, st) != 0)
    return identity_place_explain(why, -errno, p, strerror(errno));
  if (!S_ISREG(st->st_mode))
    return identity_place_explain(why, -EINVAL, p, "not a regular file");
  if (st->st_uid != geteuid())
    return identity_place_explain(why, -EPERM, p, "the identity in it belongs to another user");
  if ((st->st_mode & 077) != 0)
    return identity_place_explain(why, -EPERM, p, "others may read it, or write it: chmod 600 it first");
  return 0;
}

static void explain_holder(const struct stat *st, const struct identity_place *p, char why[OWN_IDENTITY_WHY_MAX])
{
  char holder[IDENTITY_HOLDER_WHY_MAX];

  identity_holder_explain(st, p->mountpoint, holder);
  identity_place_explain(why, -EBUSY, p, holder);
}

/* The descriptor of the file, locked; -ENOENT without a sentence if there is none; or a negative errno. */
static int open_file(const struct identity_place *p, char why[OWN_IDENTITY_WHY_MAX])
{
  struct stat st;
  unsigned waited_ms = 0;

  for (;;) {
    /* NFS locks only files that are open for writing. */
    int fd = openat(p->fd, p->name, O_RDWR | OPEN_FLAGS);

    if (fd < 0 && (errno == EROFS || errno == EACCES))
      fd = openat(p->fd, p->name, O_RDONLY | OPEN_FLAGS);
    if (fd < 0)
      return errno == ENOENT
                 ? -ENOENT
                 : identity_place_explain(why, -errno, p, errno == ELOOP ? "is a symbolic link" : strerror(errno));
    int err = check_file(fd, p, &st, why);
    if (err == 0) {
      err = lock(fd, &waited_ms);
      if (err == -EBUSY)
        explain_holder(&st, p, why);
      else if (err != 0)
        identity_place_explain(why, err, p, strerror(-err));
    }
    if (err == 0 && is_current(p, &st))
      return fd;
    close(fd);
    if (err != 0)
      return err;
  }
}

static int read_file(int fd, const struct identity_place *p, struct identity_text *out, char why[OWN_IDENTITY_WHY_MAX])
{
  char text[IDENTITY_TEXT_MAX];
  size_t size = 0;
  ssize_t n;

  do {
    n = pread(fd, text + size, sizeof text - size, (off_t)size);
    size += n > 0 ? (size_t)n : 0;
  } while ((n < 0 && errno == EINTR) || (n > 0 && size < sizeof text));
  if (n < 0)
    return identity_place_explain(why, -EIO, p, strerror(errno));
  int err = identity_text_read(text, size, out);
  explicit_bzero(text, sizeof text);
  if (err == -EPROTONOSUPPORT)
    return identity_place_explain(why, err, p, "written by a newer mmfs");
  if (err != 0)
    return identity_place_explain(why, err, p,
                                  "damaged: put it back from a copy, or remove it, and this mount gets a new identity");
  return 0;
}

static int write_all(int fd, const char *text, size_t size)
{
  while (size > 0) {
    ssize_t n = write(fd, text, size);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -EIO;
    text += n;
    size -= (size_t)n;
  }
  return fsync(fd) == 0 ? 0 : -errno;
}

static int put_in_place(const struct identity_place *p, const char *temporary, bool fresh)
{
  if (!fresh)
    return renameat(p->fd, temporary, p->fd, p->name) == 0 ? 0 : -errno;
  /* Unlike a rename, this fails if another process was faster. */
  if (linkat(p->fd, temporary, p->fd, p->name, 0) != 0)
    return -errno;
  unlinkat(p->fd, temporary, 0);
  return 0;
}

/* The descriptor of the new file, locked, or a negative errno; nothing has changed then. With `fresh`, -EEXIST: there
 * is one now. */
static int replace_file(const struct identity_place *p, const struct identity_text *text, bool fresh)
{
  char temporary[IDENTITY_PLACE_NAME_SIZE + 16], bytes[IDENTITY_TEXT_MAX];
  uint8_t random[4];

  identity_random(random, sizeof random);
  snprintf(temporary, sizeof temporary, ".%.240s.%02x%02x%02x%02x", p->name, random[0], random[1], random[2],
           random[3]);
  int fd = openat(p->fd, temporary, O_RDWR | O_CREAT | O_EXCL | OPEN_FLAGS, 0600);
  if (fd < 0)
    return -errno;
  size_t size = identity_text_write(text, bytes);
  int err = flock(fd, LOCK_EX | LOCK_NB) == 0 ? write_all(fd, bytes, size) : -errno;
  explicit_bzero(bytes, sizeof bytes);
  if (err == 0)
    err = put_in_place(p, temporary, fresh);
  if (err != 0) {
    unlinkat(p->fd, temporary, 0);
    close(fd);
    return err;
  }
  /* It is in place. We start even if it may not survive a power cut. */
  (void)fsync(p->fd);
  return fd;
}

/* ---- All of it. ---- */

static uint64_t realtime_ms(void)
{
  struct timespec t;

  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void own_identity_make(struct own_identity *out)
{
  *out = (struct own_identity){.instance = realtime_ms(), .lock = -1};
  identity_random(out->seed, sizeof out->seed);
  identity_random(out->member_key, sizeof out->member_key);
}

/* Two machines with one identity would take each other's names. */
static bool is_copy(const struct own_identity *o, const struct identity_text *last)
{
  return o->has_machine && last->has_machine && memcmp(o->machine, last->machine, sizeof o->machine) != 0;
}

/* What comes after the process that wrote `last`. */
static int follow(struct own_identity *o, const struct identity_text *last, const struct identity_place *p,
                  char why[OWN_IDENTITY_WHY_MAX])
{
  if (last->instance == UINT64_MAX)
    return identity_place_explain(why, -EINVAL, p, "damaged: no instance can come after the last one");
  if (is_copy(o, last)) {
    o->is_copy = true;
    return 0;
  }
  if (!o->has_machine && last->has_machine) {
    o->has_machine = true;
    memcpy(o->machine, last->machine, sizeof o->machine);
  }
  memcpy(o->seed, last->seed, sizeof o->seed);
  memcpy(o->former_key, last->has_former ? last->former_key : last->member_key, sizeof o->former_key);
  o->has_former = true;
  if (o->instance <= last->instance)
    o->instance = last->instance + 1;
  return 0;
}

/* Reads the file if there is one. Its descriptor, -ENOENT, or another negative errno with a sentence. */
static int take_former(struct own_identity *o, const struct identity_place *p, char why[OWN_IDENTITY_WHY_MAX])
{
  struct identity_text text = {0};
  int fd = open_file(p, why);

  if (fd < 0)
    return fd;
  int err = read_file(fd, p, &text, why);
  if (err == 0)
    err = follow(o, &text, p, why);
  explicit_bzero(&text, sizeof text);
  if (err == 0)
    return fd;
  close(fd);
  return err;
}

/* All that the next process must know. */
static void describe(const struct own_identity *o, bool has_former, struct identity_text *out)
{
  *out = (struct identity_text){.instance = o->instance, .has_former = has_former, .has_machine = o->has_machine};
  memcpy(out->machine, o->machine, sizeof out->machine);
  memcpy(out->seed, o->seed, sizeof out->seed);
  memcpy(out->member_key, o->member_key, sizeof out->member_key);
  memcpy(out->former_key, o->former_key, sizeof out->former_key);
}

/* 0 also if it could not be kept: then there is a sentence. */
static int take(struct own_identity *o, const struct identity_place *p, char why[OWN_IDENTITY_WHY_MAX])
{
  struct identity_text text;
  int old, fresh;

  do {
    old = take_former(o, p, why);
    if (old < 0 && old != -ENOENT)
      return old;
    describe(o, o->has_former, &text);
    fresh = replace_file(p, &text, old < 0);
  } while (old < 0 && fresh == -EEXIST);
  explicit_bzero(&text, sizeof text);
  o->lock = fresh >= 0 ? fresh : old >= 0 ? old : -1;
  o->former_kept = fresh >= 0 && o->has_former;
  if (fresh < 0)
    identity_place_explain(why, fresh, p, strerror(-fresh));
  else if (old >= 0)
    close(old);
  return 0;
}

/* ---- The former one is cut off. ---- */

/* With a descriptor of its own: the file system may answer only after everything else has ended. */
struct cut {
  uv_work_t work;
  struct own_identity *of;
  int fd;
  off_t size;
  bool done;
};

static void cut_off(uv_work_t *work)
{
  struct cut *c = work->data;

  c->done = ftruncate(c->fd, c->size) == 0;
  close(c->fd);
}

static void after_cut(uv_work_t *work, int status)
{
  struct cut *c = work->data;

  (void)status;
  c->of->cutting = false;
  if (c->done)
    c->of->former_kept = false;
  free(c);
}

/* It stands in the last lines of the file. */
static off_t size_without_former(const struct own_identity *o)
{
  char bytes[IDENTITY_TEXT_MAX];
  struct identity_text text;
  size_t size;

  describe(o, false, &text);
  size = identity_text_write(&text, bytes);
  explicit_bzero(&text, sizeof text);
  explicit_bzero(bytes, sizeof bytes);
  return (off_t)size;
}

/* If it cannot begin now, it begins when the next router has heard of us. */
void own_identity_joined(struct own_identity *o, struct uv_loop_s *loop)
{
  struct cut *c;

  if (!o->former_kept || o->cutting)
    return;
  c = calloc(1, sizeof *c);
  if (c == NULL)
    return;
  *c = (struct cut){.of = o, .fd = fcntl(o->lock, F_DUPFD_CLOEXEC, 0), .size = size_without_former(o)};
  c->work.data = c;
  o->cutting = c->fd >= 0 && uv_queue_work(loop, &c->work, cut_off, after_cut) == 0;
  if (o->cutting)
    return;
  if (c->fd >= 0)
    close(c->fd);
  free(c);
}

/* ---- Opening it. ---- */

static void tell_loss(char why[OWN_IDENTITY_WHY_MAX], const char *consequence)
{
  char reason[OWN_IDENTITY_WHY_MAX];

  snprintf(reason, sizeof reason, "%s", why);
  snprintf(why, OWN_IDENTITY_WHY_MAX, "the identity could not be kept (%.800s): %s", reason, consequence);
}

static void tell_copy(char why[OWN_IDENTITY_WHY_MAX], const struct identity_place *p)
{
  identity_place_explain(why, 0, p,
                         "was written on another machine, of which this one may be a copy: "
                         "this mount has a new identity, and that machine keeps its own");
}

int own_identity_open(struct own_identity *out, const char *file, const char *mountpoint, const char *machine_id,
                      char why[OWN_IDENTITY_WHY_MAX])
{
  struct identity_place p = {.fd = -1, .mountpoint = mountpoint};
  int err;

  why[0] = '\0';
  own_identity_make(out);
  out->has_machine = identity_machine_read(machine_id, out->machine);
  if (file != NULL)
    err = identity_place_given(&p, file, why);
  else
    err = identity_place_default(&p, mountpoint, why);
  if (err == 0)
    err = take(out, &p, why);
  else if (file == NULL && err == -ENOENT)
    err = 0;
  if (p.fd >= 0)
    close(p.fd);
  if (err == 0 && why[0] != '\0' && out->lock < 0 && file != NULL)
    err = -EIO;
  if (err != 0)
    own_identity_close(out);
  else if (why[0] != '\0' && out->lock >= 0)
    tell_loss(why, "the next mmfs here cannot say that this one is over");
  else if (why[0] != '\0')
    tell_loss(why, "this one is in memory only, and ends with mmfs");
  else if (out->is_copy)
    tell_copy(why, &p);
  return err;
}

void own_identity_close(struct own_identity *o)
{
  if (o->lock >= 0)
    close(o->lock);
  explicit_bzero(o, sizeof *o);
  o->lock = -1;
}
