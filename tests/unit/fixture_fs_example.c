#include "fixture_fs_example.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct example *example_of(struct fs_entry *entry)
{
  return fs_object(fs_root(fs_of(entry)));
}

static int render_counter(struct fs_entry *file, struct fs_text *out)
{
  example_of(file)->renders++;
  fs_printf(out, "%ld\n", example_of(file)->counter);
  return 0;
}

static void line_counter(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example *example = example_of(file);
  if (example->line_count < EXAMPLE_LINES)
    snprintf(example->lines[example->line_count++], sizeof(example->lines[0]), "%.40s %c", line->text,
             line->replace ? 'r' : 'a');
  char *end = NULL;
  long value = strtol(line->text, &end, 10);
  if (line->size == 0 || *end != '\0') {
    fs_reply(request, -EINVAL);
    return;
  }
  example->counter = line->replace ? value : example->counter + value;
  fs_reply(request, 0);
}

static void released_counter(struct fs_entry *file)
{
  example_of(file)->released++;
}

static void over_counter(struct fs_entry *file)
{
  example_of(file)->over++;
}

static int render_fixed(struct fs_entry *file, struct fs_text *out)
{
  (void)file;
  fs_printf(out, "fixed\n");
  return 0;
}

static int read_log(struct fs_entry *file, const char **bytes, size_t *size)
{
  *bytes = example_of(file)->log;
  *size = example_of(file)->log_size;
  return 0;
}

static void on_slow_timer(uv_timer_t *timer)
{
  struct example *example = timer->data;
  struct fs_request *request = example->waiting;
  example->waiting = NULL;
  if (request != NULL)
    fs_reply(request, 0);
}

void on_slow_interrupt(struct fs_request *request, void *arg)
{
  struct example *example = arg;
  example->waiting = NULL;
  example->interrupts++;
  fs_reply(request, -EINTR);
}

/* "soon" is answered later, "never" only when it is interrupted, "deaf" is not even told of that. */
static void line_slow(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example *example = example_of(file);
  example->waiting = request;
  example->waiting_file = file;
  if (strcmp(line->text, "deaf") != 0)
    fs_on_interrupt(request, on_slow_interrupt, example);
  if (strcmp(line->text, "soon") == 0)
    uv_timer_start(&example->timer, on_slow_timer, 5, 0);
}

/* "later" is judged later; what begins with n is no good. */
static void begun_judge(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example *example = example_of(file);
  if (strncmp(line->text, "later", 5) == 0)
    example->waiting = request;
  else
    fs_reply(request, line->text[0] == 'n' ? -EINVAL : 0);
}

static void line_judge(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example *example = example_of(file);
  if (example->line_count < EXAMPLE_LINES)
    snprintf(example->lines[example->line_count++], sizeof(example->lines[0]), "%.40s %c", line->text,
             line->replace ? 'r' : 'a');
  fs_reply(request, 0);
}

/* What begins with n is no good. */
static void line_blob(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example *example = example_of(file);
  char *seen = example->lines[example->line_count++];
  snprintf(seen, sizeof(example->lines[0]), "%zu %s %s", line->size, line->text,
           line->size > 0 && line->text[0] == '\0' ? line->text + 1 : "");
  fs_reply(request, line->text[0] == 'n' ? -EINVAL : 0);
}

static struct example_item *new_item(struct example *example, const char *name)
{
  struct example_item *item = calloc(1, sizeof(*item));
  if (item == NULL)
    return NULL;
  item->example = example;
  snprintf(item->name, sizeof(item->name), "%s", name);
  DL_APPEND(example->items, item);
  return item;
}

void free_item(struct example_item *item)
{
  DL_DELETE(item->example->items, item);
  free(item);
}

int mkdir_item(struct fs_entry *dir, const char *name)
{
  if (strlen(name) > 63)
    return -ENAMETOOLONG;
  struct example_item *item = new_item(example_of(dir), name);
  if (item == NULL)
    return -ENOMEM;
  item->listed = true;
  int error = fs_add(dir, &example_rows[ROW_ITEM], name, item, &item->entry);
  if (error != 0)
    free_item(item);
  return error;
}

static int create_item(struct fs_entry *dir, const char *name, struct fs_entry **out)
{
  struct example_item *item = new_item(example_of(dir), name);
  if (item == NULL)
    return -ENOMEM;
  int error = fs_add_detached(dir, &example_rows[ROW_DRAFT], name, item, out);
  if (error != 0)
    free_item(item);
  return error;
}

int rmdir_item(struct fs_entry *dir)
{
  struct example_item *item = fs_object(dir);
  if (strcmp(item->name, "sticky") == 0)
    return 0;
  fs_remove(dir);
  free_item(item);
  return 0;
}

static int unlink_nothing(struct fs_entry *file)
{
  (void)file;
  return 0;
}

static int render_item(struct fs_entry *file, struct fs_text *out)
{
  const struct example_item *item = fs_object(file);
  fs_printf(out, "%s %s\n", item->name, item->value);
  return 0;
}

static void line_item(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example_item *item = fs_object(file);
  snprintf(item->value, sizeof(item->value), "%.63s", line->text);
  fs_reply(request, 0);
}

/* A draft becomes a directory of its name with its first line. */
static void line_draft(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct example_item *item = fs_object(file);
  int error = 0;
  if (line->size == 0) {
    error = -EINVAL;
  } else if (!item->listed) {
    error = fs_add(fs_parent(file), &example_rows[ROW_ITEM], fs_name(file), item, &item->entry);
    item->listed = error == 0;
  }
  if (error == 0)
    snprintf(item->value, sizeof(item->value), "%.63s", line->text);
  fs_reply(request, error);
}

static void released_draft(struct fs_entry *file)
{
  struct example_item *item = fs_object(file);
  item->example->released++;
  if (!item->listed)
    free_item(item);
}

static bool is_shown(struct fs_entry *entry)
{
  return example_of(entry)->shown;
}

static int unlink_many(struct fs_entry *file)
{
  fs_remove(file);
  return 0;
}

const struct fs_row example_rows[EXAMPLE_ROWS] = {
    {.path = "", .kind = FS_DIR, .mode = 0755},
    {.path = "counter",
     .kind = FS_TEXT,
     .mode = 0644,
     .render = render_counter,
     .line = line_counter,
     .over = over_counter,
     .released = released_counter},
    {.path = "fixed", .kind = FS_TEXT, .mode = 0444, .render = render_fixed},
    {.path = "log", .kind = FS_LIVE, .mode = 0444, .live = read_log},
    {.path = "slow", .kind = FS_TEXT, .mode = 0644, .line = line_slow},
    {.path = "shy", .kind = FS_TEXT, .mode = 0444, .render = render_fixed, .visible = is_shown},
    {.path = "empty", .kind = FS_TEXT, .mode = 0444},
    {.path = "list", .kind = FS_DIR, .mode = 0755, .mkdir = mkdir_item, .create = create_item},
    {.path = "list/*", .kind = FS_DIR, .mode = 0755, .rmdir = rmdir_item, .unlink_inside = unlink_nothing},
    {.path = "list/*/name", .kind = FS_TEXT, .mode = 0444, .render = render_item},
    {.path = "list/*/value", .kind = FS_TEXT, .mode = 0644, .render = render_item, .line = line_item},
    {.path = "list/*/deep", .kind = FS_DIR, .mode = 0755, .rmdir = unlink_nothing},
    {.path = "list/*", .kind = FS_TEXT, .mode = 0644, .line = line_draft, .released = released_draft},
    {.path = "many", .kind = FS_DIR, .mode = 0755},
    {.path = "many/*", .kind = FS_TEXT, .mode = 0644, .render = render_fixed, .unlink = unlink_many},
    {.path = "blob", .kind = FS_TEXT, .mode = 0644, .line = line_blob, .whole = BLOB_MAX},
    {.path = "judge", .kind = FS_TEXT, .mode = 0644, .line = line_judge, .begun = begun_judge},
};

static void on_example_unmounted(struct fs *fs, void *arg)
{
  (void)fs;
  ((struct example *)arg)->unmounted++;
}

static bool on_example_changed(struct fs_change *change, void *arg)
{
  struct example *example = arg;
  if (example->keeps && example->change_count < 8)
    example->changes[example->change_count++] = change;
  return example->keeps;
}

struct fs_options example_options(struct example *example)
{
  return (struct fs_options){.rows = example_rows,
                             .row_count = EXAMPLE_ROWS,
                             .root_object = example,
                             .source = "example,with a comma",
                             .subtype = "example",
                             .changed = on_example_changed,
                             .unmounted = on_example_unmounted,
                             .arg = example};
}

void example_init(struct example *example, uv_loop_t *loop)
{
  *example = (struct example){.loop = loop, .counter = 7};
  uv_timer_init(loop, &example->timer);
  example->timer.data = example;
}

void example_free(struct example *example)
{
  struct example_item *item = NULL;
  struct example_item *following = NULL;
  DL_FOREACH_SAFE(example->items, item, following)
  {
    free_item(item);
  }
  if (example->waiting != NULL)
    fs_reply(example->waiting, -ECANCELED);
  for (size_t i = 0; i < example->change_count; i++)
    fs_change_done(example->changes[i]);
  uv_close((uv_handle_t *)&example->timer, NULL);
}
