/* What is said of the requests that gates pass on to a service: services/NAME/clients and headers, a line for each
 * thing that is said. What is refused is not repeated in errors, except for addresses: it may hold a secret.
 */
#include <errno.h>

#include "daemon/names/services.h"
#include "proto/rules/rule_line.h"
#include "tree_internal.h"

static struct service *service_of(const struct fs_entry *file)
{
  return services_find(tree_of(file)->parts.services, fs_name(fs_parent(file)));
}

static enum rule_kind kind_of(const struct fs_entry *file)
{
  return rules_kind(fs_name(file));
}

int rule_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct service *s = service_of(file);
  const struct rules_text *text = s != NULL ? &service_rules(s)->of[kind_of(file)] : NULL;

  if (text != NULL && text->size > 0)
    fs_printf(out, "%.*s", (int)text->size, text->at);
  return 0;
}

static int refuse(const struct fs_entry *file, int error, const char *why, const char *text)
{
  const char *service = fs_name(fs_parent(file)), *name = fs_name(file);

  if (kind_of(file) == RULE_CLIENTS)
    return tree_refuse(tree_of(file), error, why, "write services/%.63s/%s \"%.200s\"", service, name, text);
  return tree_refuse(tree_of(file), error, why, "write services/%.63s/%s", service, name);
}

static const char *phrase(int error)
{
  switch (error) {
  case -ENOSPC:
    return "a service has at most 64 KiB of these files in all";
  case -EDQUOT:
    return "the services have at most 16 MiB of these files in all";
  default:
    return "memory is short";
  }
}

void rule_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct service *s = service_of(file);
  char kept[RULE_LINE_SIZE];
  const char *why = "the service was withdrawn";
  int err = s != NULL ? rule_line_check(kind_of(file), line->text, kept, &why) : -ENOENT;

  if (err == 0) {
    err = service_add_rule(s, kind_of(file), kept, line->replace);
    why = phrase(err);
  }
  fs_reply(request, err == 0 ? 0 : refuse(file, err, why, line->text));
}

void rule_row_over(struct fs_entry *file)
{
  struct service *s = service_of(file);

  if (s != NULL)
    service_tell_rules(s);
}

int rule_row_unlink(struct fs_entry *file)
{
  struct service *s = service_of(file);

  if (s == NULL)
    return -ENOENT;
  service_set_rule(s, kind_of(file), NULL, 0);
  service_tell_rules(s);
  return 0;
}
