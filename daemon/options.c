/* One row for each option that may follow -o: what it takes, and what it does. mount(8) and fstab pass on whatever
 * stands in the line, so the options that are theirs have rows too, which do nothing; what has no row is refused, since
 * a misspelt "insecure" or "key" must never be passed over.
 */
#include "options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/spelling.h"

enum {
  ROUTER_PORT = 443,
  ROUTER_PORT_LOOPBACK = 7000,
  DIAL_TIMEOUT_MAX = 600,
  KEEPALIVE_MAX = 32767 /* the kernel's */,
  SECONDS_MAX = 86400
};

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct parse {
  struct mmfs_options *out;
  char *why;
  bool helper; /* called as mount.SOMETHING */
  bool sloppy; /* mount -s: unknown options are passed over */
  bool insecure;
};

enum option_kind {
  OPTION_FLAG,    /* name */
  OPTION_FILE,    /* name=FILE */
  OPTION_SIZE,    /* name=SIZE */
  OPTION_SECONDS, /* name=SECONDS */
  OPTION_OPEN,    /* name or name=ANYTHING */
  OPTION_PREFIX,  /* nameANYTHING */
};

struct option_row {
  const char *name;
  enum option_kind kind;
  int (*apply)(struct parse *p, const char *name, const char *value);
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parse *p, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  vsnprintf(p->why, OPTIONS_WHY_MAX, format, args);
  va_end(args);
  for (char *c = p->why; *c != '\0'; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      *c = '?';
  return -EINVAL;
}

static int out_of_memory(struct parse *p)
{
  refuse(p, "out of memory");
  return -ENOMEM;
}

static int set_text(struct parse *p, char **slot, const char *text)
{
  char *copy = strdup(text);

  if (copy == NULL)
    return out_of_memory(p);
  free(*slot);
  *slot = copy;
  return 0;
}

static int apply_insecure(struct parse *p, const char *name, const char *value)
{
  (void)name, (void)value;
  p->insecure = true;
  return 0;
}

static int apply_cafile(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return set_text(p, &p->out->cafile, value);
}

static int apply_key(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return set_text(p, &p->out->key_file, value);
}

static int apply_identity(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return set_text(p, &p->out->identity_file, value);
}

static int apply_state(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return set_text(p, &p->out->state_file, value);
}

static int apply_allow_other(struct parse *p, const char *name, const char *value)
{
  (void)name, (void)value;
  p->out->allow_other = true;
  return 0;
}

/* Digits, and perhaps K, M or G. 0 for anything else, and for what is too large for any option. */
static uint64_t parse_size(const char *text)
{
  uint64_t size = 0, unit = 1;
  const char *c = text;

  for (; *c >= '0' && *c <= '9'; c++) {
    size = size * 10 + (uint64_t)(*c - '0');
    if (size > 64 * GIB)
      return 0;
  }
  if (*c == 'K' || *c == 'k')
    unit = KIB;
  else if (*c == 'M' || *c == 'm')
    unit = MIB;
  else if (*c == 'G' || *c == 'g')
    unit = GIB;
  if (unit != 1)
    c++;
  return *c == '\0' && size <= 64 * GIB / unit ? size * unit : 0;
}

static int apply_window(struct parse *p, const char *name, const char *value)
{
  uint64_t size = parse_size(value);

  if (size < 256 * KIB || size > 64 * MIB)
    return refuse(p, "option \"%s\": \"%.40s\" is no size from 256K to 64M", name, value);
  p->out->window = size;
  return 0;
}

static int apply_budget(struct parse *p, const char *name, const char *value)
{
  uint64_t size = parse_size(value);

  if (size < MIB || size > 64 * GIB)
    return refuse(p, "option \"%s\": \"%.40s\" is no size from 1M to 64G", name, value);
  p->out->budget = size;
  return 0;
}

/* Digits. SECONDS_MAX + 1 for anything else, and for what is larger. */
static uint64_t parse_seconds(const char *text)
{
  uint64_t seconds = 0;

  for (const char *c = text; *c != '\0'; c++) {
    if (*c < '0' || *c > '9')
      return SECONDS_MAX + 1;
    seconds = seconds * 10 + (uint64_t)(*c - '0');
    if (seconds > SECONDS_MAX)
      return SECONDS_MAX + 1;
  }
  return seconds;
}

static int apply_dial_timeout(struct parse *p, const char *name, const char *value)
{
  uint64_t seconds = parse_seconds(value);

  if (seconds < 1 || seconds > DIAL_TIMEOUT_MAX)
    return refuse(p, "option \"%s\": \"%.40s\" is no number of seconds from 1 to 600", name, value);
  p->out->dial_ms = seconds * 1000;
  return 0;
}

static int apply_hold(struct parse *p, const char *name, const char *value)
{
  uint64_t seconds = parse_seconds(value);

  if (seconds > SECONDS_MAX)
    return refuse(p, "option \"%s\": \"%.40s\" is no number of seconds from 0 to 86400", name, value);
  p->out->hold_ms = seconds * 1000;
  return 0;
}

static int apply_keepalive(struct parse *p, const char *name, const char *value)
{
  uint64_t seconds = parse_seconds(value);

  if (seconds > KEEPALIVE_MAX)
    return refuse(p, "option \"%s\": \"%.40s\" is no number of seconds from 0 to 32767", name, value);
  p->out->keepalive_s = (unsigned)seconds;
  return 0;
}

static int apply_ignore(struct parse *p, const char *name, const char *value)
{
  (void)p, (void)name, (void)value;
  return 0;
}

static int apply_remount(struct parse *p, const char *name, const char *value)
{
  (void)value;
  return refuse(p, "option \"%s\": unmount the tree, and mount it anew", name);
}

static int apply_pass_on(struct parse *p, const char *name, const char *value)
{
  char *old = p->out->mount_options;
  char *joined;

  (void)value;
  if (old == NULL)
    return set_text(p, &p->out->mount_options, name);
  if (asprintf(&joined, "%s,%s", old, name) < 0)
    return out_of_memory(p);
  free(old);
  p->out->mount_options = joined;
  return 0;
}

static const struct option_row rows[] = {
    {"insecure", OPTION_FLAG, apply_insecure},
    {"cafile", OPTION_FILE, apply_cafile},
    {"key", OPTION_FILE, apply_key},
    {"window", OPTION_SIZE, apply_window},
    {"budget", OPTION_SIZE, apply_budget},
    {"dial_timeout", OPTION_SECONDS, apply_dial_timeout},
    {"hold", OPTION_SECONDS, apply_hold},
    {"keepalive", OPTION_SECONDS, apply_keepalive},
    {"identity", OPTION_FILE, apply_identity},
    {"state", OPTION_FILE, apply_state},
    {"allow_other", OPTION_FLAG, apply_allow_other},

    {"rw", OPTION_FLAG, apply_pass_on},
    {"ro", OPTION_FLAG, apply_pass_on},
    {"suid", OPTION_FLAG, apply_pass_on},
    {"nosuid", OPTION_FLAG, apply_pass_on},
    {"dev", OPTION_FLAG, apply_pass_on},
    {"nodev", OPTION_FLAG, apply_pass_on},
    {"exec", OPTION_FLAG, apply_pass_on},
    {"noexec", OPTION_FLAG, apply_pass_on},
    {"atime", OPTION_FLAG, apply_pass_on},
    {"noatime", OPTION_FLAG, apply_pass_on},
    {"sync", OPTION_FLAG, apply_pass_on},
    {"async", OPTION_FLAG, apply_pass_on},
    {"dirsync", OPTION_FLAG, apply_pass_on},

    /* The kernel's default, without effect, or always on; libfuse refuses most of them. */
    {"nodiratime", OPTION_FLAG, apply_ignore},
    {"relatime", OPTION_FLAG, apply_ignore},
    {"diratime", OPTION_FLAG, apply_ignore},
    {"default_permissions", OPTION_FLAG, apply_ignore},

    {"remount", OPTION_FLAG, apply_remount},

    {"defaults", OPTION_FLAG, apply_ignore},
    {"auto", OPTION_FLAG, apply_ignore},
    {"noauto", OPTION_FLAG, apply_ignore},
    {"nofail", OPTION_FLAG, apply_ignore},
    {"_netdev", OPTION_FLAG, apply_ignore},
    {"user", OPTION_OPEN, apply_ignore},
    {"nouser", OPTION_FLAG, apply_ignore},
    {"users", OPTION_FLAG, apply_ignore},
    {"nousers", OPTION_FLAG, apply_ignore},
    {"owner", OPTION_FLAG, apply_ignore},
    {"noowner", OPTION_FLAG, apply_ignore},
    {"group", OPTION_FLAG, apply_ignore},
    {"nogroup", OPTION_FLAG, apply_ignore},
    {"comment", OPTION_OPEN, apply_ignore},
    {"x-", OPTION_PREFIX, apply_ignore},
    {"X-", OPTION_PREFIX, apply_ignore},
};

static const struct option_row *find_row(const char *name)
{
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    const struct option_row *row = &rows[i];

    if (row->kind == OPTION_PREFIX ? strncmp(name, row->name, strlen(row->name)) == 0 : strcmp(name, row->name) == 0)
      return row;
  }
  return NULL;
}

/* With what was probably meant. */
static int refuse_unknown(struct parse *p, const char *name)
{
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
    if (rows[i].kind != OPTION_PREFIX && spelling_near(name, strlen(name), rows[i].name))
      return refuse(p, "unknown option \"%.200s\"; did you mean \"%s\"?", name, rows[i].name);
  return refuse(p, "unknown option \"%.200s\" (mmfs --help lists them)", name);
}

/* `text` is one option without its escapes: NAME or NAME=VALUE. */
static int parse_option(struct parse *p, char *text)
{
  const struct option_row *row;
  char *value;

  if (text[0] == '\0')
    return 0;
  value = strchr(text, '=');
  if (value != NULL)
    *value++ = '\0';
  row = find_row(text);
  if (row == NULL)
    return p->sloppy ? 0 : refuse_unknown(p, text);
  if (row->kind == OPTION_FLAG && value != NULL)
    return refuse(p, "option \"%s\" takes no value", row->name);
  if (row->kind == OPTION_FILE && (value == NULL || value[0] == '\0'))
    return refuse(p, "option \"%s\" needs a file: %s=FILE", row->name, row->name);
  if (row->kind == OPTION_SIZE && (value == NULL || value[0] == '\0'))
    return refuse(p, "option \"%s\" needs a size: %s=SIZE", row->name, row->name);
  if (row->kind == OPTION_SECONDS && (value == NULL || value[0] == '\0'))
    return refuse(p, "option \"%s\" needs a number: %s=SECONDS", row->name, row->name);
  return row->apply(p, row->name, value);
}

/* Comma-separated; a backslash takes the next character as it is. */
static int parse_list(struct parse *p, const char *list)
{
  char *item = malloc(strlen(list) + 1);
  size_t size = 0;
  int rc = 0;

  if (item == NULL)
    return out_of_memory(p);
  for (const char *c = list; rc == 0; c++) {
    if (*c == ',' || *c == '\0') {
      item[size] = '\0';
      size = 0;
      rc = parse_option(p, item);
      if (*c == '\0')
        break;
      continue;
    }
    if (*c == '\\' && (c[1] == ',' || c[1] == '\\'))
      c++; /* any other stays: systemd escapes unit names with one */
    item[size++] = *c;
  }
  free(item);
  return rc;
}

static int take_operand(struct parse *p, const char *text)
{
  if (text[0] == '\0')
    return refuse(p, p->out->source == NULL
                         ? "ROUTER is empty; for a unit of systemd, ROUTER=HOST stands in the file of "
                           "the instance, /etc/mindmeld/NAME.conf"
                         : "MOUNTPOINT is empty");
  if (p->out->source == NULL)
    return set_text(p, &p->out->source, text);
  if (p->out->mountpoint == NULL)
    return set_text(p, &p->out->mountpoint, text);
  return refuse(p, "\"%.200s\" is one argument too many: mmfs [-f] [-o opt,...] ROUTER MOUNTPOINT", text);
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
  const struct option_row *row = name[0] != '\0' ? find_row(name) : NULL;
  if (row != NULL && row->kind != OPTION_PREFIX)
    return refuse(p, "unknown option \"--%.*s\"; did you mean -o %s%s?", (int)size, arg + 2, row->name,
                  row->kind == OPTION_FILE      ? "=FILE"
                  : row->kind == OPTION_SIZE    ? "=SIZE"
                  : row->kind == OPTION_SECONDS ? "=SECONDS"
                                                : "");
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
    if (spelling_near(arg + 2, size, known[i]))
      return refuse(p, "unknown option \"%.200s\"; did you mean --%s?", arg, known[i]);
  return refuse(p, "unknown option \"%.200s\" (mmfs --help lists them)", arg);
}

/* One argument of single-letter options. *at is its index, moved on if the next argument belongs to it. */
static int take_letters(struct parse *p, int argc, const char *const argv[], int *at)
{
  for (const char *c = argv[*at] + 1; *c != '\0'; c++) {
    const char *value = c + 1;

    if (*c == 'o' || (*c == 't' && p->helper)) {
      if (*value == '\0') {
        if (*at + 1 >= argc)
          return refuse(p, "-%c needs a value", *c);
        value = argv[++*at];
      }
      return *c == 'o' ? parse_list(p, value) : 0;
    }
    if (*c == 'f' && p->helper)
      p->out->action = MMFS_NOTHING;
    else if (*c == 'f')
      p->out->foreground = true;
    else if (*c == 's' && p->helper)
      p->sloppy = true;
    else if (*c == 'h' || *c == 'V') {
      p->out->action = *c == 'h' ? MMFS_HELP : MMFS_VERSION;
      return 0;
    } else if (!p->helper || (*c != 'n' && *c != 'v'))
      return refuse(p, "unknown option \"-%c\" (mmfs --help lists them)", *c);
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

/* HOST[:PORT]; or the same as https://HOST[:PORT]/, as platforms print it, which says that it is TLS. */
static int read_router(struct parse *p, bool *https)
{
  static const char scheme[] = "https://";
  struct mmfs_options *out = p->out;
  const char *phrase;
  char *text = strdup(out->source);

  if (text == NULL)
    return out_of_memory(p);
  char *host = text;
  *https = strncmp(text, scheme, strlen(scheme)) == 0;
  if (*https) {
    host += strlen(scheme);
    if (host[0] != '\0' && host[strlen(host) - 1] == '/')
      host[strlen(host) - 1] = '\0';
  }
  int rc = address_parse_router(host, 0, &out->router, &phrase);
  free(text);
  if (rc != 0)
    return refuse(p, "router \"%.300s\": %s", out->source, phrase);
  if (out->router.port == 0)
    out->router.port = address_is_loopback(&out->router) && !*https ? ROUTER_PORT_LOOPBACK : ROUTER_PORT;
  return 0;
}

/* What can be judged only when all options are known. */
static int settle(struct parse *p)
{
  struct mmfs_options *out = p->out;
  bool loopback, https;

  if (out->mountpoint == NULL)
    return refuse(p, "%s is missing: mmfs [-f] [-o opt,...] ROUTER MOUNTPOINT",
                  out->source == NULL ? "ROUTER" : "MOUNTPOINT");
  int rc = read_router(p, &https);
  if (rc != 0)
    return rc;
  loopback = address_is_loopback(&out->router);
  if (p->insecure && out->cafile != NULL)
    return refuse(p, "cafile=FILE and insecure contradict each other: with insecure there is no TLS");
  if (p->insecure && https)
    return refuse(p, "insecure and a router of https:// contradict each other: with insecure there is no TLS");
  if (p->insecure && out->key_file != NULL && !loopback)
    return refuse(p, "key=FILE and insecure contradict each other: the key is sent over TLS only, except to loopback");
  out->tls = !p->insecure && (!loopback || https || out->cafile != NULL);
  return 0;
}

/* Who made a mistake, and asks for help, gets help. */
static bool help_wanted(int argc, const char *const argv[])
{
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return true;
  return false;
}

int options_parse(struct mmfs_options *out, int argc, const char *const argv[], char why[OPTIONS_WHY_MAX])
{
  struct parse p = {.out = out, .why = why};
  const char *program = argc > 0 ? argv[0] : "";
  const char *slash = strrchr(program, '/');
  int rc;

  *out = (struct mmfs_options){.window = OPTIONS_WINDOW_DEFAULT,
                               .budget = OPTIONS_BUDGET_DEFAULT,
                               .dial_ms = OPTIONS_DIAL_MS_DEFAULT,
                               .hold_ms = OPTIONS_HOLD_MS_DEFAULT,
                               .keepalive_s = OPTIONS_KEEPALIVE_S_DEFAULT};
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
  free(options->cafile);
  free(options->key_file);
  free(options->identity_file);
  free(options->state_file);
  free(options->mount_options);
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
         "options:\n"
         "  insecure           no TLS (the default to loopback)\n"
         "  cafile=FILE        TLS, with the authorities in FILE instead of the system's\n"
         "  key=FILE           show the key in FILE to the router; over TLS only, except to loopback\n"
         "  window=SIZE        what one connection has under way at most (256K to 64M; 16M)\n"
         "  budget=SIZE        what all connections have together (1M to 64G; 24M)\n"
         "  dial_timeout=SEC   how long a new connection waits for its router and service (1 to 600; 10)\n"
         "  hold=SEC           how long a connection is kept without a way to its other end (0 to 86400; 600)\n"
         "  keepalive=SEC      when a silent application or target is asked whether it is there (0: never; 60)\n"
         "  allow_other        let other users look at the tree\n"
         "  identity=FILE      the key that says which mount this is, instead of the one for MOUNTPOINT\n"
         "  state=FILE         keep what is declared in FILE, and declare it again at the next start\n"
         "\n"
         "and those of mount(8). These go to the mount: rw ro suid nosuid dev nodev exec noexec\n"
         "atime noatime sync async dirsync. These have no effect here: defaults auto noauto nofail\n"
         "_netdev user nouser users nousers owner noowner group nogroup nodiratime diratime relatime\n"
         "default_permissions comment=... x-... X-...\n"
         "\n"
         "A comma in FILE is written \\,\n";
}
