/* services/NAME/requests, the log; and services/NAME/inspect/, the exchanges that are kept. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/tunnel/tunnels.h"
#include "daemon/names/services.h"
#include "daemon/tap/taps.h"
#include "tree_internal.h"

static struct taps *taps_of(const struct fs_entry *file)
{
  return tree_of(file)->parts.taps;
}

/* ---- requests ---- */

void requests_row_opened(struct fs_entry *file)
{
  struct tree *t = tree_of(file);
  const char *service = fs_name(fs_parent(file));

  if (taps_start_log(t->parts.taps, service) != 0)
    tree_refuse(t, -ENOMEM, "memory is short", "log services/%s/requests", service);
}

int requests_row_live(struct fs_entry *file, const char **bytes, size_t *size)
{
  *bytes = taps_log(taps_of(file), fs_name(fs_parent(file)), size);
  return 0;
}

int requests_row_unlink(struct fs_entry *file)
{
  taps_forget_log(taps_of(file), fs_name(fs_parent(file)));
  return 0;
}

void tree_requests_changed(struct tree *t, const char *service)
{
  struct fs_entry *entry = fs_find(tree_folder(t, "services"), service);

  if (entry != NULL)
    fs_touch(fs_find(entry, "requests"));
}

/* ---- inspect/limit ---- */

int limit_row_render(struct fs_entry *file, struct fs_text *out)
{
  static const char *const units[] = {"", "K", "M", "G"};
  size_t limit = taps_limit(taps_of(file), fs_name(fs_parent(fs_parent(file)))), unit = 0;

  for (; limit > 0 && limit % 1024 == 0 && unit < 3; unit++)
    limit /= 1024;
  fs_printf(out, "%zu%s\n", limit, units[unit]);
  return 0;
}

/* 0, or -EINVAL and why. */
static int parse_limit(const char *text, size_t *limit, const char **why)
{
  static const char units[] = "KMG";
  const uint64_t most = UINT64_C(64) << 30;
  char *end;
  unsigned long long number = strtoull(text, &end, 10);
  const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
  unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;

  *why = "a limit is a number of bytes, which may end in K, M or G, as in 64M";
  if (text[0] < '0' || text[0] > '9' || (*end != '\0' && (unit == NULL || end[1] != '\0')))
    return -EINVAL;
  *why = "a limit is 0, or from 64K to 64G";
  if (number > most >> shift || (number > 0 && number << shift < TAPS_LIMIT_MIN))
    return -EINVAL;
  *limit = (size_t)number << shift;
  return 0;
}

void limit_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct tree *t = tree_of(file);
  const char *service = fs_name(fs_parent(fs_parent(file))), *why = "there is one limit";
  size_t limit;
  int err = line->first ? parse_limit(line->text, &limit, &why) : -EINVAL;

  if (err == 0) {
    err = taps_set_limit(t->parts.taps, service, limit);
    why = "memory is short";
  }
  if (err != 0)
    tree_refuse(t, err, why, "write services/%s/inspect/limit \"%.200s\"", service, line->text);
  fs_reply(request, err);
}

/* ---- inspect/ID ---- */

/* `dir` is the directory of one. */
static const char *service_of(const struct fs_entry *dir)
{
  return fs_name(fs_parent(fs_parent(dir)));
}

static uint64_t id_of(const struct fs_entry *dir)
{
  return strtoull(fs_name(dir), NULL, 10);
}

static struct fs_entry *inspect_of(struct tree *t, const char *service)
{
  struct fs_entry *entry = fs_find(tree_folder(t, "services"), service);

  return entry != NULL ? fs_find(entry, "inspect") : NULL;
}

void tree_exchange_kept(struct tree *t, const char *service, uint64_t id)
{
  struct fs_entry *inspect = inspect_of(t, service), *entry;
  char name[24];

  snprintf(name, sizeof name, "%" PRIu64, id);
  /* Short of memory, it is kept unseen. */
  if (inspect != NULL)
    fs_add(inspect, tree_row("services/*/inspect/*", FS_DIR), name, t, &entry);
}

void tree_exchange_gone(struct tree *t, const char *service, uint64_t id)
{
  struct fs_entry *inspect = inspect_of(t, service), *entry;
  char name[24];

  snprintf(name, sizeof name, "%" PRIu64, id);
  entry = inspect != NULL ? fs_find(inspect, name) : NULL;
  if (entry != NULL)
    fs_remove(entry);
}

static void forget(struct fs_entry *dir)
{
  taps_drop(taps_of(dir), service_of(dir), id_of(dir));
  fs_remove(dir);
}

int exchange_row_rmdir(struct fs_entry *dir)
{
  forget(dir);
  return 0;
}

int exchange_row_live(struct fs_entry *file, const char **bytes, size_t *size)
{
  const struct fs_entry *dir = fs_parent(file);
  struct taps_message request, answer;
  struct record record;
  int err = taps_kept(taps_of(file), service_of(dir), id_of(dir), &record, &request, &answer);

  if (err != 0)
    return err;
  const struct taps_message *message = strcmp(fs_name(file), "request") == 0 ? &request : &answer;
  *bytes = message->bytes;
  *size = message->size;
  return 0;
}

int exchange_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct fs_entry *dir = fs_parent(file);
  struct taps_message request, answer;
  struct record r;
  struct tm tm = {0};
  char when[32];
  int err = taps_kept(taps_of(file), service_of(dir), id_of(dir), &r, &request, &answer);

  if (err != 0)
    return err;
  gmtime_r(&r.at, &tm);
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
  fs_printf(out, "time %s\n", when);
  fs_printf(out, "client %s\n", r.client);
  fs_printf(out, "method %s\n", r.method);
  fs_printf(out, "url %s\n", r.url);
  if (r.status != 0)
    fs_printf(out, "status %u\n", r.status);
  fs_printf(out, "ms %" PRIu64 "\n", r.ms);
  fs_printf(out, "request_bytes %" PRIu64 "\n", r.request_bytes);
  fs_printf(out, "answer_bytes %" PRIu64 "\n", r.answer_bytes);
  fs_printf(out, "over %s\n", r.whole ? "whole" : "broken off");
  fs_printf(out, "kept %s\n", request.cut || answer.cut ? "in part" : "whole");
  return 0;
}

/* The files go with their directories, and `inspect` with its service: `rm -r` must not stumble over them. */
int inspect_row_unlink(struct fs_entry *file)
{
  (void)file;
  return 0;
}

/* Forgets all that is kept; the limit stays. */
int inspect_row_rmdir(struct fs_entry *dir)
{
  taps_drop_all(taps_of(dir), fs_name(fs_parent(dir)));
  return 0;
}

/* ---- replay ---- */

int replay_row_render(struct fs_entry *file, struct fs_text *out)
{
  uint64_t id = taps_replayed(taps_of(file), fs_name(fs_parent(file)));

  if (id > 0)
    fs_printf(out, "%" PRIu64 "\n", id);
  return 0;
}

/* What was written stays out of the sentence: it may hold secrets. */
static void answer_replay(struct tree_wait *w, int error, const char *why)
{
  w->text = NULL;
  tree_wait_answer(w, error, why);
}

static void replayed(int error, const char *why, void *arg)
{
  answer_replay(arg, error, why);
}

static void interrupted(struct fs_request *request, void *arg)
{
  struct tree_wait *w = arg;

  (void)request;
  replay_forget(w->replay);
  answer_replay(w, -EINTR, "interrupted; the request is made all the same");
}

void replay_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct tree *t = tree_of(file);
  const char *name = fs_name(fs_parent(file)), *why = "the service was withdrawn";
  struct service *s = services_find(t->parts.services, name);
  char path[96];
  int err = -ENOENT;

  snprintf(path, sizeof path, "services/%.63s/replay", name);
  struct tree_wait *w = tree_wait_create(t, request, path, NULL);
  if (w == NULL) {
    fs_reply(request, tree_refuse(t, -ENOMEM, "memory is short", "write %s", path));
    return;
  }
  if (s != NULL) {
    const struct tunnels_target target = {.address = service_target(s), .proxy = service_proxy(s)};
    err = taps_replay(t->parts.taps, name, &target, line->text, line->size, replayed, w, &w->replay, &why);
  }
  if (err == 1)
    fs_on_interrupt(request, interrupted, w);
  else
    answer_replay(w, err, why);
}
