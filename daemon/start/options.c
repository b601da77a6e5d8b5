/* The command line as people and mount(8) write it: letters, operands, and checks that need all of it. A mistake is
 * answered with what was probably meant.
 */
#include "options_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/host/spelling.h"

/* The line and its lists. */
struct parse {
  struct mmfs_options *out;
  struct option_list list;
  bool helper; /* called as mount.SOMETHING */
};

static int take_operand(struct parse *p, const char *text)
{
  if (text[0] == '\0')
    return option_refuse(&p->list, p->out->source == NULL
                                       ? "ROUTER is empty; for a unit of systemd, ROUTER=HOST stands in the file of "
                                         "the instance, /etc/mindmeld/NAME.conf"
                                       : "MOUNTPOINT is empty");
  if (p->out->source == NULL)
    return option_set_text(&p->list, &p->out->source, text);
  if (p->out->mountpoint == NULL)
    return option_set_text(&p->list, &p->out->mountpoint, text);
  return option_refuse(&p->list, "\"%.200s\" is one argument too many: mmfs [-f] [-o opt,...] ROUTER MOUNTPOINT", text);
}

/* --key FILE, --allow-other: what is written after -o here, elsewhere is an option by itself. */
static int refuse_long(struct parse *p, const char *arg)
{
  static const char *const known[] = {"foreground", "help", "version"};
  char name[32] = "";
  size_t size = strcspn(arg + 2, "=");

  for (size_t i = 0; i < size && size < sizeof(name); i++) {
    name[i] = arg[2 + i];
    if (name[i] == '-')
      name[i] = '_';
  }
  const char *value, *row = option_list_name(&p->list, name, &value);
  if (row != NULL)
    return option_refuse(&p->list, "unknown option \"--%.*s\"; did you mean -o %s%s?", (int)size, arg + 2, row, value);
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
    if (spelling_near(arg + 2, size, known[i]))
      return option_refuse(&p->list, "unknown option \"%.200s\"; did you mean --%s?", arg, known[i]);
  return option_refuse(&p->list, "unknown option \"%.200s\" (mmfs --help lists them)", arg);
}

/* One argument of single-letter options. *at is its index, moved on if the next argument belongs to it. */
static int take_letters(struct parse *p, int argc, const char *const argv[], int *at)
{
  for (const char *c = argv[*at] + 1; *c != '\0'; c++) {
    const char *value = c + 1;

    if (*c == 'o' || (*c == 't' && p->helper)) {
      if (*value == '\0') {
        if (*at + 1 >= argc)
          return option_refuse(&p->list, "-%c needs a value", *c);
        value = argv[++*at];
      }
      return *c == 'o' ? option_list_take(&p->list, value) : 0;
    }
    if (*c == 'f' && p->helper)
      p->out->action = MMFS_NOTHING;
    else if (*c == 'f')
      p->out->foreground = true;
    else if (*c == 's' && p->helper)
      p->list.sloppy = true;
    else if (*c == 'h' || *c == 'V') {
      p->out->action = *c == 'h' ? MMFS_HELP : MMFS_VERSION;
      return 0;
    } else if (!p->helper || (*c != 'n' && *c != 'v'))
      return option_refuse(&p->list, "unknown option \"-%c\" (mmfs --help lists them)", *c);
  }
  return 0;
}

static int take_arguments(struct parse *p, int argc, const char *const argv[])
{
  bool operands_only = false;
  int rc = 0;

  for (int i = 1; i < argc && rc == 0; i++) {
    const char *arg = argv[i];

    if (operands_only || arg[0] != '-' || arg[1] == '\0')
      rc = take_operand(p, arg);
    else if (strcmp(arg, "--") == 0)
      operands_only = true;
    else if (strcmp(arg, "--help") == 0)
      p->out->action = MMFS_HELP;
    else if (strcmp(arg, "--version") == 0)
      p->out->action = MMFS_VERSION;
    else if (strcmp(arg, "--foreground") == 0)
      p->out->foreground = true;
    else if (arg[1] == '-')
      rc = refuse_long(p, arg);
    else
      rc = take_letters(p, argc, argv, &i);
    if (p->out->action == MMFS_HELP || p->out->action == MMFS_VERSION)
      break;
  }
  return rc;
}

static int settle(struct parse *p)
{
  const struct mmfs_options *out = p->out;

  if (out->mountpoint == NULL)
    return option_refuse(&p->list, "%s is missing: mmfs [-f] [-o opt,...] ROUTER MOUNTPOINT",
                         out->source == NULL ? "ROUTER" : "MOUNTPOINT");
  return settings_settle(&p->list, out->source);
}

/* A line with a mistake that also asks for help gets help. */
static bool help_wanted(int argc, const char *const argv[])
{
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return true;
  return false;
}

int options_parse(struct mmfs_options *out, int argc, const char *const argv[], char why[OPTIONS_WHY_MAX])
{
  struct parse p = {.out = out,
                    .list = {.program = "mmfs",
                             .settings = &out->carry,
                             .rows = options_mount_rows,
                             .count = options_mount_row_count,
                             .out = out,
                             .why = why}};
  const char *program = argc > 0 ? argv[0] : "";
  const char *slash = strrchr(program, '/');
  int rc;

  *out = (struct mmfs_options){.keepalive_s = OPTIONS_KEEPALIVE_S_DEFAULT};
  settings_default(&out->carry);
  why[0] = '\0';
  p.helper = strncmp(slash != NULL ? slash + 1 : program, "mount.", strlen("mount.")) == 0;
  rc = take_arguments(&p, argc, argv);
  if (rc == -EINVAL && help_wanted(argc, argv)) {
    out->action = MMFS_HELP;
    why[0] = '\0';
    return 0;
  }
  if (rc != 0 || out->action == MMFS_HELP || out->action == MMFS_VERSION)
    return rc;
  return settle(&p);
}

void options_free(struct mmfs_options *options)
{
  free(options->source);
  free(options->mountpoint);
  free(options->identity_file);
  free(options->state_file);
  free(options->mount_options);
  settings_free(&options->carry);
  memset(options, 0, sizeof(*options));
}

const char *options_usage(void)
{
  return "usage: mmfs [-f] [-o opt,...] ROUTER MOUNTPOINT\n"
         "\n"
         "Mounts the tree of services of the mmrouter at ROUTER, which is HOST, HOST:PORT or\n"
         "[V6]:PORT (port 443; on loopback 7000), on the empty directory MOUNTPOINT. See mindmeld(7) for the tree.\n"
         "\n"
         "  -f, --foreground   stay in the foreground\n"
         "  -o opt,...         options, see below\n"
         "  -h, --help         print this\n"
         "  -V, --version      print the version\n"
         "\n"
         "options:\n" SETTINGS_HELP
         "  keepalive=SEC      when a silent application or target is asked whether it is there (0: never; 60)\n"
         "  allow_other        let other users look at the tree\n"
         "  identity=FILE      the key that says which mount this is, instead of the one for MOUNTPOINT\n"
         "  state=FILE         keep the declarations in FILE, and restore them at the next start\n"
         "\n"
         "and those of mount(8). These go to the mount: rw ro suid nosuid dev nodev exec noexec\n"
         "atime noatime sync async dirsync. These have no effect here: defaults auto noauto nofail\n"
         "_netdev user nouser users nousers owner noowner group nogroup nodiratime diratime relatime\n"
         "default_permissions comment=... x-... X-...\n"
         "\n"
         "A comma in FILE is written \\,\n";
}
