/* forwards/: a file for every forward, a line for every listener. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "carry/net/address.h"
#include "daemon/forwards/forwards.h"
#include "daemon/names/services.h"
#include "tree_internal.h"

static struct forward *forward_of(const struct fs_entry *file)
{
  return forwards_find(tree_of(file)->parts.forwards, fs_name(file));
}

void tree_forward_changed(struct tree *t, const char *name)
{
  struct fs_entry *entry = fs_find(tree_folder(t, "forwards"), name);
  bool there = forwards_find(t->parts.forwards, name) != NULL;

  fs_touch(tree_folder(t, "status"));
  if (entry != NULL && there)
    fs_touch(entry);
  else if (entry != NULL)
    fs_remove(entry);
  else if (there && fs_add(tree_folder(t, "forwards"), tree_row("forwards/*", FS_TEXT), name, t, &entry) != 0)
    tree_refuse(t, -ENOMEM, "memory is short", "show forwards/%s", name);
}

int forwards_row_create(struct fs_entry *dir, const char *name, struct fs_entry **out)
{
  struct tree *t = tree_of(dir);
  struct forward *f;
  const char *why;
  int err = forwards_create(t->parts.forwards, name, &f, &why);

  if (err != 0)
    return tree_refuse(t, err, why, "create forwards/%.100s", name);
  err = fs_add(dir, tree_row("forwards/*", FS_TEXT), name, t, out);
  if (err != 0)
    forward_remove(f);
  return err;
}

int forward_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct forward *f = forward_of(file);
  const struct address *a;
  char text[ADDRESS_TEXT_MAX];

  for (size_t i = 0; f != NULL && (a = forward_listener(f, i)) != NULL; i++)
    fs_printf(out, "%s\n", address_format(a, text));
  return 0;
}

static void verdict(int error, const char *why, void *arg)
{
  struct tree_wait *w = arg;
  struct forward *f = w->tree != NULL ? forwards_find(w->tree->parts.forwards, w->name) : NULL;

  if (f != NULL)
    tree_forward_changed(w->tree, w->name);
  tree_wait_answer(w, error, why);
}

static void interrupted(struct fs_request *request, void *arg)
{
  struct tree_wait *w = arg;

  (void)request;
  forward_write_cancel(w->forward, -EINTR);
}

/* As in tree_services.c. */
static int check_loop(const struct tree *t, const char *name, const struct address *listener, const char **why)
{
  const struct service *s = services_find(t->parts.services, name);

  if (s == NULL || service_target(s) == NULL || !address_leads_to(service_target(s), listener))
    return 0;
  *why = "that is the target of the service of the same name, which is of this mount";
  return -EINVAL;
}

/* NULL: answered, since memory is short. */
static struct tree_wait *begin(struct fs_request *request, const struct fs_entry *file, const struct fs_line *line)
{
  struct tree *t = tree_of(file);
  struct tree_wait *w;
  char path[96];

  snprintf(path, sizeof path, "forwards/%s", fs_name(file));
  w = tree_wait_create(t, request, path, line->text);
  if (w == NULL)
    fs_reply(request, tree_refuse(t, -ENOMEM, "memory is short", "write %s", path));
  else
    snprintf(w->name, sizeof w->name, "%s", fs_name(file));
  return w;
}

/* `result` is 1 when the verdict is still to come. */
static void answer(struct tree_wait *w, int result, const char *why)
{
  if (result == 1)
    fs_on_interrupt(w->request, interrupted, w);
  else
    verdict(result, why, w);
}

void forward_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct tree_wait *w = begin(request, file, line);
  struct address address;
  const char *why = "";
  int result;

  if (w == NULL)
    return;
  if (line->first)
    forward_settle(forward_of(file)); /* what another writer has begun, and left open */
  result = address_parse_listener(line->text, &address, &why);
  if (result == 0)
    result = check_loop(w->tree, fs_name(file), &address, &why);
  if (result == 0)
    result = tree_shut_out(w->tree, &why);
  if (result == 0)
    result = forward_write(forward_of(file), &address, line->replace, verdict, w, &w->forward, &why);
  answer(w, result, why);
}

void forward_row_begun(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct tree_wait *w = begin(request, file, line);
  struct address address;
  const char *why = "";
  const char *unused;
  int result;

  if (w == NULL)
    return;
  result = address_begun_listener(line->text, &why);
  if (result == 0)
    result = tree_shut_out(w->tree, &why);
  if (result == 0) {
    bool whole = address_parse_listener(line->text, &address, &unused) == 0;

    why = "memory is short";
    result = forward_ask(forward_of(file), whole ? &address : NULL, verdict, w, &w->forward);
  }
  answer(w, result, why);
}

void forward_row_over(struct fs_entry *file)
{
  struct forward *f = forward_of(file);

  if (f != NULL)
    forward_settle(f);
}

void forward_row_released(struct fs_entry *file)
{
  struct forward *f = forward_of(file);

  if (f == NULL)
    return;
  forward_settle(f);
  if (forward_listener(f, 0) == NULL)
    forward_remove(f);
}

int forward_row_unlink(struct fs_entry *file)
{
  struct forward *f = forward_of(file);

  if (f != NULL)
    forward_remove(f);
  return 0;
}
