/* The public names of the services: services/NAME/http, tls and port, a line for each name; services/NAME/url, what to
 * give to others; and public/, a symbolic link for each host that was granted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/names/services.h"
#include "proto/wire/public_name.h"
#include "tree_internal.h"

/* A host in public/. */
struct tree_link {
  struct tree_link *prev, *next;
  struct fs_entry *entry;
  bool seen;
  char service[64];
};

static struct service *service_of(const struct fs_entry *file)
{
  return services_find(tree_of(file)->parts.services, fs_name(fs_parent(file)));
}

static enum public_kind kind_of(const struct fs_entry *file)
{
  if (strcmp(fs_name(file), "port") == 0)
    return PUBLIC_PORT;
  return strcmp(fs_name(file), "tls") == 0 ? PUBLIC_TLS : PUBLIC_HTTP;
}

static int parse(const struct fs_entry *file, const char *text, struct public_name *out, const char **why)
{
  if (kind_of(file) == PUBLIC_PORT)
    return public_port_parse(text, out, why);
  return public_name_parse(text, kind_of(file) == PUBLIC_TLS, out, why);
}

bool own_row_visible(struct fs_entry *file)
{
  return service_of(file) != NULL;
}

/* ---- http, tls and port ---- */

int public_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct service *s = service_of(file);
  const struct public_info *info;
  char text[PUBLIC_TEXT_SIZE];

  for (size_t i = 0; s != NULL && (info = service_public(s, i)) != NULL; i++) {
    if (public_name_kind(info->name) == kind_of(file))
      fs_printf(out, "%s\n", public_name_format(info->name, text));
  }
  return 0;
}

static void verdict(int error, const char *why, void *arg)
{
  tree_wait_answer(arg, error, why);
}

static void interrupted(struct fs_request *request, void *arg)
{
  struct tree_wait *w = arg;

  (void)request;
  public_wait_cancel(w->public_name, -EINTR);
}

static const char *phrase(int error)
{
  switch (error) {
  case -EBUSY:
    return "that name is being asked for by another writer";
  case -ENOSPC:
    return "a service has at most 16 public names";
  default:
    return "memory is short";
  }
}

void public_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct tree *t = tree_of(file);
  struct service *s = service_of(file);
  struct public_name name;
  struct tree_wait *w;
  const char *why = "the service was withdrawn";
  char path[96];
  int err = s != NULL ? 0 : -ENOENT;

  snprintf(path, sizeof path, "services/%.63s/%s", fs_name(fs_parent(file)), fs_name(file));
  w = tree_wait_create(t, request, path, line->text);
  if (w == NULL) {
    fs_reply(request, tree_refuse(t, -ENOMEM, "memory is short", "write %s", path));
    return;
  }
  if (err == 0)
    err = parse(file, line->text, &name, &why);
  if (err == 0)
    err = tree_shut_out(t, &why);
  if (err == 0) {
    err = service_add_public(s, &name, line->replace, verdict, w, &w->public_name);
    if (err == 1) {
      fs_on_interrupt(request, interrupted, w);
      return;
    }
    why = phrase(err);
  }
  tree_wait_answer(w, err, why);
}

int public_row_unlink(struct fs_entry *file)
{
  struct service *s = service_of(file);

  if (s == NULL)
    return -ENOENT;
  service_remove_publics(s, kind_of(file));
  return 0;
}

int url_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct service *s = service_of(file);
  const struct public_info *info;

  for (size_t i = 0; s != NULL && (info = service_public(s, i)) != NULL; i++) {
    if (info->url[0] != '\0')
      fs_printf(out, "%s\n", info->url);
  }
  return 0;
}

/* ---- public/ ---- */

int link_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct tree_link *link = fs_object(file);

  fs_printf(out, "../services/%s", link->service);
  return 0;
}

/* Of several services that share a host, the first. */
static int show(struct tree *t, const char *host, const char *service)
{
  struct fs_entry *folder = tree_folder(t, "public"), *entry = fs_find(folder, host);
  struct tree_link *link = entry != NULL ? fs_object(entry) : NULL;

  if (link == NULL) {
    link = calloc(1, sizeof *link);
    if (link == NULL)
      return -ENOMEM;
    if (fs_add(folder, tree_row("public/*", FS_LINK), host, link, &link->entry) != 0) {
      free(link);
      return -ENOMEM;
    }
    DL_APPEND(t->links, link);
  }
  if (link->seen)
    return 0;
  link->seen = true;
  if (strcmp(link->service, service) != 0) {
    snprintf(link->service, sizeof link->service, "%s", service);
    fs_touch(link->entry);
  }
  return 0;
}

static void hide_unseen(struct tree *t)
{
  struct tree_link *link, *next;

  DL_FOREACH_SAFE(t->links, link, next)
  {
    if (!link->seen) {
      DL_DELETE(t->links, link); /* NOLINT(clang-analyzer-core.NullDereference): it has neighbours */
      fs_remove(link->entry);
      free(link);
    } else {
      link->seen = false;
    }
  }
}

void tree_public_refresh(struct tree *t)
{
  const struct public_info *info;
  struct service *s = NULL;
  int err = 0;

  while ((s = services_next(t->parts.services, s)) != NULL) {
    for (size_t i = 0; (info = service_public(s, i)) != NULL; i++) {
      if (info->host[0] != '\0' && show(t, info->host, service_name(s)) != 0)
        err = -ENOMEM;
    }
  }
  hide_unseen(t);
  if (err != 0)
    tree_refuse(t, err, "memory is short", "show public");
}

void tree_public_changed(struct tree *t, const char *service)
{
  struct fs_entry *entry = fs_find(tree_folder(t, "services"), service);

  if (entry != NULL)
    fs_touch(entry);
  tree_public_refresh(t);
}

void tree_links_free(struct tree *t)
{
  struct tree_link *link, *next;

  DL_FOREACH_SAFE(t->links, link, next)
  {
    free(link);
  }
}
