/* A session: from the mount to its end.
 *
 *     fs_open            mounted
 *       fs_serve         the session's descriptor is polled, requests are served a bounded number at a time
 *     fs_close           nothing more reaches the program; lines that wait are answered
 *       unmounted        lazily, after which the descriptor is gone
 *       handles closed   everything is freed, `closed` runs
 *
 * Somebody else may unmount first: reads then say ENODEV, or there is no path to the tree any more, and the program is
 * told, once. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum { SERVED_PER_WAKE = 64 };

void fs_session_over(struct fs *fs)
{
  if (fs->over)
    return;
  fs->over = true;
  uv_poll_stop(&fs->poll);
  if (fs->options.unmounted != NULL)
    fs->options.unmounted(fs, fs->options.arg);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
  (void)events;
  struct fs *fs = poll->data;
  for (int i = 0; i < SERVED_PER_WAKE; i++) {
    int served = fs_glue_serve(fs->glue);
    if (served < 0) {
      fs_session_over(fs);
      return;
    }
    if (served == 0)
      break;
  }
  /* libuv stops a poll that it reports as failed; that may be the news of the end, or nothing. */
  if (status < 0 && uv_poll_start(poll, UV_READABLE, on_readable) != 0)
    fs_session_over(fs);
}

static void free_session(struct fs *fs)
{
  if (fs->glue != NULL)
    fs_glue_free(fs->glue);
  struct fs_handle *handle = NULL;
  struct fs_handle *following = NULL;
  DL_FOREACH_SAFE(fs->handles, handle, following)
  {
    fs_handle_free(handle);
  }
  fs_table_free(&fs->table);
  free(fs);
}

void fs_let(struct fs *fs)
{
  if (--fs->uv_handles > 0)
    return;
  void (*closed)(void *) = fs->closed;
  void *arg = fs->closed_arg;
  free_session(fs);
  if (closed != NULL)
    closed(arg);
}

static void on_uv_closed(uv_handle_t *handle)
{
  fs_let(handle->data);
}

static void look_after_interrupts(struct fs *fs);

static void on_look(uv_timer_t *look)
{
  look_after_interrupts(look->data);
}

/* The kernel tells of the first signal alone. */
static void look_after_interrupts(struct fs *fs)
{
  if (fs_requests_interrupt(&fs->requests))
    uv_timer_start(&fs->look, on_look, FS_LOOK_MS, 0);
}

static void on_wake(uv_async_t *wake)
{
  look_after_interrupts(wake->data);
}

int fs_serve(struct fs *fs)
{
  return uv_poll_start(&fs->poll, UV_READABLE, on_readable);
}

static int start_polling(struct fs *fs, struct uv_loop_s *loop)
{
  fs->poll.data = fs;
  fs->wake.data = fs;
  int error = uv_poll_init(loop, &fs->poll, fs_glue_fd(fs->glue));
  if (error != 0)
    return error;
  fs->uv_handles++;
  error = uv_async_init(loop, &fs->wake, on_wake);
  if (error != 0)
    return error;
  uv_timer_init(loop, &fs->look);
  fs->look.data = fs;
  fs->uv_handles += 2;
  error = fs_reach_start(fs);
  if (error != 0)
    return error;
  return fs->options.held ? 0 : fs_serve(fs);
}

static int mount_session(struct fs *fs, const char *mountpoint, const struct fs_options *options, char *message,
                         size_t message_size)
{
  struct fs_capture capture;
  fs_capture_begin(&capture);
  int error = fs_glue_open(&fs->glue, fs, mountpoint, options);
  fs_capture_end(&capture, error != 0 ? message : NULL, message_size);
  return error;
}

static void give_up(struct fs *fs)
{
  fs_reach_stop(fs);
  if (fs->uv_handles > 0)
    uv_close((uv_handle_t *)&fs->poll, on_uv_closed);
  if (fs->uv_handles > 1) {
    uv_close((uv_handle_t *)&fs->wake, on_uv_closed);
    uv_close((uv_handle_t *)&fs->look, on_uv_closed);
  }
  if (fs->glue != NULL)
    fs_glue_unmount(fs->glue);
  if (fs->uv_handles == 0)
    free_session(fs);
}

int fs_open(struct fs **out, struct uv_loop_s *loop, const char *mountpoint, const struct fs_options *options,
            char *message, size_t message_size)
{
  struct fs *fs = calloc(1, sizeof(*fs));
  if (fs == NULL) {
    snprintf(message, message_size, "%s", strerror(ENOMEM));
    return -ENOMEM;
  }
  fs->options = *options;
  int error = fs_table_init(&fs->table, options->rows, options->row_count, options->root_object);
  if (error != 0) {
    snprintf(message, message_size, "the tree's table is wrong, or memory is short: %s", strerror(-error));
    free(fs);
    return error;
  }
  fs->table.fs = fs;
  fs->table.uid = getuid();
  fs->table.gid = getgid();
  snprintf(message, message_size, "cannot mount on %s", mountpoint);
  error = mount_session(fs, mountpoint, options, message, message_size);
  if (error == 0) {
    error = start_polling(fs, loop);
    if (error != 0)
      snprintf(message, message_size, "%s", strerror(-error));
  }
  if (error != 0) {
    give_up(fs);
    return error;
  }
  *out = fs;
  return 0;
}

void fs_close(struct fs *fs, void (*closed)(void *arg), void *arg)
{
  fs->closing = true;
  fs->closed = closed;
  fs->closed_arg = arg;
  fs_requests_abandon(&fs->requests);
  fs_changes_abandon(fs);
  uv_close((uv_handle_t *)&fs->poll, on_uv_closed);
  uv_close((uv_handle_t *)&fs->wake, on_uv_closed);
  uv_close((uv_handle_t *)&fs->look, on_uv_closed);
  fs_reach_stop(fs);
  fs_glue_unmount(fs->glue);
}
