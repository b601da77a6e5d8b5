/* The kit over a socket that speaks FUSE: the test is the kernel, and says what a kernel would not. */
#include "failing.h"
#include "fixture_fs_example.h"

#include <check.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

struct answer {
  struct fuse_out_header head;
  char body[70000];
};

static uv_loop_t loop;
static struct example example;
static struct fs_options options;
static struct fs *fs;
static int kernel;
static uint64_t unique;
static pid_t user; /* who asks */
static bool closed;
static struct answer answer;

static void turn(void)
{
  failing_paused = false;
  for (int i = 0; i < 3; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  failing_paused = true;
}

static uint64_t ask(uint32_t opcode, uint64_t node, const void *body, size_t size)
{
  char message[8192];
  struct fuse_in_header head = {.len = (uint32_t)(sizeof(head) + size),
                                .opcode = opcode,
                                .unique = ++unique,
                                .nodeid = node,
                                .uid = getuid(),
                                .gid = getgid(),
                                .pid = (uint32_t)user};
  ck_assert_uint_le(sizeof(head) + size, sizeof(message));
  memcpy(message, &head, sizeof(head));
  if (size > 0)
    memcpy(message + sizeof(head), body, size);
  ck_assert_int_eq(send(kernel, message, head.len, 0), head.len);
  return head.unique;
}

static bool take_answer(void)
{
  turn();
  memset(&answer.head, 0, sizeof(answer.head));
  ssize_t got = recv(kernel, &answer, sizeof(answer), MSG_DONTWAIT);
  if (got <= 0)
    return false;
  ck_assert_int_eq(got, answer.head.len);
  return true;
}

static int call(uint32_t opcode, uint64_t node, const void *body, size_t size)
{
  uint64_t id = ask(opcode, node, body, size);
  ck_assert(take_answer());
  ck_assert_uint_eq(answer.head.unique, id);
  return answer.head.error;
}

/* A request of a structure and a name behind it. */
static int call_named(uint32_t opcode, uint64_t node, const void *body, size_t size, const char *name)
{
  char both[4096];
  if (size > 0)
    memcpy(both, body, size);
  snprintf(both + size, sizeof(both) - size, "%s", name);
  return call(opcode, node, both, size + strlen(name) + 1);
}

static void say_init(void)
{
  struct fuse_init_in in = {.major = 7, .minor = 38, .max_readahead = 131072, .flags = ~(uint32_t)FUSE_INIT_EXT};
  ck_assert_int_eq(call(FUSE_INIT, 0, &in, sizeof(in)), 0);
  struct fuse_init_out out;
  memcpy(&out, answer.body, sizeof(out));
  ck_assert_uint_eq(out.flags & (FUSE_DO_READDIRPLUS | FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), 0);
  ck_assert_uint_ne(out.flags & FUSE_ATOMIC_O_TRUNC, 0);
}

static void setup(void)
{
  int ends[2];
  char message[100];
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  kernel = ends[0];
  unique = 0;
  user = getpid();
  closed = false;
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  example_init(&example, &loop);
  options = example_options(&example);
  options.session_fd = ends[1];
  ck_assert_int_eq(fs_open(&fs, &loop, "/nowhere", &options, message, sizeof(message)), 0);
  example.fs = fs;
  say_init();
}

static void on_closed(void *arg)
{
  (void)arg;
  closed = true;
}

static void close_session(void)
{
  fs_close(fs, on_closed, NULL);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
}

static void teardown(void)
{
  if (!closed)
    close_session();
  example_free(&example);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
  close(kernel);
}

static uint64_t look_up(uint64_t parent, const char *name)
{
  ck_assert_int_eq(call_named(FUSE_LOOKUP, parent, NULL, 0, name), 0);
  struct fuse_entry_out out;
  memcpy(&out, answer.body, sizeof(out));
  ck_assert_uint_eq(out.entry_valid + out.attr_valid + out.entry_valid_nsec + out.attr_valid_nsec, 0);
  ck_assert_uint_eq(out.attr.ino, out.nodeid);
  return out.nodeid;
}

static uint64_t open_node(uint32_t opcode, uint64_t node, uint32_t flags)
{
  struct fuse_open_in in = {.flags = flags};
  ck_assert_int_eq(call(opcode, node, &in, sizeof(in)), 0);
  struct fuse_open_out out;
  memcpy(&out, answer.body, sizeof(out));
  if (opcode == FUSE_OPEN)
    ck_assert_uint_ne(out.open_flags & FOPEN_DIRECT_IO, 0);
  return out.fh;
}

static void release_node(uint32_t opcode, uint64_t node, uint64_t fh)
{
  struct fuse_release_in in = {.fh = fh};
  ck_assert_int_eq(call(opcode, node, &in, sizeof(in)), 0);
}

static uint64_t ask_write(uint64_t node, uint64_t fh, const char *text, size_t size)
{
  char both[4096];
  struct fuse_write_in in = {.fh = fh, .size = (uint32_t)size};
  memcpy(both, &in, sizeof(in));
  memcpy(both + sizeof(in), text, size);
  return ask(FUSE_WRITE, node, both, sizeof(in) + size);
}

/* The count, or -errno. */
static int write_result(void)
{
  struct fuse_write_out out;
  if (answer.head.error != 0)
    return answer.head.error;
  memcpy(&out, answer.body, sizeof(out));
  return (int)out.size;
}

static int write_node(uint64_t node, uint64_t fh, const char *text)
{
  ask_write(node, fh, text, strlen(text));
  ck_assert(take_answer());
  return write_result();
}

static int flush_node(uint64_t node, uint64_t fh)
{
  struct fuse_flush_in in = {.fh = fh};
  return call(FUSE_FLUSH, node, &in, sizeof(in));
}

START_TEST(files_are_read_in_parts)
{
  uint64_t node = look_up(1, "fixed");
  uint64_t fh = open_node(FUSE_OPEN, node, O_RDONLY);
  struct fuse_read_in in = {.fh = fh, .offset = 2, .size = 3};
  ck_assert_int_eq(call(FUSE_READ, node, &in, sizeof(in)), 0);
  ck_assert_uint_eq(answer.head.len, sizeof(answer.head) + 3);
  ck_assert_mem_eq(answer.body, "xed", 3);
  in.offset = 6;
  ck_assert_int_eq(call(FUSE_READ, node, &in, sizeof(in)), 0);
  ck_assert_uint_eq(answer.head.len, sizeof(answer.head));
  in.offset = UINT64_MAX;
  ck_assert_int_eq(call(FUSE_READ, node, &in, sizeof(in)), 0);
  ck_assert_uint_eq(answer.head.len, sizeof(answer.head));
  release_node(FUSE_RELEASE, node, fh);
}
END_TEST

START_TEST(an_open_file_reports_what_it_reads)
{
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_RDONLY);
  example.counter = 12345;
  fs_touch(fs_find(fs_root(fs), "counter"));
  struct fuse_getattr_in in = {.getattr_flags = FUSE_GETATTR_FH, .fh = fh};
  struct fuse_attr_out out;
  ck_assert_int_eq(call(FUSE_GETATTR, node, &in, sizeof(in)), 0);
  memcpy(&out, answer.body, sizeof(out));
  ck_assert_uint_eq(out.attr.size, 2);
  in.getattr_flags = 0;
  ck_assert_int_eq(call(FUSE_GETATTR, node, &in, sizeof(in)), 0);
  memcpy(&out, answer.body, sizeof(out));
  ck_assert_uint_eq(out.attr.size, 6);
  release_node(FUSE_RELEASE, node, fh);
}
END_TEST

START_TEST(what_is_unknown_is_stale)
{
  struct fuse_open_in in = {.flags = O_RDONLY};
  struct fuse_getattr_in attr = {0};
  ck_assert_int_eq(call(FUSE_OPEN, 4711, &in, sizeof(in)), -ESTALE);
  ck_assert_int_eq(call(FUSE_GETATTR, 4711, &attr, sizeof(attr)), -ESTALE);
  ck_assert_int_eq(call_named(FUSE_LOOKUP, 4711, NULL, 0, "a"), -ESTALE);
  ck_assert_int_eq(call_named(FUSE_LOOKUP, 1, NULL, 0, "nothing"), -ENOENT);
  struct fuse_forget_in forget = {.nlookup = 9};
  ask(FUSE_FORGET, 4711, &forget, sizeof(forget));
  ask(FUSE_FORGET, 1, &forget, sizeof(forget));
  ck_assert(!take_answer());
}
END_TEST

static void check_some(uint32_t opcode, uint64_t node, const void *body, size_t size, int error)
{
  int got = call(opcode, node, body, size);
  ck_assert_msg(got == error, "operation %u: %d", opcode, got);
}

START_TEST(no_operation_is_unknown)
{
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_RDWR);
  char body[256] = {0};
  memcpy(body, &fh, sizeof(fh)); /* most begin with it */
  check_some(FUSE_READLINK, node, body, 0, -EINVAL);
  check_some(FUSE_STATFS, 1, body, 0, 0);
  check_some(FUSE_FSYNC, node, body, sizeof(struct fuse_fsync_in), 0);
  check_some(FUSE_FSYNCDIR, node, body, sizeof(struct fuse_fsync_in), 0);
  check_some(FUSE_ACCESS, node, body, sizeof(struct fuse_access_in), 0);
  check_some(FUSE_IOCTL, node, body, sizeof(struct fuse_ioctl_in), -ENOTTY);
  check_some(FUSE_POLL, node, body, sizeof(struct fuse_poll_in), 0);
  check_some(FUSE_FALLOCATE, node, body, sizeof(struct fuse_fallocate_in), -EOPNOTSUPP);
  check_some(FUSE_COPY_FILE_RANGE, node, body, sizeof(struct fuse_copy_file_range_in), -EOPNOTSUPP);
  check_some(FUSE_BMAP, node, body, sizeof(struct fuse_bmap_in), -EINVAL);
  struct fuse_lseek_in seek = {.fh = fh, .offset = 0, .whence = SEEK_HOLE};
  check_some(FUSE_LSEEK, node, &seek, sizeof(seek), 0);
  seek.offset = 2;
  check_some(FUSE_LSEEK, node, &seek, sizeof(seek), -ENXIO);
  seek.whence = SEEK_SET;
  check_some(FUSE_LSEEK, node, &seek, sizeof(seek), -EINVAL);
  struct fuse_getxattr_in get = {.size = 10};
  ck_assert_int_eq(call_named(FUSE_GETXATTR, node, &get, sizeof(get), "user.a"), -ENODATA);
  check_some(FUSE_LISTXATTR, node, &get, sizeof(get), 0);
  ck_assert_uint_eq(answer.head.len, sizeof(answer.head));
  ck_assert_int_eq(call_named(FUSE_REMOVEXATTR, node, NULL, 0, "user.a"), -ENODATA);
  struct fuse_setxattr_in set = {0};
  ck_assert_int_eq(call_named(FUSE_SETXATTR, node, &set, FUSE_COMPAT_SETXATTR_IN_SIZE, "user.a"), -EOPNOTSUPP);
  release_node(FUSE_RELEASE, node, fh);
  check_some(FUSE_DESTROY, 0, NULL, 0, 0);
}
END_TEST

struct listed {
  char names[400];
  uint64_t next;
};

static void list_some(uint64_t node, uint64_t fh, uint32_t size, struct listed *listed)
{
  struct fuse_read_in in = {.fh = fh, .offset = listed->next, .size = size};
  ck_assert_int_eq(call(FUSE_READDIR, node, &in, sizeof(in)), 0);
  size_t used = answer.head.len - sizeof(answer.head);
  ck_assert_uint_le(used, size);
  for (size_t at = 0; at < used;) {
    struct fuse_dirent entry;
    memcpy(&entry, answer.body + at, FUSE_NAME_OFFSET);
    size_t length = strlen(listed->names);
    snprintf(listed->names + length, sizeof(listed->names) - length, "%.*s%s ", (int)entry.namelen,
             answer.body + at + FUSE_NAME_OFFSET, entry.type == S_IFDIR >> 12 ? "/" : "");
    ck_assert_uint_ne(entry.ino, 0);
    listed->next = entry.off;
    at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
  }
}

START_TEST(a_listing_stays_while_names_change)
{
  uint64_t list = look_up(1, "list");
  struct fs_entry *dir = fs_find(fs_root(fs), "list");
  const char *const names[] = {"a", "b", "c", "d"};
  for (size_t i = 0; i < 4; i++)
    ck_assert_int_eq(mkdir_item(dir, names[i]), 0);
  uint64_t fh = open_node(FUSE_OPENDIR, list, O_RDONLY);
  struct listed listed = {.names = ""};
  list_some(list, fh, 100, &listed);
  ck_assert_str_eq(listed.names, "./ ../ a/ ");
  rmdir_item(fs_find(dir, "a"));
  rmdir_item(fs_find(dir, "c"));
  mkdir_item(dir, "e");
  list_some(list, fh, 4096, &listed);
  ck_assert_str_eq(listed.names, "./ ../ a/ b/ c/ d/ ");
  list_some(list, fh, 4096, &listed);
  ck_assert_str_eq(listed.names, "./ ../ a/ b/ c/ d/ ");
  struct listed again = {.names = ""};
  list_some(list, fh, 4096, &again);
  ck_assert_str_eq(again.names, "./ ../ b/ d/ e/ ");
  struct fuse_read_in beyond = {.fh = fh, .offset = 9999999, .size = 100};
  ck_assert_int_eq(call(FUSE_READDIR, list, &beyond, sizeof(beyond)), 0);
  ck_assert_uint_eq(answer.head.len, sizeof(answer.head));
  beyond.offset = 0;
  ck_assert_int_eq(call(FUSE_READDIRPLUS, list, &beyond, sizeof(beyond)), 0);
  release_node(FUSE_RELEASEDIR, list, fh);
}
END_TEST

START_TEST(a_flush_ends_a_line)
{
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY | O_TRUNC);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.line_count, 0);
  ck_assert_int_eq(write_node(node, fh, "4"), 1);
  ck_assert_int_eq(write_node(node, fh, "2"), 1);
  ck_assert_uint_eq(example.line_count, 0);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_int_eq(example.counter, 42);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.line_count, 1);
  ck_assert_int_eq(write_node(node, fh, "x"), 1);
  ck_assert_int_eq(flush_node(node, fh), -EINVAL);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_int_eq(write_node(node, fh, "3"), 1);
  release_node(FUSE_RELEASE, node, fh);
  ck_assert_int_eq(example.counter, 45);
  ck_assert_uint_eq(example.line_count, 3);
  ck_assert_uint_eq(example.released, 1);
}
END_TEST

START_TEST(the_end_of_the_lines_is_told)
{
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY | O_TRUNC);
  struct fuse_fsync_in in = {.fh = fh};
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.over, 0);
  ck_assert_int_eq(write_node(node, fh, "4\n"), 2);
  ck_assert_int_eq(write_node(node, fh, "2\n"), 2);
  user = getppid();
  ck_assert_int_eq(flush_node(node, fh), 0);
  user = getpid();
  ck_assert_uint_eq(example.over, 0);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.over, 1);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.over, 1);
  ck_assert_int_eq(write_node(node, fh, "2\n2"), 3);
  ck_assert_int_eq(call(FUSE_FSYNC, node, &in, sizeof(in)), 0);
  ck_assert_uint_eq(example.over, 2);
  ck_assert_int_eq(write_node(node, fh, "2\n2"), 3);
  release_node(FUSE_RELEASE, node, fh);
  ck_assert_uint_eq(example.over, 3);
  ck_assert_uint_eq(example.released, 1);
}
END_TEST

/* Of any bytes, and untouched. */
START_TEST(what_is_written_whole_is_handed_over_at_its_end)
{
  uint64_t node = look_up(1, "blob");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY | O_TRUNC);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.line_count, 0);
  ck_assert_int_eq(write_node(node, fh, " # a\r\n\n"), 7);
  ck_assert_int_eq(write_node(node, fh, " b "), 3);
  user = getppid();
  ck_assert_int_eq(flush_node(node, fh), 0);
  user = getpid();
  ck_assert_uint_eq(example.line_count, 0);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_str_eq(example.lines[0], "10  # a\r\n\n b  ");
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.line_count, 1);
  ask_write(node, fh, "\0nul", 4);
  ck_assert(take_answer());
  ck_assert_int_eq(write_result(), 4);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_str_eq(example.lines[1], "4  nul");
  ck_assert_int_eq(write_node(node, fh, "no"), 2);
  ck_assert_int_eq(flush_node(node, fh), -EINVAL);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_int_eq(write_node(node, fh, "0123456789abcdef"), BLOB_MAX);
  ck_assert_int_eq(write_node(node, fh, "0"), -EFBIG);
  ck_assert_int_eq(flush_node(node, fh), 0);
  ck_assert_uint_eq(example.line_count, 3);
  ck_assert_int_eq(write_node(node, fh, "last"), 4);
  release_node(FUSE_RELEASE, node, fh);
  ck_assert_str_eq(example.lines[3], "4 last ");
}
END_TEST

/* A child that closes what it was born with is not its end. */
START_TEST(a_flush_by_another_ends_no_line)
{
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  const pid_t others[] = {getppid(), 0, INT32_MAX};
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    ck_assert_int_eq(write_node(node, fh, "9"), 1);
    user = others[i];
    ck_assert_int_eq(flush_node(node, fh), 0);
    user = getpid();
    ck_assert_uint_eq(example.line_count, 0);
  }
  struct fuse_fsync_in in = {.fh = fh};
  ck_assert_int_eq(call(FUSE_FSYNC, node, &in, sizeof(in)), 0);
  ck_assert_int_eq(example.counter, 999);
  ck_assert_int_eq(write_node(node, fh, "x"), 1);
  ck_assert_int_eq(call(FUSE_FSYNC, node, &in, sizeof(in)), -EINVAL);
  ck_assert_int_eq(call(FUSE_FSYNC, node, &in, sizeof(in)), 0);
  ck_assert_int_eq(write_node(node, fh, "1"), 1);
  ck_assert_int_eq(write_node(node, fh, ""), 0);
  user = 0;
  release_node(FUSE_RELEASE, node, fh);
  ck_assert_int_eq(example.counter, 1000);
}
END_TEST

/* One that begins with "n", here. */
START_TEST(a_line_that_cannot_become_good_is_refused_in_its_write)
{
  uint64_t node = look_up(1, "judge");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  ck_assert_int_eq(write_node(node, fh, "n"), -EINVAL);
  ck_assert_int_eq(write_node(node, fh, "# n"), 3);
  ck_assert_int_eq(write_node(node, fh, "\n n"), 1); /* the comment is complete */
  ck_assert_int_eq(write_node(node, fh, " n"), -EINVAL);
  ck_assert_int_eq(write_node(node, fh, "yes\nye"), 6);
  ck_assert_int_eq(write_node(node, fh, "s\nn"), 2);
  ck_assert_int_eq(write_node(node, fh, "n"), -EINVAL);
  ck_assert_str_eq(example.lines[0], "yes r");
  ck_assert_str_eq(example.lines[1], "yes a");
  ck_assert_uint_eq(example.line_count, 2);
  uint64_t id = ask_write(node, fh, "later", 5);
  ck_assert(!take_answer());
  fs_reply(example.waiting, 0);
  example.waiting = NULL;
  ck_assert(take_answer());
  ck_assert_uint_eq(answer.head.unique, id);
  ck_assert_int_eq(write_result(), 5);
  id = ask_write(node, fh, " or never", 9);
  ck_assert(!take_answer());
  fs_reply(example.waiting, -ENOENT);
  example.waiting = NULL;
  ck_assert(take_answer());
  ck_assert_int_eq(write_result(), -ENOENT);
  release_node(FUSE_RELEASE, node, fh);
  ck_assert_uint_eq(example.line_count, 2);
}
END_TEST

START_TEST(a_line_that_waits_holds_its_file)
{
  uint64_t node = look_up(1, "slow");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  uint64_t id = ask_write(node, fh, "never\nagain\n", 12);
  ck_assert(!take_answer());
  ck_assert_int_eq(write_node(node, fh, "meanwhile\n"), -EBUSY);
  ck_assert_int_eq(flush_node(node, fh), 0);
  fs_remove(fs_find(fs_root(fs), "slow"));
  release_node(FUSE_RELEASE, node, fh);
  struct fuse_forget_in forget = {.nlookup = 1};
  ask(FUSE_FORGET, node, &forget, sizeof(forget));
  turn();
  struct fs_request *request = example.waiting;
  example.waiting = NULL;
  fs_touch(example.waiting_file);
  fs_reply(request, 0);
  ck_assert(take_answer());
  ck_assert_uint_eq(answer.head.unique, id);
  ck_assert_int_eq(write_result(), 6);
  ck_assert_ptr_null(example.waiting);
  struct fuse_getattr_in attr = {0};
  ck_assert_int_eq(call(FUSE_GETATTR, node, &attr, sizeof(attr)), -ESTALE);
}
END_TEST

static void interrupt(uint64_t id)
{
  struct fuse_interrupt_in in = {.unique = id};
  ask(FUSE_INTERRUPT, 0, &in, sizeof(in));
}

static void on_signal(int number)
{
  (void)number;
}

/* A process that stands still, so that what is sent to it stays pending: it handles `handled`, and ignores SIGHUP. */
static pid_t start_user(int handled)
{
  pid_t pid = fork();
  ck_assert_int_ge(pid, 0);
  if (pid == 0) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(handled, &action, NULL);
    signal(SIGHUP, SIG_IGN);
    raise(SIGSTOP);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(pid, NULL, WUNTRACED), pid);
  return pid;
}

static void end_user(void)
{
  kill(user, SIGKILL);
  ck_assert_int_eq(waitpid(user, NULL, 0), user);
  user = getpid();
}

static const struct {
  int handled, sent;
  bool ends;
} signals[] = {
    {SIGINT, SIGINT, true},    {SIGTERM, SIGTERM, true}, {SIGCHLD, SIGCHLD, false},   {SIGUSR1, SIGUSR1, false},
    {SIGALRM, SIGALRM, false}, {SIGINT, SIGHUP, false},  {SIGWINCH, SIGWINCH, false},
};

/* What does not end its writer ends no line; and what ends it does, also when another signal came before. */
START_TEST(an_interrupt_reaches_the_line_if_it_ends_the_writer)
{
  uint64_t node = look_up(1, "slow");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  user = start_user(signals[_i].handled);
  uint64_t id = ask_write(node, fh, "never\n", 6);
  ck_assert(!take_answer());
  kill(user, signals[_i].sent);
  interrupt(id);
  if (!signals[_i].ends) {
    ck_assert(!take_answer());
    ck_assert_uint_eq(example.interrupts, 0);
    kill(user, SIGQUIT);
    while (example.interrupts == 0)
      uv_run(&loop, UV_RUN_ONCE);
  }
  ck_assert(take_answer());
  ck_assert_int_eq(write_result(), -EINTR);
  ck_assert_uint_eq(example.interrupts, 1);
  end_user();
  release_node(FUSE_RELEASE, node, fh);
}
END_TEST

START_TEST(nobody_is_interrupted_unheard)
{
  uint64_t node = look_up(1, "slow");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  user = start_user(SIGINT);
  kill(user, SIGINT);
  uint64_t id = ask_write(node, fh, "deaf\n", 5);
  ck_assert(!take_answer());
  interrupt(id);
  ck_assert(!take_answer());
  fs_on_interrupt(example.waiting, on_slow_interrupt, &example);
  ck_assert_uint_eq(example.interrupts, 0);
  ck_assert(take_answer());
  ck_assert_int_eq(write_result(), -EINTR);

  interrupt(unique + 2); /* before what it interrupts */
  ask_write(node, fh, "never\n", 6);
  ck_assert(take_answer());
  ck_assert_int_eq(write_result(), -EINTR);
  uint64_t late = answer.head.unique;
  interrupt(late);
  end_user();
  struct fuse_release_in in = {.fh = fh};
  id = ask(FUSE_RELEASE, node, &in, sizeof(in));
  while (take_answer()) /* libfuse sends back an interrupt for which it found nothing */
    ck_assert(answer.head.unique == id || answer.head.error == -EAGAIN);
}
END_TEST

/* The answers come when they are let go, in any order, and are what they would have been. */
START_TEST(a_change_is_answered_when_the_program_says_so)
{
  struct fuse_mkdir_in make = {.mode = 0755};
  struct fuse_entry_out entry;
  char both[64];
  uint64_t list = look_up(1, "list");
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  example.keeps = true;
  memcpy(both, &make, sizeof(make));
  memcpy(both + sizeof(make), "a", 2);
  uint64_t made = ask(FUSE_MKDIR, list, both, sizeof(make) + 2);
  uint64_t wrote = ask_write(node, fh, "12\n", 3);
  ck_assert(!take_answer());
  ck_assert_uint_eq(example.change_count, 2);
  /* All is done, and others may see it; an interrupt comes too late. */
  ck_assert_int_eq(example.counter, 12);
  look_up(list, "a");
  interrupt(wrote);
  turn();
  ck_assert_int_eq(flush_node(node, fh), 0);
  fs_change_done(example.changes[1]);
  ck_assert(take_answer());
  ck_assert_uint_eq(answer.head.unique, wrote);
  ck_assert_int_eq(write_result(), 3);
  fs_change_done(example.changes[0]);
  ck_assert(take_answer());
  ck_assert_uint_eq(answer.head.unique, made);
  ck_assert_int_eq(answer.head.error, 0);
  memcpy(&entry, answer.body, sizeof(entry));
  uint64_t name = look_up(entry.nodeid, "name");
  example.change_count = 0;
  ask(FUSE_UNLINK, entry.nodeid, "name", 5);
  ask(FUSE_RMDIR, list, "a", 2);
  ck_assert(!take_answer());
  ck_assert_uint_eq(example.change_count, 2);
  for (size_t i = 0; i < 2; i++) {
    fs_change_done(example.changes[i]);
    ck_assert(take_answer());
    ck_assert_int_eq(answer.head.error, 0);
  }
  example.change_count = 0;
  struct fuse_forget_in forget = {.nlookup = 9};
  ask(FUSE_FORGET, name, &forget, sizeof(forget));
  ask(FUSE_FORGET, entry.nodeid, &forget, sizeof(forget));
  release_node(FUSE_RELEASE, node, fh);
}
END_TEST

START_TEST(what_is_refused_is_no_change)
{
  struct fuse_mkdir_in make = {.mode = 0755};
  uint64_t node = look_up(1, "counter");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  example.keeps = true;
  ck_assert_int_eq(write_node(node, fh, "no number\n"), -EINVAL);
  ck_assert_int_eq(call_named(FUSE_MKDIR, 1, &make, sizeof(make), "a"), -EPERM);
  ck_assert_int_eq(call_named(FUSE_RMDIR, 1, NULL, 0, "list"), -EPERM);
  ck_assert_int_eq(call_named(FUSE_UNLINK, 1, NULL, 0, "fixed"), -EPERM);
  ck_assert_uint_eq(example.change_count, 0);
  release_node(FUSE_RELEASE, node, fh);
}
END_TEST

START_TEST(closing_answers_changes)
{
  struct fuse_mkdir_in make = {.mode = 0755};
  char both[64];
  uint64_t list = look_up(1, "list");
  example.keeps = true;
  memcpy(both, &make, sizeof(make));
  memcpy(both + sizeof(make), "a", 2);
  uint64_t id = ask(FUSE_MKDIR, list, both, sizeof(make) + 2);
  ck_assert(!take_answer());
  close_session();
  ck_assert_int_gt(recv(kernel, &answer, sizeof(answer), MSG_DONTWAIT), 0);
  ck_assert_uint_eq(answer.head.unique, id);
  ck_assert_int_eq(answer.head.error, -ECANCELED);
  ck_assert_uint_eq(example.change_count, 1); /* let go after `closed`, in the teardown */
}
END_TEST

START_TEST(a_tree_that_is_held_answers_later)
{
  struct fs *held;
  int ends[2];
  char message[100];
  struct fs_options more = options;
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  more.session_fd = ends[1];
  more.held = true;
  ck_assert_int_eq(fs_open(&held, &loop, "/nowhere", &more, message, sizeof(message)), 0);
  int before = kernel;
  kernel = ends[0];
  struct fuse_init_in in = {.major = 7, .minor = 38};
  ask(FUSE_INIT, 0, &in, sizeof(in));
  ck_assert(!take_answer());
  ck_assert_int_eq(fs_serve(held), 0);
  ck_assert(take_answer());
  ck_assert_int_eq(answer.head.error, 0);
  fs_close(held, on_closed, NULL);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  closed = false;
  close(kernel);
  kernel = before;
}
END_TEST

START_TEST(closing_answers_what_waits)
{
  uint64_t node = look_up(1, "slow");
  uint64_t fh = open_node(FUSE_OPEN, node, O_WRONLY);
  uint64_t other = open_node(FUSE_OPEN, node, O_WRONLY);
  uint64_t id = ask_write(node, fh, "never\n", 6);
  ck_assert(!take_answer());
  ck_assert_int_eq(write_node(node, other, "part"), 4);
  close_session();
  ck_assert_int_gt(recv(kernel, &answer, sizeof(answer), MSG_DONTWAIT), 0);
  ck_assert_uint_eq(answer.head.unique, id);
  ck_assert_int_eq(answer.head.error, -ECANCELED);
  ck_assert_ptr_nonnull(example.waiting); /* answered after `closed`, in the teardown */
}
END_TEST

START_TEST(the_end_is_told_once)
{
  shutdown(kernel, SHUT_RDWR);
  while (example.unmounted == 0)
    uv_run(&loop, UV_RUN_ONCE);
  turn();
  ck_assert_uint_eq(example.unmounted, 1);
}
END_TEST

static void do_a_bit_of_everything(void)
{
  struct fuse_mkdir_in make = {.mode = 0755};
  struct fuse_open_in open_in = {.flags = O_WRONLY};
  struct fuse_open_out out = {0};
  struct fuse_getattr_in attr = {0};
  call_named(FUSE_LOOKUP, 1, NULL, 0, "counter");
  call(FUSE_GETATTR, 2, &attr, sizeof(attr));
  if (call(FUSE_OPEN, 2, &open_in, sizeof(open_in)) == 0) {
    memcpy(&out, answer.body, sizeof(out));
    write_node(2, out.fh, "1\n2");
    flush_node(2, out.fh);
    struct fuse_release_in release = {.fh = out.fh};
    call(FUSE_RELEASE, 2, &release, sizeof(release));
  }
  uint64_t node = 7; /* as they are counted: root, counter, fixed, log, slow, shy, empty, list */
  if (call_named(FUSE_LOOKUP, 1, NULL, 0, "list") == 0)
    memcpy(&node, answer.body, sizeof(node));
  call_named(FUSE_MKDIR, node, &make, sizeof(make), "a");
  call_named(FUSE_RMDIR, node, NULL, 0, "a");
  struct fuse_create_in create = {.flags = O_WRONLY};
  if (call_named(FUSE_CREATE, node, &create, sizeof(create), "b") == 0) {
    memcpy(&out, answer.body + sizeof(struct fuse_entry_out), sizeof(out));
    struct fuse_release_in release = {.fh = out.fh};
    call(FUSE_RELEASE, node, &release, sizeof(release));
  }
  if (call(FUSE_OPENDIR, node, &open_in, sizeof(open_in)) == 0) {
    memcpy(&out, answer.body, sizeof(out));
    struct fuse_read_in in = {.fh = out.fh, .size = 1000};
    call(FUSE_READDIR, node, &in, sizeof(in));
    struct fuse_release_in release = {.fh = out.fh};
    call(FUSE_RELEASEDIR, node, &release, sizeof(release));
  }
}

/* With every one of its allocations failing in turn, a session answers everything; the libfuse part as well. */
START_TEST(short_memory_is_survived)
{
  bool came = true;
  size_t nth = 0;
  while (came) {
    ck_assert_uint_lt(++nth, 1000);
    fail_allocation(nth);
    do_a_bit_of_everything();
    came = allocation_failed();
    struct example_item *item = NULL;
    struct example_item *following = NULL;
    DL_FOREACH_SAFE(example.items, item, following)
    {
      if (item->listed)
        fs_remove(item->entry);
      free_item(item);
    }
    ck_assert(!take_answer());
    ck_assert_ptr_null(fs_find(fs_find(fs_root(fs), "list"), "a"));
  }
  ck_assert(nth > 10 || !FAILING_WORKS);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("fs session");
  TCase *tests = tcase_create("session");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, files_are_read_in_parts);
  tcase_add_test(tests, an_open_file_reports_what_it_reads);
  tcase_add_test(tests, what_is_unknown_is_stale);
  tcase_add_test(tests, no_operation_is_unknown);
  tcase_add_test(tests, a_listing_stays_while_names_change);
  tcase_add_test(tests, a_flush_ends_a_line);
  tcase_add_test(tests, what_is_written_whole_is_handed_over_at_its_end);
  tcase_add_test(tests, a_flush_by_another_ends_no_line);
  tcase_add_test(tests, the_end_of_the_lines_is_told);
  tcase_add_test(tests, a_line_that_cannot_become_good_is_refused_in_its_write);
  tcase_add_test(tests, a_line_that_waits_holds_its_file);
  tcase_add_loop_test(tests, an_interrupt_reaches_the_line_if_it_ends_the_writer, 0,
                      sizeof(signals) / sizeof(signals[0]));
  tcase_add_test(tests, nobody_is_interrupted_unheard);
  tcase_add_test(tests, a_change_is_answered_when_the_program_says_so);
  tcase_add_test(tests, what_is_refused_is_no_change);
  tcase_add_test(tests, closing_answers_changes);
  tcase_add_test(tests, a_tree_that_is_held_answers_later);
  tcase_add_test(tests, closing_answers_what_waits);
  tcase_add_test(tests, the_end_is_told_once);
  tcase_add_test(tests, short_memory_is_survived);
  suite_add_tcase(suite, tests);
  return suite;
}
