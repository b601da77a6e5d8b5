/* An identity from process to process: what is kept, what is refused, and what becomes of it when it cannot be kept. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/start/identity_place.h"
#include "daemon/start/identity_text.h"
#include "daemon/start/own_identity.h"

#include "runner.h"

static char folder[64], file[128], machine_id[128], why[OWN_IDENTITY_WHY_MAX];
static struct own_identity me;

static void write_machine_id(const char *id)
{
  FILE *f = fopen(machine_id, "w");

  ck_assert_ptr_nonnull(f);
  ck_assert_int_ge(fputs(id, f), 0);
  ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
  snprintf(folder, sizeof folder, "/tmp/mm_identity.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/me", folder);
  snprintf(machine_id, sizeof machine_id, "%s.machine-id", folder);
  write_machine_id("0123456789abcdef0123456789abcdef\n");
  ck_assert_int_eq(setenv("XDG_STATE_HOME", folder, 1), 0);
}

static void teardown(void)
{
  char command[256];

  snprintf(command, sizeof command, "rm -rf %s %s", folder, machine_id);
  ck_assert_int_eq(system(command), 0);
}

static void open_well(struct own_identity *out, const char *path)
{
  int err = own_identity_open(out, path, "/mnt/mm", machine_id, why);

  ck_assert_msg(err == 0 && why[0] == '\0', "%d %s", err, why);
  ck_assert_int_ge(out->lock, 0);
}

static void make_file(void)
{
  open_well(&me, file);
  own_identity_close(&me);
}

static size_t read_file(char text[IDENTITY_TEXT_MAX])
{
  FILE *f = fopen(file, "r");

  ck_assert_ptr_nonnull(f);
  size_t size = fread(text, 1, IDENTITY_TEXT_MAX - 1, f);
  text[size] = '\0';
  fclose(f);
  return size;
}

static void write_file(const char *text, size_t size)
{
  FILE *f = fopen(file, "w");

  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(text, 1, size, f), size);
  ck_assert_int_eq(fclose(f), 0);
}

/* It is refused, for this reason, and is what it was. */
static void refused(int error, const char *part)
{
  char before[IDENTITY_TEXT_MAX], after[IDENTITY_TEXT_MAX];
  size_t size = read_file(before);

  ck_assert_int_eq(own_identity_open(&me, file, "/mnt/mm", machine_id, why), error);
  ck_assert_msg(strstr(why, part) != NULL && strstr(why, file) != NULL, "%s", why);
  ck_assert_uint_eq(read_file(after), size);
  ck_assert_mem_eq(before, after, size);
}

START_TEST(lasts_from_process_to_process)
{
  struct own_identity first, second;
  struct stat st;

  open_well(&first, file);
  ck_assert(!first.has_former);
  ck_assert_int_eq(stat(file, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0600);
  uint8_t seed[IDENTITY_SEED_SIZE], key[HEADER_MEMBER_KEY_SIZE];
  memcpy(seed, first.seed, sizeof seed);
  memcpy(key, first.member_key, sizeof key);
  uint64_t instance = first.instance;
  own_identity_close(&first);
  ck_assert_mem_ne(first.seed, seed, sizeof seed);

  open_well(&second, file);
  ck_assert_mem_eq(second.seed, seed, sizeof seed);
  ck_assert_mem_ne(second.member_key, key, sizeof key);
  ck_assert(second.has_former);
  ck_assert_mem_eq(second.former_key, key, sizeof key);
  ck_assert_uint_gt(second.instance, instance);
  own_identity_close(&second);
}
END_TEST

START_TEST(instances_grow_though_the_clock_goes_back)
{
  struct identity_text text;
  char bytes[IDENTITY_TEXT_MAX];

  make_file();
  size_t size = read_file(bytes);
  ck_assert_int_eq(identity_text_read(bytes, size, &text), 0);
  text.instance = UINT64_MAX - 1;
  write_file(bytes, identity_text_write(&text, bytes));
  open_well(&me, file);
  ck_assert_uint_eq(me.instance, UINT64_MAX);
  own_identity_close(&me);
  refused(-EINVAL, "no instance can come after");
}
END_TEST

START_TEST(each_mountpoint_has_its_own)
{
  struct own_identity other, again;
  struct stat st;
  char path[256];

  ck_assert_int_eq(own_identity_open(&me, NULL, "/mnt/mm", machine_id, why), 0);
  ck_assert_int_eq(own_identity_open(&other, NULL, "/mnt/other", machine_id, why), 0);
  ck_assert_mem_ne(me.seed, other.seed, sizeof me.seed);
  snprintf(path, sizeof path, "%s/mindmeld/identities", folder);
  ck_assert_int_eq(stat(path, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0700);
  snprintf(path, sizeof path, "%s/mindmeld/identities/mnt-mm", folder);
  ck_assert_int_eq(stat(path, &st), 0);
  uint8_t seed[IDENTITY_SEED_SIZE];
  memcpy(seed, me.seed, sizeof seed);
  own_identity_close(&me);
  ck_assert_int_eq(own_identity_open(&again, NULL, "/mnt/mm", machine_id, why), 0);
  ck_assert_mem_eq(again.seed, seed, sizeof seed);
  own_identity_close(&again);
  own_identity_close(&other);
}
END_TEST

START_TEST(names_are_readable_and_differ)
{
  static const struct {
    const char *mountpoint, *name;
  } cases[] = {{"/", "-"},
               {"/mnt/mm", "mnt-mm"},
               {"/mnt-mm", "mnt%2Dmm"},
               {"/.hidden/x", "%2Ehidden-x"},
               {"/a b%", "a%20b%25"},
               {"/\xc3\xa4", "%C3%A4"}};
  char name[IDENTITY_PLACE_NAME_SIZE], other[IDENTITY_PLACE_NAME_SIZE], path[4000];

  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    identity_place_name(cases[i].mountpoint, name);
    ck_assert_str_eq(name, cases[i].name);
  }
  memset(path, '\xff', sizeof path - 1);
  path[0] = '/';
  path[sizeof path - 1] = '\0';
  identity_place_name(path, name);
  ck_assert_uint_le(strlen(name), 255 - 16);
  for (size_t at = 1; at < sizeof path - 1; at += 7) {
    path[at] = 'x';
    identity_place_name(path, other);
    ck_assert_str_ne(name, other);
    path[at] = '\xff';
  }
}
END_TEST

START_TEST(what_is_damaged_is_refused)
{
  char text[IDENTITY_TEXT_MAX];

  make_file();
  size_t without = read_file(text);
  make_file();
  size_t size = read_file(text);
  ck_assert_uint_gt(size, without);
  for (size_t cut = 0; cut < size; cut += cut + 1 == without ? 2 : 1) {
    write_file(text, cut);
    refused(-EINVAL, "damaged");
  }
  for (size_t i = 0; i < size; i++) {
    char bad[IDENTITY_TEXT_MAX];
    struct identity_text read;

    memcpy(bad, text, size);
    bad[i] = bad[i] == 'b' ? 'c' : 'b';
    int err = identity_text_read(bad, size, &read);
    ck_assert_msg(err == -EINVAL || err == -EPROTONOSUPPORT, "at %zu: %d", i, err);
  }
  memcpy(text + size, "x", 2);
  write_file(text, size + 1);
  refused(-EINVAL, "damaged");
}
END_TEST

START_TEST(a_newer_version_is_left_alone)
{
  static const char text[] = "mindmeld identity 3\nwhatever\n";

  make_file();
  write_file(text, strlen(text));
  refused(-EPROTONOSUPPORT, "newer mmfs");
}
END_TEST

/* Whether the file, as it is now, belongs to who this was. */
static bool is_same(const uint8_t seed[IDENTITY_SEED_SIZE], const char *sentence)
{
  ck_assert_int_eq(own_identity_open(&me, file, "/mnt/mm", machine_id, why), 0);
  ck_assert_msg(sentence == NULL ? why[0] == '\0' : strstr(why, sentence) != NULL, "%s", why);
  ck_assert_int_ge(me.lock, 0);
  bool same = memcmp(me.seed, seed, sizeof me.seed) == 0;
  ck_assert(me.has_former == same);
  own_identity_close(&me);
  return same;
}

START_TEST(a_copy_on_another_machine_is_somebody_else)
{
  uint8_t seed[IDENTITY_SEED_SIZE];
  char original[IDENTITY_TEXT_MAX];

  open_well(&me, file);
  memcpy(seed, me.seed, sizeof seed);
  own_identity_close(&me);
  size_t size = read_file(original);
  ck_assert_ptr_null(strstr(original, "0123456789abcdef0123456789abcdef"));
  write_machine_id("fedcba9876543210fedcba9876543210\n");
  ck_assert(!is_same(seed, "was written on another machine"));
  open_well(&me, file); /* and stays who it is then */
  ck_assert(me.has_former);
  own_identity_close(&me);
  write_file(original, size);
  write_machine_id("0123456789abcdef0123456789abcdef\n");
  ck_assert(is_same(seed, NULL));
}
END_TEST

/* A container may have none, and an image has none before it is booted. */
START_TEST(where_the_machine_is_not_known_a_file_is_taken)
{
  static const char *const none[] = {"", "uninitialized\n", "0123456789ABCDEF0123456789ABCDEF\n", "0123456789abcdef"};
  uint8_t seed[IDENTITY_SEED_SIZE];
  char text[IDENTITY_TEXT_MAX];

  write_machine_id("");
  open_well(&me, file);
  memcpy(seed, me.seed, sizeof seed);
  own_identity_close(&me);
  read_file(text);
  ck_assert_ptr_nonnull(strstr(text, "mindmeld identity 1\n"));
  write_machine_id("0123456789abcdef0123456789abcdef");
  ck_assert(is_same(seed, NULL)); /* bound now */
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    write_machine_id(none[i]);
    ck_assert(is_same(seed, NULL));
  }
  ck_assert_int_eq(unlink(machine_id), 0);
  ck_assert(is_same(seed, NULL));
  write_machine_id("fedcba9876543210fedcba9876543210\n");
  ck_assert(!is_same(seed, "was written on another machine"));
}
END_TEST

START_TEST(what_others_can_read_is_refused)
{
  make_file();
  ck_assert_int_eq(chmod(file, 0640), 0);
  refused(-EPERM, "others may read it");
  ck_assert_int_eq(chmod(file, 0602), 0);
  refused(-EPERM, "others may read it");
}
END_TEST

START_TEST(what_belongs_to_others_is_refused)
{
  make_file();
  if (geteuid() == 0) {
    ck_assert_int_eq(chown(file, 12345, 12345), 0);
    refused(-EPERM, "another user");
  } else {
    ck_assert_int_lt(own_identity_open(&me, "/etc/passwd", "/mnt/mm", machine_id, why), 0);
  }
}
END_TEST

START_TEST(links_folders_and_pipes_are_refused)
{
  char other[160];

  snprintf(other, sizeof other, "%s/other", folder);
  ck_assert_int_eq(symlink(other, file), 0);
  ck_assert_int_eq(own_identity_open(&me, file, "/mnt/mm", machine_id, why), -ELOOP);
  ck_assert_ptr_nonnull(strstr(why, "symbolic link"));
  ck_assert_int_eq(unlink(file), 0);
  ck_assert_int_eq(mkfifo(file, 0600), 0);
  ck_assert_int_eq(own_identity_open(&me, file, "/mnt/mm", machine_id, why), -EINVAL);
  ck_assert_int_eq(unlink(file), 0);
  ck_assert_int_eq(mkdir(file, 0700), 0);
  ck_assert_int_lt(own_identity_open(&me, file, "/mnt/mm", machine_id, why), 0);
  snprintf(other, sizeof other, "%s/", folder);
  ck_assert_int_eq(own_identity_open(&me, other, "/mnt/mm", machine_id, why), -EISDIR);
  snprintf(other, sizeof other, "%s/no/such", folder);
  ck_assert_int_eq(own_identity_open(&me, other, "/mnt/mm", machine_id, why), -ENOENT);
}
END_TEST

START_TEST(a_folder_that_others_can_write_is_refused)
{
  char path[256];

  ck_assert_int_eq(own_identity_open(&me, NULL, "/mnt/mm", machine_id, why), 0);
  own_identity_close(&me);
  snprintf(path, sizeof path, "%s/mindmeld/identities", folder);
  ck_assert_int_eq(chmod(path, 0777), 0);
  ck_assert_int_eq(own_identity_open(&me, NULL, "/mnt/mm", machine_id, why), -EPERM);
  ck_assert_ptr_nonnull(strstr(why, "others may write into it"));
}
END_TEST

/* A child that takes it, says so, and holds it until it is told to end. */
static pid_t hold(int *end)
{
  int ready[2], stop[2];
  char byte;

  ck_assert_int_eq(pipe(ready), 0);
  ck_assert_int_eq(pipe(stop), 0);
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    close(stop[1]);
    if (own_identity_open(&me, file, "/mnt/mm", machine_id, why) != 0 || write(ready[1], "x", 1) != 1)
      _exit(1);
    (void)!read(stop[0], &byte, 1);
    usleep(200 * 1000);
    _exit(0);
  }
  ck_assert_int_eq(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  close(ready[1]);
  close(stop[0]);
  *end = stop[1];
  return child;
}

START_TEST(one_process_at_a_time)
{
  int end, status;
  pid_t child = hold(&end);

  char who[64];
  snprintf(who, sizeof who, "another mmfs (pid %ld) runs with this identity", (long)child);
  refused(-EBUSY, who);
  /* It lingers for a moment, and that is waited for. */
  close(end);
  open_well(&me, file);
  ck_assert(me.has_former);
  own_identity_close(&me);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
}
END_TEST

/* Many begin at once on nothing: one gets it, and each of the others after it or not at all. */
START_TEST(those_who_begin_at_once_follow_each_other)
{
  enum { COUNT = 8 };
  pid_t children[COUNT];
  int results[2], got = 0;
  uint64_t instance, seen[COUNT];

  ck_assert_int_eq(pipe(results), 0);
  for (int i = 0; i < COUNT; i++) {
    children[i] = fork();
    ck_assert_int_ge(children[i], 0);
    if (children[i] == 0) {
      if (own_identity_open(&me, file, "/mnt/mm", machine_id, why) != 0)
        _exit(1);
      _exit(write(results[1], &me.instance, sizeof me.instance) == sizeof me.instance ? 0 : 2);
    }
  }
  close(results[1]);
  while (read(results[0], &instance, sizeof instance) == sizeof instance) {
    for (int i = 0; i < got; i++)
      ck_assert_uint_ne(seen[i], instance);
    seen[got++] = instance;
  }
  close(results[0]);
  for (int i = 0; i < COUNT; i++)
    ck_assert_int_eq(waitpid(children[i], NULL, 0), children[i]);
  ck_assert_int_eq(got, COUNT);
  open_well(&me, file);
  own_identity_close(&me);
}
END_TEST

/* However much of the new file still fits, the old one is whole, and the process goes on with it. */
START_TEST(a_full_disk_leaves_the_old_file)
{
  char before[IDENTITY_TEXT_MAX], after[IDENTITY_TEXT_MAX];
  struct rlimit unlimited, limit;

  signal(SIGXFSZ, SIG_IGN);
  make_file();
  size_t size = read_file(before);
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  for (size_t fits = 0; fits < size; fits += 9) {
    limit = (struct rlimit){.rlim_cur = fits, .rlim_max = unlimited.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int err = own_identity_open(&me, file, "/mnt/mm", machine_id, why);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    ck_assert_int_eq(err, 0);
    ck_assert_msg(strstr(why, "could not be kept") != NULL, "%s", why);
    ck_assert(me.has_former && me.lock >= 0);
    own_identity_close(&me);
    ck_assert_uint_eq(read_file(after), size);
    ck_assert_mem_eq(before, after, size);
  }
  open_well(&me, file);
  own_identity_close(&me);
  /* Nothing is left behind. */
  char command[160];
  snprintf(command, sizeof command, "test \"$(ls -A %s)\" = me", folder);
  ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(with_no_room_at_all_it_is_in_memory)
{
  struct rlimit unlimited, none;

  signal(SIGXFSZ, SIG_IGN);
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  none = (struct rlimit){.rlim_cur = 0, .rlim_max = unlimited.rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
  int err = own_identity_open(&me, NULL, "/mnt/mm", machine_id, why);
  int given =
      own_identity_open(&(struct own_identity){0}, file, "/mnt/mm", machine_id, (char[OWN_IDENTITY_WHY_MAX]){0});
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  ck_assert_int_eq(err, 0);
  ck_assert_ptr_nonnull(strstr(why, "in memory only"));
  ck_assert_int_eq(me.lock, -1);
  own_identity_close(&me);
  /* Who names a file wants it there. */
  ck_assert_int_eq(given, -EIO);
}
END_TEST

START_TEST(without_a_place_it_is_in_memory)
{
  ck_assert_int_eq(setenv("XDG_STATE_HOME", "/proc/no/such", 1), 0);
  ck_assert_int_eq(own_identity_open(&me, NULL, "/mnt/mm", machine_id, why), 0);
  ck_assert_ptr_nonnull(strstr(why, "in memory only"));
  ck_assert_int_eq(me.lock, -1);
  own_identity_close(&me);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon identity");
  TCase *t = tcase_create("files");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, lasts_from_process_to_process);
  tcase_add_test(t, instances_grow_though_the_clock_goes_back);
  tcase_add_test(t, each_mountpoint_has_its_own);
  tcase_add_test(t, names_are_readable_and_differ);
  tcase_add_test(t, what_is_damaged_is_refused);
  tcase_add_test(t, a_newer_version_is_left_alone);
  tcase_add_test(t, a_copy_on_another_machine_is_somebody_else);
  tcase_add_test(t, where_the_machine_is_not_known_a_file_is_taken);
  tcase_add_test(t, what_others_can_read_is_refused);
  tcase_add_test(t, what_belongs_to_others_is_refused);
  tcase_add_test(t, links_folders_and_pipes_are_refused);
  tcase_add_test(t, a_folder_that_others_can_write_is_refused);
  tcase_add_test(t, one_process_at_a_time);
  tcase_add_test(t, those_who_begin_at_once_follow_each_other);
  tcase_add_test(t, a_full_disk_leaves_the_old_file);
  tcase_add_test(t, with_no_room_at_all_it_is_in_memory);
  tcase_add_test(t, without_a_place_it_is_in_memory);
  suite_add_tcase(s, t);
  return s;
}
