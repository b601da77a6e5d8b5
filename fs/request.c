/* Lines on their way to the program.
 *
 * A write becomes one request, which hands over its lines one after another. A handler that answers at once is called
 * again in the same loop; one that answers later leaves the loop, and fs_reply comes back into it. The kernel has its
 * answer when all lines are accepted or one is refused. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

struct fs_request *fs_request_new(struct fs_handle *handle, struct fs_request **list)
{
  struct fs_request *request = calloc(1, sizeof(*request));
  if (request == NULL)
    return NULL;
  request->handle = handle;
  request->list = list;
  handle->waiting = request;
  fs_entry_hold(handle->entry);
  DL_APPEND(*list, request);
  return request;
}

static void finish(struct fs_request *request, ssize_t result)
{
  struct fs_handle *handle = request->handle;
  struct fs_entry *entry = handle->entry;
  DL_DELETE(*request->list, request);
  handle->waiting = NULL;
  if (request->flush)
    fs_handle_end(handle);
  request->answer(request->token, request->flush, result);
  free(request);
  if (handle->released)
    fs_handle_release(handle);
  fs_entry_let(entry);
}

static bool settle(struct fs_request *request)
{
  struct fs_handle *handle = request->handle;
  if (request->error != 0) {
    finish(request, fs_lines_refuse(&handle->lines, request->error));
    return false;
  }
  if (request->begun) {
    finish(request, fs_lines_end(&handle->lines));
    return false;
  }
  fs_lines_accept(&handle->lines);
  handle->accepted = handle->going_on = true;
  fs_touch(handle->entry);
  return true;
}

static void tell_refusal(const struct fs_handle *handle, int error)
{
  const char *why = "a line cannot hold a NUL byte";
  if (error == -E2BIG)
    why = "the line is too long";
  else if (error == -EFBIG)
    why = "it is too long";
  if (fs_handle_alive(handle))
    fs_refusal_tell(handle->entry, NULL, "write", why, error);
}

/* The same of all that was written, once that is over. */
static int next_whole(struct fs_request *request)
{
  struct fs_lines *lines = &request->handle->lines;
  if (lines->size > request->handle->entry->row->whole)
    return -EFBIG;
  if (!request->flush || lines->done == lines->size)
    return 0;
  lines->next = lines->size;
  lines->bytes[lines->size] = '\0';
  request->line = (struct fs_line){.text = lines->bytes, .size = lines->size};
  return 1;
}

/* 1 and a line, complete or begun, that the program is to judge; 0: none; or why there is none. */
static int next_line(struct fs_request *request)
{
  struct fs_handle *handle = request->handle;
  const struct fs_row *row = handle->entry->row;
  if (row->whole > 0)
    return next_whole(request);
  int result = fs_lines_next(&handle->lines, request->flush, &request->line);
  if (result == 0 && !request->flush && row->begun != NULL && fs_lines_rest(&handle->lines, &request->line)) {
    request->begun = true;
    result = 1;
  }
  return result;
}

static void hand_over(struct fs_request *request)
{
  const struct fs_handle *handle = request->handle;
  const struct fs_row *row = handle->entry->row;
  request->line.first = !handle->accepted;
  request->line.replace = !handle->append && !handle->accepted;
  request->answered = false;
  request->running = true;
  (request->begun ? row->begun : row->line)(request, handle->entry, &request->line);
  request->running = false;
}

static void carry_on(struct fs_request *request)
{
  struct fs_handle *handle = request->handle;
  for (;;) {
    int result = next_line(request);
    if (result > 0 && !fs_handle_alive(handle))
      result = -ENOENT;
    if (result < 0) {
      tell_refusal(handle, result);
      finish(request, fs_lines_refuse(&handle->lines, result));
      return;
    }
    if (result == 0) {
      finish(request, fs_lines_end(&handle->lines));
      return;
    }
    hand_over(request);
    if (!request->answered) {
      fs_entry_part(handle->entry);
      if (request->interrupted && request->on_interrupt != NULL)
        request->wake(handle->entry->table->fs);
      return;
    }
    if (!settle(request))
      return;
  }
}

void fs_request_run(struct fs_request *request, const char *bytes, size_t size)
{
  struct fs_lines *lines = &request->handle->lines;
  int error = fs_lines_write(lines, bytes, size);
  if (error != 0)
    finish(request, error);
  else
    carry_on(request);
}

void fs_reply(struct fs_request *request, int error)
{
  if (request->abandoned) {
    fs_handle_free(request->handle);
    free(request);
    return;
  }
  request->error = error;
  request->answered = true;
  request->on_interrupt = NULL;
  if (!request->running && settle(request))
    carry_on(request);
}

void fs_on_interrupt(struct fs_request *request, void (*interrupted)(struct fs_request *request, void *arg), void *arg)
{
  if (request->abandoned)
    return;
  request->on_interrupt = interrupted;
  request->arg = arg;
  if (request->interrupted && interrupted != NULL)
    request->wake(request->handle->entry->table->fs);
}

static struct fs_request *find_ending(struct fs_request *list)
{
  struct fs_request *request = NULL;
  DL_FOREACH(list, request)
  {
    if (request->ending && request->on_interrupt != NULL)
      return request;
  }
  return NULL;
}

bool fs_requests_interrupt(struct fs_request **list)
{
  bool others = false;
  struct fs_request *request = NULL;
  DL_FOREACH(*list, request)
  {
    if (!request->interrupted || request->on_interrupt == NULL)
      continue;
    request->ending = fs_writer_is_ending(request->writer);
    others = others || !request->ending;
  }
  while ((request = find_ending(*list)) != NULL) {
    void (*on_interrupt)(struct fs_request *, void *) = request->on_interrupt;
    request->on_interrupt = NULL;
    on_interrupt(request, request->arg);
  }
  return others;
}

void fs_requests_abandon(struct fs_request **list)
{
  struct fs_request *request = NULL;
  struct fs_request *following = NULL;
  DL_FOREACH_SAFE(*list, request, following)
  {
    DL_DELETE(*list, request);
    request->abandoned = true;
    request->on_interrupt = NULL;
    request->answer(request->token, request->flush, -ECANCELED);
    DL_DELETE(*request->handle->list, request->handle);
  }
}
