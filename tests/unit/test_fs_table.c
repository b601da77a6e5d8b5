/* The tree of entries without a session: who lives how long, who comes back, and what happens when memory is short. */
#include "failing.h"
#include "fixture_fs_example.h"

#include "fs/fs_internal.h"

#include <check.h>
#include <fcntl.h>

#include "runner.h"

enum { ROWS = sizeof(example_rows) / sizeof(example_rows[0]) };

static struct fs_table table;
static struct example example; /* not initialised as a session would: only its fields are used */
static struct fs_handle *handles;

static struct fs *session_of_table(void)
{
  static struct fs fs;
  fs.table = table;
  return &fs;
}

static void setup(void)
{
  ck_assert_int_eq(fs_table_init(&table, example_rows, ROWS, &example), 0);
  table.fs = session_of_table();
  handles = NULL;
}

static void teardown(void)
{
  ck_assert_ptr_null(handles);
  fs_table_free(&table);
}

static struct fs_entry *list(void)
{
  return fs_find(table.root, "list");
}

static struct fs_entry *add_item(const char *name, struct example_item *item)
{
  struct fs_entry *entry = NULL;
  snprintf(item->name, sizeof(item->name), "%s", name);
  ck_assert_int_eq(fs_add(list(), &example_rows[ROW_ITEM], name, item, &entry), 0);
  return entry;
}

static size_t entry_count(void)
{
  return HASH_CNT(by_number, table.by_ino);
}

static struct fs_handle *open_entry(struct fs_entry *entry, int flags)
{
  struct fs_handle *handle = NULL;
  ck_assert_int_eq(fs_handle_open(entry, flags, 0, &handles, &handle), 0);
  return handle;
}

static void check_reads(struct fs_handle *handle, const char *text)
{
  const char *bytes = NULL;
  size_t size = 0;
  ck_assert_int_eq(fs_handle_bytes(handle, &bytes, &size), 0);
  ck_assert_uint_eq(size, strlen(text));
  ck_assert_mem_eq(bytes, text, size);
}

START_TEST(static_entries_come_with_the_tree)
{
  struct fs_entry *counter = fs_find(table.root, "counter");
  ck_assert_ptr_nonnull(counter);
  ck_assert_str_eq(fs_name(counter), "counter");
  ck_assert_ptr_eq(fs_parent(counter), table.root);
  ck_assert_ptr_eq(fs_object(counter), &example);
  ck_assert_ptr_null(fs_find(table.root, "*"));
  ck_assert_ptr_null(fs_find(table.root, "nothing"));
  ck_assert_ptr_eq(fs_table_find(&table, FS_ROOT_INO), table.root);
}
END_TEST

START_TEST(wrong_rows_are_refused)
{
  static const struct fs_row no_root[] = {{.path = "a", .kind = FS_DIR}};
  static const struct fs_row no_parent[] = {{.path = "", .kind = FS_DIR}, {.path = "a/b", .kind = FS_TEXT}};
  static const struct fs_row below_file[] = {
      {.path = "", .kind = FS_DIR}, {.path = "a", .kind = FS_TEXT}, {.path = "a/b", .kind = FS_TEXT}};
  static const struct fs_row empty_name[] = {{.path = "", .kind = FS_DIR}, {.path = "a/", .kind = FS_TEXT}};
  static const struct fs_row twice[] = {
      {.path = "", .kind = FS_DIR}, {.path = "a", .kind = FS_TEXT}, {.path = "a", .kind = FS_TEXT}};
  struct fs_table wrong;
  ck_assert_int_eq(fs_table_init(&wrong, no_root, 1, NULL), -EINVAL);
  ck_assert_int_eq(fs_table_init(&wrong, no_parent, 2, NULL), -EINVAL);
  ck_assert_int_eq(fs_table_init(&wrong, below_file, 3, NULL), -EINVAL);
  ck_assert_int_eq(fs_table_init(&wrong, empty_name, 2, NULL), -EINVAL);
  ck_assert_int_eq(fs_table_init(&wrong, twice, 3, NULL), -EINVAL);
  ck_assert_int_eq(fs_table_init(&wrong, NULL, 0, NULL), -EINVAL);
}
END_TEST

START_TEST(added_entries_bring_their_static_ones)
{
  struct example_item item = {0};
  struct fs_entry *entry = add_item("a", &item);
  ck_assert_ptr_eq(fs_object(fs_find(entry, "name")), &item);
  ck_assert_ptr_eq(fs_object(fs_find(entry, "deep")), &item);
  fs_set_object(entry, &example);
  ck_assert_ptr_eq(fs_object(fs_find(entry, "value")), &example);
}
END_TEST

START_TEST(additions_that_make_no_sense_are_refused)
{
  struct example_item item = {0};
  char name[FS_NAME_MAX + 2];
  memset(name, 'n', sizeof(name));
  name[FS_NAME_MAX + 1] = '\0';
  add_item("a", &item);
  const struct fs_row *row = &example_rows[ROW_ITEM];
  ck_assert_int_eq(fs_add(list(), row, "a", &item, NULL), -EEXIST);
  ck_assert_int_eq(fs_add(list(), row, name, &item, NULL), -ENAMETOOLONG);
  ck_assert_int_eq(fs_add(list(), row, "", &item, NULL), -EINVAL);
  ck_assert_int_eq(fs_add(list(), row, "a/b", &item, NULL), -EINVAL);
  ck_assert_int_eq(fs_add(list(), row, ".", &item, NULL), -EINVAL);
  ck_assert_int_eq(fs_add(list(), row, "..", &item, NULL), -EINVAL);
  ck_assert_int_eq(fs_add(table.root, row, "b", &item, NULL), -EINVAL);
  ck_assert_int_eq(fs_add(list(), &example_rows[1], "b", &item, NULL), -EINVAL);
  ck_assert_int_eq(fs_add(list(), example_rows + ROWS, "b", &item, NULL), -EINVAL);
  name[FS_NAME_MAX] = '\0';
  ck_assert_int_eq(fs_add(list(), row, name, &item, NULL), 0);
}
END_TEST

START_TEST(what_nobody_holds_is_freed_at_once)
{
  struct example_item item = {0};
  size_t before = entry_count();
  fs_remove(add_item("a", &item));
  ck_assert_uint_eq(entry_count(), before);
}
END_TEST

/* An item that the kernel knows, with one of its files, and that is gone. */
static void add_ghost(int number, struct example_item *item)
{
  char name[16];
  snprintf(name, sizeof(name), "g%d", number);
  struct fs_entry *entry = add_item(name, item);
  entry->lookups = 1;
  fs_find(entry, "value")->lookups = 1;
  fs_remove(entry);
}

START_TEST(the_oldest_that_is_gone_is_abandoned)
{
  struct example_item item = {.value = "v"};
  struct example_item other = {0};
  size_t before = entry_count();
  struct fs_entry *first = add_item("first", &item);
  struct fs_entry *name = fs_find(first, "name");
  uint64_t ino = first->ino;
  uint64_t name_ino = name->ino;
  first->lookups = name->lookups = 1;
  struct fs_handle *handle = open_entry(name, O_RDONLY);
  fs_remove(first);
  for (int i = 0; i < FS_GHOSTS_MAX - 1; i++)
    add_ghost(i, &other);
  ck_assert_uint_eq(entry_count(), before + 2 * (size_t)FS_GHOSTS_MAX);
  ck_assert_uint_eq(add_item("first", &item)->ino, ino);
  fs_remove(first);
  for (int i = FS_GHOSTS_MAX; i < 3 * FS_GHOSTS_MAX; i++)
    add_ghost(i, &other);

  /* Its handle still holds the file, and so what is above it; the names are free. */
  ck_assert_uint_eq(entry_count(), before + 2 * (size_t)FS_GHOSTS_MAX + 2);
  ck_assert_ptr_eq(fs_table_find(&table, name_ino), name);
  struct fs_entry *again = add_item("first", &item);
  ck_assert_uint_ne(again->ino, ino);
  check_reads(handle, "first v\n");
  fs_handle_release(handle);
  ck_assert_ptr_null(fs_table_find(&table, ino));
  ck_assert_ptr_null(fs_table_find(&table, name_ino));
  fs_remove(again);
  ck_assert_uint_eq(entry_count(), before + 2 * (size_t)FS_GHOSTS_MAX);
}
END_TEST

START_TEST(what_the_kernel_holds_comes_back_as_the_same)
{
  struct example_item item = {0};
  struct example_item other = {0};
  size_t before = entry_count();
  struct fs_entry *entry = add_item("a", &item);
  struct fs_entry *value = fs_find(entry, "value");
  entry->lookups = 2;
  value->lookups = 1;
  uint64_t ino = entry->ino;
  uint64_t value_ino = value->ino;
  fs_remove(entry);
  ck_assert_ptr_null(fs_find(list(), "a"));
  ck_assert(!fs_entry_alive(value));
  ck_assert_uint_eq(entry_count(), before + 2);

  entry = add_item("a", &other);
  ck_assert_uint_eq(entry->ino, ino);
  ck_assert_uint_eq(fs_find(entry, "value")->ino, value_ino);
  ck_assert_ptr_eq(fs_object(fs_find(entry, "value")), &other);
  ck_assert(fs_entry_alive(value));
  fs_remove(entry);
  fs_entry_forget(entry, 2);
  ck_assert_uint_eq(entry_count(), before + 2);
  fs_entry_forget(value, 1);
  ck_assert_uint_eq(entry_count(), before);
}
END_TEST

START_TEST(another_row_is_another_entry)
{
  struct example_item item = {0};
  size_t before = entry_count();
  struct fs_entry *dir = add_item("a", &item);
  dir->lookups = 1;
  fs_remove(dir);
  struct fs_entry *file = NULL;
  ck_assert_int_eq(fs_add(list(), &example_rows[ROW_DRAFT], "a", &item, &file), 0);
  ck_assert_uint_ne(file->ino, dir->ino);
  file->lookups = 1;
  fs_remove(file); /* in whose place the former one cannot come back any more */
  ck_assert_uint_eq(entry_count(), before + 1);
  fs_entry_forget(file, 1);
  ck_assert_uint_eq(entry_count(), before);
}
END_TEST

START_TEST(what_rmdir_took_never_comes_back)
{
  struct example_item item = {0};
  size_t before = entry_count();
  struct fs_entry *entry = add_item("a", &item);
  uint64_t ino = entry->ino;
  entry->lookups = 1;
  entry->dead = true;
  fs_remove(entry);
  struct fs_entry *fresh = add_item("a", &item);
  ck_assert_uint_ne(fresh->ino, ino);
  fs_entry_forget(entry, 1);

  fresh->lookups = 3;
  uint64_t old = fresh->ino;
  fs_entry_renew(fresh);
  ck_assert_uint_ne(fresh->ino, old);
  ck_assert_uint_eq(fresh->lookups, 0);
  ck_assert_ptr_eq(fs_table_find(&table, fresh->ino), fresh);
  ck_assert_ptr_eq(fs_find(list(), "a"), fresh);
  ck_assert_ptr_null(fs_table_find(&table, old));
  fs_remove(fresh);
  ck_assert_uint_eq(entry_count(), before);
}
END_TEST

START_TEST(what_is_open_is_read_to_its_end)
{
  struct example_item item = {.value = "v"};
  size_t before = entry_count();
  struct fs_entry *entry = add_item("a", &item);
  struct fs_handle *handle = open_entry(fs_find(entry, "name"), O_RDONLY);
  fs_remove(entry);
  ck_assert(!fs_handle_alive(handle));
  check_reads(handle, "a v\n");
  add_item("a", &item);
  ck_assert(!fs_handle_alive(handle));
  fs_remove(fs_find(list(), "a"));
  fs_handle_release(handle);
  ck_assert_uint_eq(entry_count(), before);
}
END_TEST

static void check_size(struct fs_entry *entry, uint64_t now, off_t size)
{
  struct stat st;
  ck_assert_int_eq(fs_entry_stat(entry, now, &st), 0);
  ck_assert_int_eq(st.st_size, size);
}

START_TEST(one_rendering_serves_for_a_second)
{
  struct fs_entry *counter = fs_find(table.root, "counter");
  example.counter = 7;
  check_size(counter, 5000, 2);
  example.counter = 77;
  check_size(counter, 5999, 2);
  ck_assert_uint_eq(example.renders, 1);
  check_size(counter, 6000, 3);
  example.counter = 777;
  fs_touch(counter);
  check_size(counter, 6000, 4);
}
END_TEST

START_TEST(a_directory_that_is_touched_has_its_own_files_rendered_again)
{
  struct example_item item = {.example = &example, .name = "a", .value = "old"};
  struct example_item below = {.example = &example, .name = "b", .value = "old"};
  struct fs_entry *dir = add_item("a", &item);
  struct fs_entry *value = fs_find(dir, "value");
  struct fs_entry *other = fs_find(add_item("b", &below), "value");
  check_size(value, 5000, 6);
  check_size(other, 5000, 6);
  snprintf(item.value, sizeof(item.value), "longer");
  snprintf(below.value, sizeof(below.value), "longer");
  fs_touch(list());
  check_size(value, 5000, 6);
  fs_touch(dir);
  check_size(value, 5000, 9);
  check_size(other, 5000, 6);
  fs_remove(dir);
  fs_remove(fs_find(list(), "b"));
}
END_TEST

START_TEST(a_stat_sees_what_is_open)
{
  struct fs_entry *counter = fs_find(table.root, "counter");
  example.counter = 7;
  struct fs_handle *handle = open_entry(counter, O_RDONLY);
  example.counter = 77;
  check_size(counter, 10000, 2);
  struct fs_handle *later = NULL;
  ck_assert_int_eq(fs_handle_open(counter, O_RDONLY, 10000, &handles, &later), 0);
  check_reads(later, "77\n");
  check_reads(handle, "7\n");
  fs_handle_release(handle);
  fs_handle_release(later);
}
END_TEST

START_TEST(times_move_with_contents_only)
{
  struct fs_entry *counter = fs_find(table.root, "counter");
  struct stat first;
  struct stat second;
  example.counter = 7;
  ck_assert_int_eq(fs_entry_stat(counter, 0, &first), 0);
  counter->changed.tv_sec = first.st_mtim.tv_sec = 1;
  ck_assert_int_eq(fs_entry_stat(counter, 5000, &second), 0);
  ck_assert_int_eq(second.st_mtim.tv_sec, 1);
  example.counter = 8;
  ck_assert_int_eq(fs_entry_stat(counter, 10000, &second), 0);
  ck_assert_int_gt(second.st_mtim.tv_sec, 1);

  struct fs_entry *log = fs_find(table.root, "log");
  log->changed.tv_sec = 1;
  ck_assert_int_eq(fs_entry_stat(log, 0, &second), 0);
  ck_assert_int_eq(second.st_mtim.tv_sec, 1);
  example.log_size = 3;
  ck_assert_int_eq(fs_entry_stat(log, 0, &second), 0);
  ck_assert_int_gt(second.st_mtim.tv_sec, 1);
  ck_assert_int_eq(second.st_size, 3);
  example.log_size = 0;
}
END_TEST

START_TEST(fixed_files_are_not_opened_for_writing)
{
  struct fs_handle *handle = NULL;
  struct fs_entry *fixed = fs_find(table.root, "fixed");
  ck_assert_int_eq(fs_handle_open(fixed, O_WRONLY, 0, &handles, &handle), -EPERM);
  ck_assert_int_eq(fs_handle_open(fixed, O_RDWR, 0, &handles, &handle), -EPERM);
  ck_assert_int_eq(fs_handle_open(fixed, O_RDONLY | O_TRUNC, 0, &handles, &handle), -EPERM);
  fs_handle_release(open_entry(fixed, O_RDONLY));
}
END_TEST

START_TEST(the_last_handle_releases)
{
  struct fs_entry *counter = fs_find(table.root, "counter");
  example.released = 0;
  struct fs_handle *first = open_entry(counter, O_WRONLY);
  struct fs_handle *second = open_entry(counter, O_RDWR);
  struct fs_handle *reader = open_entry(counter, O_RDONLY);
  fs_handle_release(first);
  fs_handle_release(second);
  ck_assert_uint_eq(example.released, 0);
  fs_handle_release(reader);
  ck_assert_uint_eq(example.released, 1);
}
END_TEST

START_TEST(a_detached_entry_goes_with_its_last_handle)
{
  struct example_item item = {.example = &example, .listed = true};
  size_t before = entry_count();
  struct fs_entry *draft = NULL;
  example.released = 0;
  ck_assert_int_eq(fs_add_detached(list(), &example_rows[ROW_DRAFT], "d", &item, &draft), 0);
  ck_assert_ptr_null(fs_find(list(), "d"));
  struct fs_handle *writer = open_entry(draft, O_WRONLY);
  struct fs_handle *reader = open_entry(draft, O_RDONLY);
  draft->lookups = 1;
  fs_handle_release(writer);
  ck_assert_uint_eq(example.released, 0);
  writer = open_entry(draft, O_WRONLY);
  fs_handle_release(reader);
  ck_assert_uint_eq(example.released, 0);
  fs_handle_release(writer);
  ck_assert_uint_eq(example.released, 1);
  ck_assert_uint_eq(entry_count(), before); /* the kernel cannot lead anybody to it */
}
END_TEST

START_TEST(hidden_entries_are_not_there)
{
  struct fs_handle *handle = open_entry(table.root, O_RDONLY);
  example.shown = false;
  ck_assert_ptr_null(fs_entry_find(table.root, "shy"));
  ck_assert_int_eq(fs_handle_list(handle), 0);
  size_t hidden = handle->name_count;
  example.shown = true;
  ck_assert_ptr_nonnull(fs_entry_find(table.root, "shy"));
  ck_assert_uint_eq(handle->name_count, hidden);
  ck_assert_int_eq(fs_handle_list(handle), 0);
  ck_assert_uint_eq(handle->name_count, hidden + 1);
  fs_handle_release(handle);
}
END_TEST

static ssize_t answered;
static unsigned answers;

static void on_answer(void *token, bool flush, ssize_t result)
{
  (void)token;
  (void)flush;
  answered = result;
  answers++;
}

static void no_wake(struct fs *fs)
{
  (void)fs;
}

START_TEST(who_has_it_open_keeps_the_number)
{
  struct example_item item = {.value = "v"};
  size_t before = entry_count();
  struct fs_entry *entry = add_item("a", &item);
  struct fs_entry *value = fs_find(entry, "value");
  value->lookups = 3;
  uint64_t first = value->ino;
  fs_entry_part(value);
  uint64_t second = value->ino;
  ck_assert_uint_ne(first, second);
  ck_assert_ptr_eq(fs_table_find(&table, first), value);
  ck_assert_ptr_eq(fs_table_find(&table, second), value);
  fs_entry_part(value); /* whose number the kernel has not met */
  ck_assert_uint_eq(value->ino, second);
  value->lookups = 1;
  fs_entry_part(value);
  fs_table_forget(&table, first, 2);
  ck_assert_ptr_eq(fs_table_find(&table, first), value);
  fs_table_forget(&table, first, 1);
  ck_assert_ptr_null(fs_table_find(&table, first));
  ck_assert_ptr_eq(fs_table_find(&table, second), value);
  fs_remove(entry);
  ck_assert_ptr_null(fs_table_find(&table, second));
  fs_table_forget(&table, second, 1);
  ck_assert_uint_eq(entry_count(), before);

  entry = add_item("a", &item);
  entry->lookups = 1;
  bool came = true;
  for (size_t nth = 1; came; nth++) {
    first = entry->ino;
    fail_allocation(nth);
    fs_entry_part(entry);
    came = allocation_failed();
    ck_assert(came == (entry->ino == first) && entry->lookups == came);
    ck_assert_ptr_eq(fs_table_find(&table, first), entry);
  }
  fs_remove(entry);
  ck_assert_uint_eq(entry_count(), before);
}
END_TEST

static struct fs_request *requests;

static bool write_line(struct fs_handle *handle, const char *text)
{
  struct fs_request *request = fs_request_new(handle, &requests);
  if (request == NULL)
    return false;
  request->answer = on_answer;
  request->wake = no_wake;
  fs_request_run(request, text, strlen(text));
  return true;
}

START_TEST(several_lines_in_one_write)
{
  struct fs_handle *handle = open_entry(fs_find(table.root, "counter"), O_WRONLY);
  example.line_count = 0;
  ck_assert(write_line(handle, "x\n1\n"));
  ck_assert_int_eq(answered, -EINVAL);
  ck_assert(write_line(handle, "1\n2\nx\n3\n"));
  ck_assert_int_eq(answered, 4);
  ck_assert(write_line(handle, "4\n"));
  ck_assert_int_eq(example.counter, 7);
  ck_assert_str_eq(example.lines[0], "x r");
  ck_assert_str_eq(example.lines[1], "1 r");
  ck_assert_str_eq(example.lines[2], "2 a");
  ck_assert_str_eq(example.lines[3], "x a");
  ck_assert_str_eq(example.lines[4], "4 a");
  fs_handle_release(handle);
}
END_TEST

START_TEST(a_removed_file_refuses_further_lines)
{
  struct example_item item = {0};
  struct fs_entry *entry = add_item("a", &item);
  struct fs_handle *handle = open_entry(fs_find(entry, "value"), O_WRONLY);
  fs_remove(entry);
  entry = add_item("a", &item);
  ck_assert(write_line(handle, "v\n"));
  ck_assert_int_eq(answered, -ENOENT);
  ck_assert_str_eq(item.value, "");
  fs_handle_release(handle);
  fs_remove(entry);
}
END_TEST

/* Everything that allocates, in a row. */
static int do_everything(void)
{
  struct example_item item = {.example = &example, .listed = true};
  struct fs_entry *entry = NULL;
  struct fs_entry *draft = NULL;
  struct fs_handle *reader = NULL;
  struct fs_handle *writer = NULL;
  struct fs_handle *dir = NULL;
  int error = fs_add(list(), &example_rows[ROW_ITEM], "a", &item, &entry);
  error = error != 0 ? error : fs_add_detached(list(), &example_rows[ROW_DRAFT], "d", &item, &draft);
  error = error != 0 ? error : fs_handle_open(fs_find(entry, "name"), O_RDONLY, 0, &handles, &reader);
  error = error != 0 ? error : fs_handle_open(fs_find(entry, "value"), O_WRONLY, 0, &handles, &writer);
  error = error != 0 ? error : fs_handle_open(entry, O_RDONLY, 0, &handles, &dir);
  error = error != 0 ? error : fs_handle_list(dir);
  if (error == 0) {
    answered = -ENOMEM;
    write_line(writer, "value\npart");
    error = answered < 0 ? (int)answered : 0;
  }
  struct fs_handle *opened[] = {reader, writer, dir};
  for (size_t i = 0; i < 3; i++)
    if (opened[i] != NULL)
      fs_handle_release(opened[i]);
  if (entry != NULL)
    fs_remove(entry);
  if (draft != NULL) {
    fs_entry_hold(draft);
    fs_remove(draft);
    fs_entry_let(draft);
  }
  return error;
}

START_TEST(short_memory_leaves_no_trace)
{
  size_t before = entry_count();
  bool came = true;
  size_t nth = 0;
  while (came) {
    nth++;
    ck_assert_uint_lt(nth, 1000);
    fail_allocation(nth);
    int error = do_everything();
    came = allocation_failed();
    ck_assert(error == 0 || error == -ENOMEM);
    ck_assert_uint_eq(entry_count(), before);
    ck_assert_ptr_null(handles);
    ck_assert_ptr_null(requests);
  }
  ck_assert(nth > 10 || !FAILING_WORKS);
  for (nth = 1;; nth++) {
    struct fs_table other;
    fail_allocation(nth);
    int error = fs_table_init(&other, example_rows, ROWS, NULL);
    came = allocation_failed();
    ck_assert_int_eq(error, came ? -ENOMEM : 0);
    if (!came) {
      fs_table_free(&other);
      break;
    }
  }
  ck_assert(nth > 10 || !FAILING_WORKS);
}
END_TEST

START_TEST(a_large_directory_is_a_table)
{
  struct fs_entry *many = fs_find(table.root, "many");
  size_t before = entry_count();
  char name[16];
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 20000; i++) {
      struct fs_entry *entry = NULL;
      snprintf(name, sizeof(name), "%d", i);
      ck_assert_int_eq(fs_add(many, &example_rows[ROW_MANY], name, NULL, &entry), 0);
      entry->lookups = 1;
    }
    for (int i = 0; i < 20000; i++) {
      snprintf(name, sizeof(name), "%d", i);
      fs_remove(fs_find(many, name));
    }
  }
  ck_assert_uint_le(entry_count(), before + FS_GHOSTS_MAX);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("fs table");
  TCase *tests = tcase_create("table");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, static_entries_come_with_the_tree);
  tcase_add_test(tests, wrong_rows_are_refused);
  tcase_add_test(tests, added_entries_bring_their_static_ones);
  tcase_add_test(tests, additions_that_make_no_sense_are_refused);
  tcase_add_test(tests, what_nobody_holds_is_freed_at_once);
  tcase_add_test(tests, the_oldest_that_is_gone_is_abandoned);
  tcase_add_test(tests, what_the_kernel_holds_comes_back_as_the_same);
  tcase_add_test(tests, another_row_is_another_entry);
  tcase_add_test(tests, what_rmdir_took_never_comes_back);
  tcase_add_test(tests, who_has_it_open_keeps_the_number);
  tcase_add_test(tests, what_is_open_is_read_to_its_end);
  tcase_add_test(tests, one_rendering_serves_for_a_second);
  tcase_add_test(tests, a_directory_that_is_touched_has_its_own_files_rendered_again);
  tcase_add_test(tests, a_stat_sees_what_is_open);
  tcase_add_test(tests, times_move_with_contents_only);
  tcase_add_test(tests, fixed_files_are_not_opened_for_writing);
  tcase_add_test(tests, the_last_handle_releases);
  tcase_add_test(tests, a_detached_entry_goes_with_its_last_handle);
  tcase_add_test(tests, hidden_entries_are_not_there);
  tcase_add_test(tests, several_lines_in_one_write);
  tcase_add_test(tests, a_removed_file_refuses_further_lines);
  tcase_add_test(tests, short_memory_leaves_no_trace);
  tcase_add_test(tests, a_large_directory_is_a_table);
  suite_add_tcase(suite, tests);
  return suite;
}
