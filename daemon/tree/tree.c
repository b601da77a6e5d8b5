/* The tree as one table: a row for each shape of path, with its handlers. A new file is a new row and its handler.
 * Nothing is in the tree that is not listed here.
 */
#include "tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#include "carry/host/link_host.h"
#include "carry/link/link.h"
#include "carry/tunnel/tunnels.h"
#include "daemon/forwards/forwards.h"
#include "daemon/keep/state.h"
#include "daemon/names/catalogue.h"
#include "daemon/names/services.h"
#include "proto/host/journal.h"
#include "proto/host/plain.h"
#include "proto/pump/pump.h"
#include "tree_internal.h"

static int status_row_render(struct fs_entry *file, struct fs_text *out);
static int events_row_live(struct fs_entry *file, const char **bytes, size_t *size);
static int errors_row_live(struct fs_entry *file, const char **bytes, size_t *size);

static const struct fs_row rows[] = {
    {.path = "", .kind = FS_DIR, .mode = 0755},
    {.path = "status", .kind = FS_TEXT, .mode = 0644, .render = status_row_render},
    {.path = "events", .kind = FS_LIVE, .mode = 0644, .live = events_row_live},
    {.path = "errors", .kind = FS_LIVE, .mode = 0644, .live = errors_row_live},

    {.path = "services", .kind = FS_DIR, .mode = 0755, .mkdir = services_row_mkdir, .create = services_row_create},
    {.path = "services/*",
     .kind = FS_DIR,
     .mode = 0755,
     .create = service_row_create,
     .rmdir = service_row_rmdir,
     .unlink_inside = service_file_row_unlink},
    {.path = "services/*/target",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = target_row_visible,
     .render = target_row_render,
     .line = target_row_line,
     .begun = target_row_begun,
     .unlink = target_row_unlink},
    {.path = "services/*/http",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = own_row_visible,
     .render = public_row_render,
     .line = public_row_line,
     .unlink = public_row_unlink},
    {.path = "services/*/tls",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = own_row_visible,
     .render = public_row_render,
     .line = public_row_line,
     .unlink = public_row_unlink},
    {.path = "services/*/port",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = own_row_visible,
     .render = public_row_render,
     .line = public_row_line,
     .unlink = public_row_unlink},
    {.path = "services/*/proxy",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = own_row_visible,
     .render = proxy_row_render,
     .line = proxy_row_line,
     .unlink = proxy_row_unlink},
    {.path = "services/*/url", .kind = FS_TEXT, .mode = 0644, .visible = own_row_visible, .render = url_row_render},
    {.path = "services/*/clients",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = own_row_visible,
     .render = rule_row_render,
     .line = rule_row_line,
     .over = rule_row_over,
     .unlink = rule_row_unlink},
    {.path = "services/*/headers",
     .kind = FS_TEXT,
     .mode = 0644,
     .visible = own_row_visible,
     .render = rule_row_render,
     .line = rule_row_line,
     .over = rule_row_over,
     .unlink = rule_row_unlink},
    {.path = "services/*/status", .kind = FS_TEXT, .mode = 0644, .render = service_status_row_render},
    {.path = "services/*/stats", .kind = FS_TEXT, .mode = 0644, .render = service_stats_row_render},
    /* What visitors send may hold secrets of theirs. */
    {.path = "services/*/requests",
     .kind = FS_LIVE,
     .mode = 0600,
     .visible = own_row_visible,
     .live = requests_row_live,
     .opened = requests_row_opened,
     .unlink = requests_row_unlink},
    {.path = "services/*/inspect",
     .kind = FS_DIR,
     .mode = 0700,
     .visible = own_row_visible,
     .rmdir = inspect_row_rmdir,
     .unlink_inside = inspect_row_unlink},
    {.path = "services/*/inspect/limit",
     .kind = FS_TEXT,
     .mode = 0600,
     .render = limit_row_render,
     .line = limit_row_line},
    {.path = "services/*/inspect/*",
     .kind = FS_DIR,
     .mode = 0700,
     .rmdir = exchange_row_rmdir,
     .unlink_inside = inspect_row_unlink},
    {.path = "services/*/inspect/*/request", .kind = FS_LIVE, .mode = 0600, .live = exchange_row_live},
    {.path = "services/*/inspect/*/answer", .kind = FS_LIVE, .mode = 0600, .live = exchange_row_live},
    {.path = "services/*/inspect/*/info", .kind = FS_TEXT, .mode = 0600, .render = exchange_row_render},
    {.path = "services/*/replay",
     .kind = FS_TEXT,
     .mode = 0600,
     .visible = own_row_visible,
     .render = replay_row_render,
     .line = replay_row_line,
     .whole = TREE_REPLAY_MAX},
    /* Known only to the `echo` that made it: in the listing, the name is a directory. */
    {.path = "services/*",
     .kind = FS_TEXT,
     .mode = 0644,
     .line = draft_row_line,
     .begun = draft_row_begun,
     .released = draft_row_released},

    {.path = "forwards", .kind = FS_DIR, .mode = 0755, .create = forwards_row_create},
    {.path = "forwards/*",
     .kind = FS_TEXT,
     .mode = 0644,
     .render = forward_row_render,
     .line = forward_row_line,
     .begun = forward_row_begun,
     .over = forward_row_over,
     .released = forward_row_released,
     .unlink = forward_row_unlink},

    {.path = "public", .kind = FS_DIR, .mode = 0755},
    {.path = "public/*", .kind = FS_LINK, .mode = 0777, .render = link_row_render},

    {.path = "connections", .kind = FS_DIR, .mode = 0755},
    {.path = "connections/*",
     .kind = FS_TEXT,
     .mode = 0644,
     .render = connection_row_render,
     .unlink = connection_row_unlink},
};

const struct fs_row *tree_row(const char *path, enum fs_kind kind)
{
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (rows[i].kind == kind && strcmp(rows[i].path, path) == 0)
      return &rows[i];
  }
  abort();
}

struct tree *tree_of(const struct fs_entry *entry)
{
  return fs_object(entry);
}

struct fs_entry *tree_folder(const struct tree *t, const char *name)
{
  return fs_find(fs_root(t->fs), name);
}

/* ---- The files of the root. ---- */

static int status_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct tree *t = tree_of(file);
  const struct tree_parts *p = &t->parts;
  struct tunnels_stats forwarded = tunnels_stats(p->tunnels, TUNNEL_FORWARD, NULL);
  struct tunnels_stats served = tunnels_stats(p->tunnels, TUNNEL_SERVICE, NULL);
  bool connected = link_connected(p->link);
  const char *why;

  fs_printf(out, "router %s\n", p->router);
  fs_printf(out, "state %s\n", connected ? "connected" : "connecting");
  if (!connected)
    fs_printf(out, "trouble %s\n", link_trouble(p->link));
  else
    fs_printf(out, "protocol %d\n", link_original(p->link) ? 1 : 2);
  if (connected && link_host_is_raw(p->host, &why))
    fs_printf(out, "streams raw\n");
  else if (connected)
    fs_printf(out, "streams grpc (%s)\n", why);
  if (link_superseded(p->link))
    fs_printf(out, "superseded a newer mmfs with this identity has taken the place of this one\n");
  fs_printf(out, "version %s\n", MM_VERSION);
  fs_printf(out, "pid %ld\n", (long)getpid());
  fs_printf(out, "uptime %" PRIu64 "\n", (uv_now(t->loop) - t->started_ms) / 1000);
  fs_printf(out, "connects %" PRIu64 "\n", link_connects(p->link));
  fs_printf(out, "renewals %" PRIu64 "\n", link_renewals(p->link));
  fs_printf(out, "catalogue %zu\n", catalogue_count(p->catalogue));
  fs_printf(out, "services %zu\n", services_count(p->services));
  fs_printf(out, "forwards %zu\n", forwards_count(p->forwards));
  fs_printf(out, "connections %" PRIu64 "\n", forwarded.total + served.total);
  fs_printf(out, "live %" PRIu64 "\n", forwarded.live + served.live);
  fs_printf(out, "detached %zu\n", tunnels_detached(p->tunnels));
  fs_printf(out, "failed %" PRIu64 "\n", forwarded.failed + served.failed);
  fs_printf(out, "bytes_in %" PRIu64 "\n", forwarded.bytes_in + served.bytes_in);
  fs_printf(out, "bytes_out %" PRIu64 "\n", forwarded.bytes_out + served.bytes_out);
  fs_printf(out, "window %" PRIu64 "\n", p->window);
  fs_printf(out, "budget %" PRIu64 "\n", p->budget);
  fs_printf(out, "windows %" PRIu64 "\n", pump_set_windows(p->pumps));
  fs_printf(out, "queued %" PRIu64 "\n", pump_set_queued(p->pumps));
  return 0;
}

static int events_row_live(struct fs_entry *file, const char **bytes, size_t *size)
{
  *bytes = journal_bytes(tree_of(file)->parts.events, size);
  return 0;
}

static int errors_row_live(struct fs_entry *file, const char **bytes, size_t *size)
{
  *bytes = journal_bytes(tree_of(file)->parts.errors, size);
  return 0;
}

void tree_link_changed(struct tree *t)
{
  fs_touch(tree_folder(t, "status"));
}

void tree_journals_changed(struct tree *t)
{
  fs_touch(tree_folder(t, "events"));
  fs_touch(tree_folder(t, "errors"));
  /* Where most of what is told there shows. */
  fs_touch(tree_folder(t, "status"));
}

/* ---- Refusals, and lines that wait. ---- */

int tree_refuse(struct tree *t, int error, const char *why, const char *format, ...)
{
  char doing[512];
  va_list values;

  va_start(values, format);
  vsnprintf(doing, sizeof doing, format, values);
  va_end(values);
  plain_ascii(doing); /* names and lines may hold any bytes */
  journal_add(t->parts.errors, "%s: %s (%s)", doing, why, uv_err_name(error));
  fs_touch(tree_folder(t, "errors"));
  return error;
}

int tree_shut_out(const struct tree *t, const char **why)
{
  if (!link_refused(t->parts.link))
    return 0;
  *why = link_trouble(t->parts.link);
  return -EACCES;
}

struct tree_wait *tree_wait_create(struct tree *t, struct fs_request *request, const char *path, const char *text)
{
  struct tree_wait *w = calloc(1, sizeof *w);

  if (w == NULL)
    return NULL;
  w->tree = t;
  w->request = request;
  w->text = text;
  snprintf(w->path, sizeof w->path, "%s", path);
  DL_APPEND(t->waits, w);
  return w;
}

void tree_wait_answer(struct tree_wait *w, int error, const char *why)
{
  if (w->tree != NULL) {
    if (error != 0)
      tree_refuse(w->tree, error, why, w->text != NULL ? "write %s \"%.200s\"" : "write %s", w->path, w->text);
    DL_DELETE(w->tree->waits, w);
  }
  fs_reply(w->request, error);
  free(w);
}

/* ---- Open and close. ---- */

static void fs_refused(const char *doing, const char *path, const char *why, int error, void *arg)
{
  tree_refuse(arg, error, why, "%s %s", doing, path);
}

static void change_kept(void *arg)
{
  fs_change_done(arg);
}

static bool fs_changed(struct fs_change *change, void *arg)
{
  const struct tree *t = arg;

  return t->state != NULL && state_wait(t->state, change_kept, change);
}

static void fs_unmounted(struct fs *fs, void *arg)
{
  struct tree *t = arg;

  (void)fs;
  t->options.unmounted(t->options.arg);
}

int tree_open(struct tree **out, struct uv_loop_s *loop, const struct tree_parts *parts,
              const struct tree_options *options, char *message, size_t message_size)
{
  struct tree *t = calloc(1, sizeof *t);
  int err;

  if (t == NULL) {
    snprintf(message, message_size, "memory is short");
    return -ENOMEM;
  }
  t->loop = loop;
  t->parts = *parts;
  t->options = *options;
  t->started_ms = uv_now(loop);
  t->fs_options = (struct fs_options){.rows = rows,
                                      .row_count = sizeof rows / sizeof *rows,
                                      .root_object = t,
                                      .source = options->source,
                                      .subtype = "mmfs",
                                      .allow_other = options->allow_other,
                                      .mount_options = options->mount_options,
                                      .session_fd = options->session_fd,
                                      .refused = fs_refused,
                                      .changed = fs_changed,
                                      .held = true,
                                      .unmounted = fs_unmounted,
                                      .arg = t};
  err = fs_open(&t->fs, loop, options->mountpoint, &t->fs_options, message, message_size);
  if (err != 0) {
    free(t);
    return err;
  }
  *out = t;
  return 0;
}

int tree_serve(struct tree *t, struct state *state)
{
  t->state = state;
  return fs_serve(t->fs);
}

static void fs_closed(void *arg)
{
  struct tree *t = arg;
  void (*closed)(void *) = t->closed;
  void *closed_arg = t->closed_arg;
  struct tree_draft *draft, *next;

  DL_FOREACH_SAFE(t->drafts, draft, next)
  {
    free(draft);
  }
  tree_links_free(t);
  free(t);
  closed(closed_arg);
}

void tree_close(struct tree *t, void (*closed)(void *arg), void *arg)
{
  struct tree_wait *w, *next;

  DL_FOREACH_SAFE(t->waits, w, next)
  {
    DL_DELETE(t->waits, w);
    w->tree = NULL;
  }
  t->closed = closed;
  t->closed_arg = arg;
  fs_close(t->fs, fs_closed, t);
}
