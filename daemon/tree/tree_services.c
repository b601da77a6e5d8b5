/* services/: a directory for every name that is declared here or known to the router. A name has one entry through all
 * its states; which of its files are there is asked when somebody looks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "carry/net/address.h"
#include "carry/tunnel/tunnels.h"
#include "daemon/forwards/forwards.h"
#include "daemon/names/catalogue.h"
#include "daemon/names/services.h"
#include "tree_internal.h"

static const char *name_of(const struct fs_entry *file)
{
  return fs_name(fs_parent(file));
}

static struct service *service_of(const struct fs_entry *file)
{
  return services_find(tree_of(file)->parts.services, name_of(file));
}

static bool shown(const struct tree *t, const char *name)
{
  return services_find(t->parts.services, name) != NULL || catalogue_find(t->parts.catalogue, name) != CATALOGUE_NONE;
}

/* Adds or removes the entry of a name, as it should be. */
static int refresh(struct tree *t, const char *name)
{
  struct fs_entry *folder = tree_folder(t, "services");
  struct fs_entry *entry = fs_find(folder, name);

  fs_touch(tree_folder(t, "status"));
  if (!shown(t, name)) {
    if (entry != NULL)
      fs_remove(entry);
    tree_public_refresh(t);
    return 0;
  }
  if (entry == NULL)
    return fs_add(folder, tree_row("services/*", FS_DIR), name, t, &entry);
  fs_touch(entry);
  return 0;
}

void tree_service_changed(struct tree *t, const char *name)
{
  if (refresh(t, name) != 0)
    tree_refuse(t, -ENOMEM, "memory is short", "show services/%s", name);
}

/* ---- Declaring. ---- */

/* Whether the name is somebody else's, as far as is known. */
static bool taken(const struct tree *t, const char *name)
{
  return catalogue_find(t->parts.catalogue, name) != CATALOGUE_NONE && services_find(t->parts.services, name) == NULL;
}

static const char taken_phrase[] = "the router already knows a service of that name";

static int declare(struct tree *t, const char *name, struct service **out, const char **why)
{
  int err;

  if (taken(t, name)) {
    *why = taken_phrase;
    return -EEXIST;
  }
  err = services_declare(t->parts.services, name, out, why);
  if (err != 0)
    return err;
  err = refresh(t, name);
  if (err != 0) {
    *why = "memory is short";
    services_withdraw(*out);
  }
  return err;
}

int services_row_mkdir(struct fs_entry *dir, const char *name)
{
  struct tree *t = tree_of(dir);
  struct service *s;
  const char *why;
  int err = declare(t, name, &s, &why);

  return err == 0 ? 0 : tree_refuse(t, err, why, "mkdir services/%.100s", name);
}

int service_row_rmdir(struct fs_entry *dir)
{
  struct tree *t = tree_of(dir);
  struct service *s = services_find(t->parts.services, fs_name(dir));

  if (s == NULL)
    return tree_refuse(t, -EPERM, "the service was not declared here", "rmdir services/%s", fs_name(dir));
  services_withdraw(s);
  return 0;
}

int services_row_create(struct fs_entry *dir, const char *name, struct fs_entry **out)
{
  struct tree *t = tree_of(dir);
  struct tree_draft *draft;
  const char *why;
  int err = service_name_check(name, &why);

  if (err == 0 && shown(t, name)) {
    err = -EEXIST;
    why = "a service of that name exists already";
  }
  if (err == 0 && services_count(t->parts.services) >= SERVICES_MAX) {
    err = -ENOSPC;
    why = services_full;
  }
  if (err != 0)
    return tree_refuse(t, err, why, "create services/%.100s", name);
  draft = calloc(1, sizeof *draft);
  if (draft == NULL)
    return -ENOMEM;
  draft->tree = t;
  snprintf(draft->name, sizeof draft->name, "%s", name);
  err = fs_add_detached(dir, tree_row("services/*", FS_TEXT), name, draft, out);
  if (err != 0) {
    free(draft);
    return err;
  }
  DL_APPEND(t->drafts, draft);
  return 0;
}

void draft_row_released(struct fs_entry *file)
{
  struct tree_draft *draft = fs_object(file);

  DL_DELETE(draft->tree->drafts, draft);
  free(draft);
}

/* ---- Targets. ---- */

static const char second_phrase[] = "a service has one target";

static void verdict(int error, const char *why, void *arg)
{
  struct tree_wait *w = arg;
  struct service *s;

  /* A refused line changes nothing; one whose verdict is still to come has been accepted; and whoever removed the
   * target (ENOENT) keeps the name. */
  if (w->tree != NULL && w->declared && error != 0 && error != -ETIMEDOUT && error != -EINTR && error != -ENOENT) {
    s = services_find(w->tree->parts.services, w->name);
    if (s != NULL)
      services_withdraw(s);
  }
  tree_wait_answer(w, error, why);
}

static void interrupted(struct fs_request *request, void *arg)
{
  struct tree_wait *w = arg;

  (void)request;
  service_wait_cancel(w->service, -EINTR);
}

/* A connection would go round from here to here. Longer ways are noticed when they are gone. */
static int check_loop(const struct tree *t, const char *name, const struct address *target, const char **why)
{
  const struct forward *f = forwards_find(t->parts.forwards, name);
  const struct address *listener;

  for (size_t i = 0; f != NULL && (listener = forward_listener(f, i)) != NULL; i++) {
    if (address_leads_to(target, listener)) {
      *why = "that is where the forward of the same name listens, which leads back to this service";
      return -EINVAL;
    }
  }
  return 0;
}

/* `name` is declared first if it is not, when `declares`. */
static void set_target(struct tree *t, struct fs_request *request, const char *name, bool declares, const char *path,
                       const char *text)
{
  struct tree_wait *w = tree_wait_create(t, request, path, text);
  struct service *s = services_find(t->parts.services, name);
  struct address address;
  const char *why = "";
  int err;

  if (w == NULL) {
    fs_reply(request, tree_refuse(t, -ENOMEM, "memory is short", "write %s", path));
    return;
  }
  snprintf(w->name, sizeof w->name, "%s", name);
  err = address_parse_target(text, &address, &why);
  if (err == 0)
    err = check_loop(t, name, &address, &why);
  if (err == 0)
    err = tree_shut_out(t, &why);
  if (err == 0 && s == NULL) {
    err = -ENOENT;
    why = "the service was withdrawn";
    if (declares) {
      err = declare(t, name, &s, &why);
      w->declared = err == 0;
    }
  }
  if (err == 0) {
    err = service_set_target(s, &address, verdict, w, &w->service);
    why = "memory is short";
    if (err == 1) {
      fs_on_interrupt(request, interrupted, w);
      tree_service_changed(t, name);
      return;
    }
    if (err < 0 && w->declared)
      services_withdraw(s);
    tree_service_changed(t, name);
  }
  tree_wait_answer(w, err, why);
}

/* Where a line was written. */
struct place {
  struct tree *tree;
  const char *name; /* of the service */
  bool draft;       /* which is declared by the line */
  char path[96];
};

static struct place place_of_draft(const struct fs_entry *file)
{
  const struct tree_draft *draft = fs_object(file);
  struct place place = {.tree = draft->tree, .name = draft->name, .draft = true};

  snprintf(place.path, sizeof place.path, "services/%s", draft->name);
  return place;
}

static struct place place_of_target(const struct fs_entry *file)
{
  struct place place = {.tree = tree_of(file), .name = name_of(file)};

  snprintf(place.path, sizeof place.path, "services/%s/target", place.name);
  return place;
}

static void refuse_line(struct fs_request *request, const struct place *place, const struct fs_line *line, int error,
                        const char *why)
{
  fs_reply(request, tree_refuse(place->tree, error, why, "write %s \"%.200s\"", place->path, line->text));
}

static void write_line(struct fs_request *request, const struct place *place, const struct fs_line *line)
{
  if (line->first)
    set_target(place->tree, request, place->name, place->draft, place->path, line->text);
  else
    refuse_line(request, place, line, -EINVAL, second_phrase);
}

static void begin_line(struct fs_request *request, const struct place *place, const struct fs_line *line)
{
  const char *why = second_phrase;
  int err = -EINVAL;

  if (line->first)
    err = address_begun_target(line->text, &why);
  if (err == 0)
    err = tree_shut_out(place->tree, &why);
  if (err == 0 && place->draft && taken(place->tree, place->name)) {
    err = -EEXIST;
    why = taken_phrase;
  }
  if (err == 0)
    fs_reply(request, 0);
  else
    refuse_line(request, place, line, err, why);
}

void draft_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  const struct place place = place_of_draft(file);

  write_line(request, &place, line);
}

void draft_row_begun(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  const struct place place = place_of_draft(file);

  begin_line(request, &place, line);
}

void target_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  const struct place place = place_of_target(file);

  write_line(request, &place, line);
}

void target_row_begun(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  const struct place place = place_of_target(file);

  begin_line(request, &place, line);
}

/* Who puts a file in its place (mv, install, tar) removes it first, and then insists on making it. */
bool target_row_visible(struct fs_entry *file)
{
  const struct service *s = service_of(file);

  return s != NULL && !service_target_removed(s);
}

int service_row_create(struct fs_entry *dir, const char *name, struct fs_entry **out)
{
  struct tree *t = tree_of(dir);
  struct service *s = services_find(t->parts.services, fs_name(dir));

  if (s == NULL || strcmp(name, "target") != 0)
    return tree_refuse(t, -EPERM, "a file cannot be created here", "create services/%s/%.100s", fs_name(dir), name);
  service_make_target(s);
  *out = fs_find(dir, name);
  return 0;
}

int target_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct service *s = service_of(file);
  char text[ADDRESS_TEXT_MAX];

  if (s != NULL && service_target(s) != NULL)
    fs_printf(out, "%s\n", address_format(service_target(s), text));
  return 0;
}

int target_row_unlink(struct fs_entry *file)
{
  struct service *s = service_of(file);

  if (s == NULL)
    return -ENOENT;
  service_remove_target(s);
  tree_service_changed(tree_of(file), name_of(file));
  return 0;
}
