/* services/NAME/status and stats, for every service that is known; proxy, for those declared here. */
#include <errno.h>
#include <inttypes.h>

#include "carry/tunnel/tunnels.h"
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

int service_status_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct service *s = service_of(file);
  enum catalogue_state known = catalogue_find(tree_of(file)->parts.catalogue, name_of(file));
  const char *word = known == CATALOGUE_ONLINE ? "online" : "offline";

  if (s != NULL)
    word = service_state_name(service_state(s));
  /* Declared here without a target, so what the router has is somebody else's. */
  if (s != NULL && service_state(s) == SERVICE_PENDING && known == CATALOGUE_ONLINE)
    word = service_state_name(SERVICE_TAKEN);
  fs_printf(out, "%s\n", word);
  return 0;
}

void tree_service_counts_changed(struct tree *t, const char *name)
{
  struct fs_entry *service = fs_find(tree_folder(t, "services"), name);

  if (service != NULL)
    fs_touch(fs_find(service, "stats"));
}

int service_stats_row_render(struct fs_entry *file, struct fs_text *out)
{
  enum tunnel_role role = service_of(file) != NULL ? TUNNEL_SERVICE : TUNNEL_FORWARD;
  struct tunnels_stats stats = tunnels_stats(tree_of(file)->parts.tunnels, role, name_of(file));

  fs_printf(out, "connections %" PRIu64 "\n", stats.total);
  fs_printf(out, "live %" PRIu64 "\n", stats.live);
  fs_printf(out, "failed %" PRIu64 "\n", stats.failed);
  fs_printf(out, "bytes_in %" PRIu64 "\n", stats.bytes_in);
  fs_printf(out, "bytes_out %" PRIu64 "\n", stats.bytes_out);
  return 0;
}

/* They go with the directory: `rm -r` on one's own service must not stumble over them. */
int service_file_row_unlink(struct fs_entry *file)
{
  if (service_of(file) != NULL)
    return 0;
  return tree_refuse(tree_of(file), -EPERM, "the service was not declared here", "unlink services/%s/%s", name_of(file),
                     fs_name(file));
}

int proxy_row_render(struct fs_entry *file, struct fs_text *out)
{
  const struct service *s = service_of(file);

  if (s != NULL && service_proxy(s) != PROXY_OFF)
    fs_printf(out, "%s\n", proxy_version_name(service_proxy(s)));
  return 0;
}

void proxy_row_line(struct fs_request *request, struct fs_entry *file, const struct fs_line *line)
{
  struct service *s = service_of(file);
  const char *why = "the service was withdrawn";
  enum proxy_version version;
  int err = s != NULL ? 0 : -ENOENT;

  if (err == 0) {
    err = proxy_version_parse(line->text, &version);
    why = "write v1 or v2, the versions of the PROXY protocol, or off";
  }
  if (err == 0)
    service_set_proxy(s, version);
  else
    tree_refuse(tree_of(file), err, why, "write services/%s/proxy \"%.200s\"", name_of(file), line->text);
  fs_reply(request, err);
}

int proxy_row_unlink(struct fs_entry *file)
{
  struct service *s = service_of(file);

  if (s == NULL)
    return -ENOENT;
  service_set_proxy(s, PROXY_OFF);
  return 0;
}
