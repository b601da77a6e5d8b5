/* A session of libfuse, from its mount to its end, and its table of operations, which the other files named glue fill.
 *
 * Nothing is cached by the kernel: all timeouts are 0, and files are read with direct_io.
 *
 * libfuse's own reads and writes print when they fail, so they are replaced, also on a real mount. */
#include "fs/glue_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct fs_glue {
  struct fuse_session *session;
  struct fuse_buf buffer;
  char *mountpoint; /* resolved; NULL: a socket */
  char device[FS_DEVICE_SIZE];
};

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

/* The mount outlives the working directory of the process that asks for it. */
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
  struct fuse_lowlevel_ops operations = {.init = op_init, .destroy = op_destroy};
  struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
  glue_names(&operations);
  glue_files(&operations);
  glue_fixed(&operations);
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
