/* Command lines as people, fstab, mount(8) and mount.fuse3 write them. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/start/options.h"

#include "runner.h"

enum { ARGS_MAX = 12 };

/* Splits at blanks; "''" is an empty argument. */
static int parse(struct mmfs_options *out, const char *line, char why[OPTIONS_WHY_MAX])
{
  const char *argv[ARGS_MAX] = {0};
  char copy[512];
  char *rest = copy;
  char *word;
  int argc = 0;

  snprintf(copy, sizeof(copy), "%s", line);
  while ((word = strsep(&rest, " ")) != NULL && argc < ARGS_MAX)
    argv[argc++] = strcmp(word, "''") == 0 ? "" : word;
  return options_parse(out, argc, argv, why);
}

struct accepted {
  const char *line;
  struct mmfs_options expected;
  const char *router;
};

/* Rows own nothing: the cast only satisfies the field's type. */
#define TEXT(s) (char *)(uintptr_t)(s)
#define ROUTER_TLS .source = TEXT("r.example"), .mountpoint = TEXT("/m"), .carry.tls = true
#define ROUTER_LOCAL .source = TEXT("localhost:7000"), .mountpoint = TEXT("/m")

static const struct accepted accepted[] = {
    {"mmfs r.example /m", {ROUTER_TLS}, "r.example:443"},
    {"mmfs localhost:7000 /m", {ROUTER_LOCAL}, "localhost:7000"},
    {"mmfs -f localhost:7000 /m", {ROUTER_LOCAL, .foreground = true}, "localhost:7000"},
    {"mmfs localhost:7000 /m -f", {ROUTER_LOCAL, .foreground = true}, "localhost:7000"},
    {"mmfs localhost:7000 -f /m", {ROUTER_LOCAL, .foreground = true}, "localhost:7000"},
    {"mmfs --foreground localhost:7000 /m", {ROUTER_LOCAL, .foreground = true}, "localhost:7000"},
    {"mmfs localhost /m", {.source = TEXT("localhost"), .mountpoint = TEXT("/m")}, "localhost:7000"},
    {"mmfs 127.1.2.3 /m", {.source = TEXT("127.1.2.3"), .mountpoint = TEXT("/m")}, "127.1.2.3:7000"},
    {"mmfs [::1] /m", {.source = TEXT("[::1]"), .mountpoint = TEXT("/m")}, "[::1]:7000"},
    {"mmfs -o cafile=/c localhost /m",
     {.source = TEXT("localhost"), .mountpoint = TEXT("/m"), .carry.cafile = TEXT("/c"), .carry.tls = true},
     "localhost:7000"},
    {"mmfs https://r.example /m",
     {.source = TEXT("https://r.example"), .mountpoint = TEXT("/m"), .carry.tls = true},
     "r.example:443"},
    {"mmfs https://r.example:7000/ /m",
     {.source = TEXT("https://r.example:7000/"), .mountpoint = TEXT("/m"), .carry.tls = true},
     "r.example:7000"},
    {"mmfs https://localhost /m",
     {.source = TEXT("https://localhost"), .mountpoint = TEXT("/m"), .carry.tls = true},
     "localhost:443"},
    {"mmfs -- localhost:7000 /m", {ROUTER_LOCAL}, "localhost:7000"},
    {"mmfs localhost:7000 -- -m", {.source = TEXT("localhost:7000"), .mountpoint = TEXT("-m")}, "localhost:7000"},
    {"mmfs localhost:7000 -", {.source = TEXT("localhost:7000"), .mountpoint = TEXT("-")}, "localhost:7000"},
    {"mmfs -o insecure r.example /m", {.source = TEXT("r.example"), .mountpoint = TEXT("/m")}, "r.example:443"},
    {"mmfs -oinsecure r.example /m", {.source = TEXT("r.example"), .mountpoint = TEXT("/m")}, "r.example:443"},
    {"mmfs -foinsecure r.example /m",
     {.source = TEXT("r.example"), .mountpoint = TEXT("/m"), .foreground = true},
     "r.example:443"},
    {"mmfs -fo insecure r.example /m",
     {.source = TEXT("r.example"), .mountpoint = TEXT("/m"), .foreground = true},
     "r.example:443"},
    {"mmfs -o insecure localhost:7000 /m", {ROUTER_LOCAL}, "localhost:7000"},
    {"mmfs -o allow_other r.example /m", {ROUTER_TLS, .allow_other = true}, "r.example:443"},
    {"mmfs -o key=/k r.example /m", {ROUTER_TLS, .carry.key_file = TEXT("/k")}, "r.example:443"},
    {"mmfs -o key=/k localhost:7000 /m", {ROUTER_LOCAL, .carry.key_file = TEXT("/k")}, "localhost:7000"},
    {"mmfs -o key=/k,insecure localhost:7000 /m", {ROUTER_LOCAL, .carry.key_file = TEXT("/k")}, "localhost:7000"},
    {"mmfs -o key=/k -o key=/l r.example /m", {ROUTER_TLS, .carry.key_file = TEXT("/l")}, "r.example:443"},
    {"mmfs -o key=a\\,b\\\\c=d,allow_other r.example /m",
     {ROUTER_TLS, .carry.key_file = TEXT("a,b\\c=d"), .allow_other = true},
     "r.example:443"},
    {"mmfs -o state=/my\\x2dmm r.example /m", {ROUTER_TLS, .state_file = TEXT("/my\\x2dmm")}, "r.example:443"},
    {"mmfs -o cafile=/c r.example /m", {ROUTER_TLS, .carry.cafile = TEXT("/c")}, "r.example:443"},
    {"mmfs -o cafile=/c localhost:7000 /m",
     {ROUTER_LOCAL, .carry.cafile = TEXT("/c"), .carry.tls = true},
     "localhost:7000"},
    {"mmfs -o state=/s\\,t,identity=/i r.example /m",
     {ROUTER_TLS, .state_file = TEXT("/s,t"), .identity_file = TEXT("/i")},
     "r.example:443"},
    {"mmfs -o state=/s -o state=s r.example /m", {ROUTER_TLS, .state_file = TEXT("s")}, "r.example:443"},
    {"mmfs -o rw,nosuid,nodev,noexec,noatime -o sync r.example /m",
     {ROUTER_TLS, .mount_options = TEXT("rw,nosuid,nodev,noexec,noatime,sync")},
     "r.example:443"},
    {"mmfs -o ro,suid,dev,exec,atime,async,dirsync r.example /m",
     {ROUTER_TLS, .mount_options = TEXT("ro,suid,dev,exec,atime,async,dirsync")},
     "r.example:443"},
    {"mmfs -o _netdev,nofail,noauto,auto,user,user=bob,nouser,users,nousers,owner,noowner,group,nogroup,defaults "
     "r.example /m",
     {ROUTER_TLS},
     "r.example:443"},
    {"mmfs -o x-systemd.automount,x-,X-mount.mkdir=0755,comment=a=b,comment r.example /m",
     {ROUTER_TLS},
     "r.example:443"},
    {"mmfs -o nodiratime,diratime,relatime,default_permissions r.example /m", {ROUTER_TLS}, "r.example:443"},
    {"mmfs -o ,,rw,, -o '' r.example /m", {ROUTER_TLS, .mount_options = TEXT("rw")}, "r.example:443"},

    /* as mount.fuse3 calls it, from fstab */
    {"mmfs localhost:7000 /m -o rw,allow_other,key=/etc/k,x-systemd.automount,dev,suid",
     {ROUTER_LOCAL, .allow_other = true, .carry.key_file = TEXT("/etc/k"), .mount_options = TEXT("rw,dev,suid")},
     "localhost:7000"},
    /* as mount(8) calls a helper of its own */
    {"/sbin/mount.fuse.mmfs localhost:7000 /m -o rw,nodev",
     {ROUTER_LOCAL, .mount_options = TEXT("rw,nodev")},
     "localhost:7000"},
    {"mount.fuse.mmfs localhost:7000 /m -nv -o rw -t fuse.mmfs",
     {ROUTER_LOCAL, .mount_options = TEXT("rw")},
     "localhost:7000"},
    {"mount.mmfs localhost:7000 /m -s -o rw,foo", {ROUTER_LOCAL, .mount_options = TEXT("rw")}, "localhost:7000"},
    {"mount.mmfs localhost:7000 /m -sfnv -o rw",
     {ROUTER_LOCAL, .mount_options = TEXT("rw"), .action = MMFS_NOTHING},
     "localhost:7000"},
};

static const struct {
  const char *list;
  uint64_t window, budget;
} sizes[] = {
    {"rw", SETTINGS_WINDOW_DEFAULT, SETTINGS_BUDGET_DEFAULT},
    {"window=256K", 256 << 10, SETTINGS_BUDGET_DEFAULT},
    {"window=262144", 256 << 10, SETTINGS_BUDGET_DEFAULT},
    {"window=64M,budget=1M", 64 << 20, 1 << 20},
    {"window=1m,budget=2048k", 1 << 20, 2 << 20},
    {"budget=64G", SETTINGS_WINDOW_DEFAULT, UINT64_C(64) << 30},
    {"budget=68719476736", SETTINGS_WINDOW_DEFAULT, UINT64_C(64) << 30},
    {"budget=1g,budget=0002M", SETTINGS_WINDOW_DEFAULT, 2 << 20},
};

START_TEST(test_sizes)
{
  struct mmfs_options out;
  char line[128];
  char why[OPTIONS_WHY_MAX];

  snprintf(line, sizeof(line), "mmfs -o %s r.example /m", sizes[_i].list);
  ck_assert_msg(parse(&out, line, why) == 0, "%s: %s", line, why);
  ck_assert_uint_eq(out.carry.window, sizes[_i].window);
  ck_assert_uint_eq(out.carry.budget, sizes[_i].budget);
  options_free(&out);
}
END_TEST

static const struct {
  const char *list;
  uint64_t dial_ms, hold_ms;
  unsigned keepalive_s;
} times[] = {
    {"rw", SETTINGS_DIAL_MS_DEFAULT, SETTINGS_HOLD_MS_DEFAULT, 60},
    {"dial_timeout=1,keepalive=0", 1000, SETTINGS_HOLD_MS_DEFAULT, 0},
    {"dial_timeout=600,hold=0,keepalive=32767", 600000, 0, 32767},
    {"hold=86400,dial_timeout=007", 7000, 86400000, 60},
};

START_TEST(test_times)
{
  struct mmfs_options out;
  char line[128];
  char why[OPTIONS_WHY_MAX];

  snprintf(line, sizeof(line), "mmfs -o %s r.example /m", times[_i].list);
  ck_assert_msg(parse(&out, line, why) == 0, "%s: %s", line, why);
  ck_assert_uint_eq(out.carry.dial_ms, times[_i].dial_ms);
  ck_assert_uint_eq(out.carry.hold_ms, times[_i].hold_ms);
  ck_assert_uint_eq(out.keepalive_s, times[_i].keepalive_s);
  options_free(&out);
}
END_TEST

static void check_text(const char *line, const char *got, const char *expected)
{
  if (expected == NULL)
    ck_assert_msg(got == NULL, "%s: \"%s\"", line, got);
  else
    ck_assert_msg(got != NULL && strcmp(got, expected) == 0, "%s: \"%s\", not \"%s\"", line, got, expected);
}

START_TEST(test_accepted)
{
  const struct accepted *row = &accepted[_i];
  struct mmfs_options out;
  char text[ADDRESS_TEXT_MAX];
  char why[OPTIONS_WHY_MAX];

  ck_assert_msg(parse(&out, row->line, why) == 0, "%s: %s", row->line, why);
  ck_assert_str_eq(address_format(&out.carry.router, text), row->router);
  ck_assert_int_eq(out.action, row->expected.action);
  ck_assert_int_eq(out.foreground, row->expected.foreground);
  ck_assert_int_eq(out.carry.tls, row->expected.carry.tls);
  ck_assert_int_eq(out.allow_other, row->expected.allow_other);
  check_text(row->line, out.source, row->expected.source);
  check_text(row->line, out.mountpoint, row->expected.mountpoint);
  check_text(row->line, out.carry.cafile, row->expected.carry.cafile);
  check_text(row->line, out.carry.key_file, row->expected.carry.key_file);
  check_text(row->line, out.identity_file, row->expected.identity_file);
  check_text(row->line, out.state_file, row->expected.state_file);
  check_text(row->line, out.mount_options, row->expected.mount_options);
  options_free(&out);
}
END_TEST

static const struct {
  const char *line;
  const char *why;
} refused[] = {
    {"mmfs", "ROUTER is missing"},
    {"mmfs localhost:7000", "MOUNTPOINT is missing"},
    {"mmfs '' /m", "ROUTER is empty"},
    {"mmfs localhost:7000 ''", "MOUNTPOINT is empty"},
    {"mmfs localhost:7000 /m /n", "\"/n\" is one argument too many"},
    {"mmfs -o", "-o needs a value"},
    {"mmfs localhost:7000 /m -fo", "-o needs a value"},
    {"mmfs -x localhost:7000 /m", "unknown option \"-x\""},
    {"mmfs -s localhost:7000 /m", "unknown option \"-s\""},
    {"mmfs -t a localhost:7000 /m", "unknown option \"-t\""},
    {"mmfs --foregroud localhost:7000 /m", "unknown option \"--foregroud\"; did you mean --foreground?"},
    {"mmfs --foreground=1 localhost:7000 /m", "unknown option \"--foreground=1\""},
    {"mmfs --key=/k localhost:7000 /m", "unknown option \"--key\"; did you mean -o key=FILE?"},
    {"mmfs --allow-other localhost:7000 /m", "unknown option \"--allow-other\"; did you mean -o allow_other?"},
    {"mmfs --dial-timeout 5 localhost:7000 /m", "did you mean -o dial_timeout=SECONDS?"},
    {"mmfs --a-name-of-exactly-so-many-letters localhost:7000 /m", "unknown option \"--a-name-of-exactly-so"},
    {"mmfs --abcdefghijklmnopqrstuvwxyz-12345 localhost:7000 /m", "unknown option \"--abc"},
    {"mmfs --x-y localhost:7000 /m", "unknown option \"--x-y\" (mmfs --help lists them)"},
    {"mmfs --=x localhost:7000 /m", "unknown option \"--=x\""},
    {"mmfs -o alow_other localhost:7000 /m", "unknown option \"alow_other\"; did you mean \"allow_other\"?"},
    {"mmfs -o -key=/k localhost:7000 /m", "did you mean \"key\"?"},
    {"mmfs http://r.example /m", "router \"http://r.example\": mmfs does not know this kind of URL"},
    {"mmfs grpcs://r.example:443 /m", "this kind of URL"},
    {"mmfs r.example/ /m", "write HOST or HOST:PORT"},
    {"mmfs https://r.example/path /m", "write HOST or HOST:PORT"},
    {"mmfs https:// /m", "the host is missing"},
    {"mmfs -o insecure https://r.example /m", "contradict"},
    {"mmfs -o foo localhost:7000 /m", "unknown option \"foo\" (mmfs --help lists them)"},
    {"mmfs -o rw,foo=bar localhost:7000 /m", "unknown option \"foo\""},
    {"mmfs -o remount,ro localhost:7000 /m", "option \"remount\": unmount the tree, and mount it anew"},
    {"mmfs -o insecur r.example /m", "unknown option \"insecur\""},
    {"mmfs -o Insecure r.example /m", "unknown option \"Insecure\""},
    {"mmfs -o insecure=1 r.example /m", "\"insecure\" takes no value"},
    {"mmfs -o rw= r.example /m", "\"rw\" takes no value"},
    {"mmfs -o =x r.example /m", "unknown option \"\""},
    {"mmfs -o key r.example /m", "\"key\" needs a file: key=FILE"},
    {"mmfs -o key= r.example /m", "\"key\" needs a file: key=FILE"},
    {"mmfs -o cafile r.example /m", "\"cafile\" needs a file"},
    {"mmfs -o state r.example /m", "\"state\" needs a file"},
    {"mmfs -o identity= r.example /m", "\"identity\" needs a file: identity=FILE"},
    {"mmfs -o raw r.example /m", "option \"raw\" is raw=on or raw=off"},
    {"mmfs -o raw= r.example /m", "option \"raw\" is raw=on or raw=off"},
    {"mmfs -o raw=no r.example /m", "option \"raw\" is raw=on or raw=off"},
    {"mmfs --raw=off r.example /m", "did you mean -o raw=on?"},
    {"mmfs -o hold r.example /m", "\"hold\" needs a number: hold=SECONDS"},
    {"mmfs -o dial_timeout= r.example /m", "\"dial_timeout\" needs a number: dial_timeout=SECONDS"},
    {"mmfs -o dial_timeout=0 r.example /m", "option \"dial_timeout\": \"0\" is not a number of seconds from 1 to 600"},
    {"mmfs -o dial_timeout=601 r.example /m", "\"601\" is not a number of seconds from 1 to 600"},
    {"mmfs -o dial_timeout=1s r.example /m", "\"1s\" is not a number of seconds"},
    {"mmfs -o dial_timeout=-1 r.example /m", "\"-1\" is not a number of seconds"},
    {"mmfs -o hold=86401 r.example /m", "option \"hold\": \"86401\" is not a number of seconds from 0 to 86400"},
    {"mmfs -o keepalive=32768 r.example /m", "\"32768\" is not a number of seconds from 0 to 32767"},
    {"mmfs -o hold=10m r.example /m", "\"10m\" is not a number of seconds"},
    {"mmfs -o hold=18446744073709551616 r.example /m", "is not a number of seconds"},
    {"mmfs -o window r.example /m", "\"window\" needs a size: window=SIZE"},
    {"mmfs -o budget= r.example /m", "\"budget\" needs a size: budget=SIZE"},
    {"mmfs -o window=255K r.example /m", "option \"window\": \"255K\" is not a size from 256K to 64M"},
    {"mmfs -o window=65M r.example /m", "\"65M\" is not a size"},
    {"mmfs -o window=1G r.example /m", "\"1G\" is not a size"},
    {"mmfs -o window=-1 r.example /m", "\"-1\" is not a size"},
    {"mmfs -o window=M r.example /m", "\"M\" is not a size"},
    {"mmfs -o window=1MB r.example /m", "\"1MB\" is not a size"},
    {"mmfs -o window=1.5M r.example /m", "\"1.5M\" is not a size"},
    {"mmfs -o budget=1023K r.example /m", "option \"budget\": \"1023K\" is not a size from 1M to 64G"},
    {"mmfs -o budget=65G r.example /m", "\"65G\" is not a size"},
    {"mmfs -o budget=68719476737 r.example /m", "is not a size"},
    {"mmfs -o budget=18446744073709551617M r.example /m", "is not a size"},
    {"mmfs -o budget=17179869185G r.example /m", "is not a size"},
    {"mmfs -o key=/k,insecure r.example /m", "over TLS only"},
    {"mmfs -o insecure,cafile=/c r.example /m", "contradict"},
    {"mmfs r.example:0 /m", "router \"r.example:0\": the port is not a number"},
    {"mmfs ::1 /m", "router \"::1\": there is more than one colon"},
    {"mmfs -o a\001b r.example /m", "unknown option \"a?b\""},
    {"mount.mmfs -x localhost:7000 /m", "unknown option \"-x\""},
    {"mount.mmfs localhost:7000 /m -o foo", "unknown option \"foo\""},
    {"mount.mmfs localhost:7000 /m -t", "-t needs a value"},
};

START_TEST(test_refused)
{
  struct mmfs_options out;
  char why[OPTIONS_WHY_MAX];

  ck_assert_msg(parse(&out, refused[_i].line, why) == -EINVAL, "%s", refused[_i].line);
  ck_assert_msg(strstr(why, refused[_i].why) != NULL, "%s: \"%s\"", refused[_i].line, why);
  options_free(&out);
}
END_TEST

START_TEST(test_help_and_version)
{
  static const struct {
    const char *line;
    enum mmfs_action action;
  } lines[] = {
      {"mmfs -h", MMFS_HELP},        {"mmfs --help", MMFS_HELP},
      {"mmfs --help -x", MMFS_HELP}, {"mmfs a b --help", MMFS_HELP},
      {"mmfs -V", MMFS_VERSION},     {"mmfs --version", MMFS_VERSION},
      {"mmfs -fV", MMFS_VERSION},    {"mmfs a --version b c d", MMFS_VERSION},
      {"mmfs -x --help", MMFS_HELP}, {"mmfs -o foo a b -h", MMFS_HELP},
  };
  struct mmfs_options out;
  char why[OPTIONS_WHY_MAX];

  for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
    ck_assert_msg(parse(&out, lines[i].line, why) == 0, "%s: %s", lines[i].line, why);
    ck_assert_int_eq(out.action, lines[i].action);
    options_free(&out);
  }
  ck_assert_ptr_nonnull(strstr(options_usage(), "mmfs [-f] [-o opt,...] ROUTER MOUNTPOINT"));
}
END_TEST

START_TEST(test_long_values)
{
  char option[2100] = "";
  const char *argv[] = {"mmfs", "-o", option, "r.example", "/m"};
  struct mmfs_options out;
  char why[OPTIONS_WHY_MAX];

  memset(option, 'x', sizeof(option) - 1);
  ck_assert_int_eq(options_parse(&out, 5, argv, why), -EINVAL);
  ck_assert_uint_lt(strlen(why), OPTIONS_WHY_MAX);
  options_free(&out);
  argv[3] = option;
  argv[2] = "rw";
  ck_assert_int_eq(options_parse(&out, 5, argv, why), -EINVAL);
  ck_assert_uint_lt(strlen(why), OPTIONS_WHY_MAX);
  options_free(&out);
  ck_assert_int_eq(options_parse(&out, 0, argv, why), -EINVAL);
  options_free(&out);
}
END_TEST

/* ---- Raw streams ---- */

START_TEST(raw_streams)
{
  static const struct {
    const char *line;
    bool no_raw;
  } rows[] = {{"mmfs localhost:7000 /m", false},
              {"mmfs -o raw=on localhost:7000 /m", false},
              {"mmfs -o raw=off localhost:7000 /m", true},
              {"mmfs -o raw=off,raw=on localhost:7000 /m", false}};
  struct mmfs_options out;
  char why[OPTIONS_WHY_MAX];
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ck_assert_int_eq(parse(&out, rows[i].line, why), 0);
    ck_assert_int_eq(out.carry.no_raw, rows[i].no_raw);
    options_free(&out);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("options");
  TCase *tcase = tcase_create("options");

  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, test_accepted, 0, sizeof(accepted) / sizeof(accepted[0]));
  tcase_add_loop_test(tcase, test_sizes, 0, sizeof(sizes) / sizeof(sizes[0]));
  tcase_add_loop_test(tcase, test_times, 0, sizeof(times) / sizeof(times[0]));
  tcase_add_loop_test(tcase, test_refused, 0, sizeof(refused) / sizeof(refused[0]));
  tcase_add_test(tcase, test_help_and_version);
  tcase_add_test(tcase, test_long_values);
  tcase_add_test(tcase, raw_streams);
  return suite;
}
