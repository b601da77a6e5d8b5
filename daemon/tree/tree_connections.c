/* connections/: a file for every connection; its object is the tunnel. */
#include <inttypes.h>
#include <stdio.h>

#include "carry/tunnel/tunnels.h"
#include "tree_internal.h"

/* What counts connections is rendered anew: one that has just seen a connection end wants to see it counted. */
static void touch_counts(struct tree *t, const struct tunnel *tunnel)
{
  fs_touch(tree_folder(t, "status"));
  tree_service_counts_changed(t, tunnel_info(tunnel).service);
}

void tree_connection_opened(struct tree *t, struct tunnel *tunnel)
{
  struct fs_entry *entry;
  char name[24];

  snprintf(name, sizeof name, "%" PRIu64, tunnel_info(tunnel).id);
  /* Short of memory, the connection lives unseen. */
  if (fs_add(tree_folder(t, "connections"), tree_row("connections/*", FS_TEXT), name, tunnel, &entry) == 0)
    tunnel_set_user(tunnel, entry);
  touch_counts(t, tunnel);
}

void tree_connection_closed(struct tree *t, struct tunnel *tunnel)
{
  struct fs_entry *entry = tunnel_user(tunnel);

  if (entry != NULL)
    fs_remove(entry);
  touch_counts(t, tunnel);
}

int connection_row_render(struct fs_entry *file, struct fs_text *out)
{
  struct tunnel_info info = tunnel_info(fs_object(file));

  fs_printf(out, "service %s\n", info.service);
  fs_printf(out, "role %s\n", info.role == TUNNEL_FORWARD ? "forward" : "service");
  fs_printf(out, "peer %s\n", info.peer);
  fs_printf(out, "state %s\n", info.state);
  if (info.trouble != NULL)
    fs_printf(out, "trouble %s\n", info.trouble);
  if (info.stream != NULL)
    fs_printf(out, "stream %s\n", info.stream);
  fs_printf(out, "bytes_in %" PRIu64 "\n", info.bytes_in);
  fs_printf(out, "bytes_out %" PRIu64 "\n", info.bytes_out);
  fs_printf(out, "spliced %" PRIu64 "\n", info.spliced);
  fs_printf(out, "age %" PRIu64 "\n", info.age_s);
  fs_printf(out, "queued %" PRIu64 "\n", info.queued);
  if (info.window == 0)
    return 0;
  fs_printf(out, "window %" PRIu64 "\n", info.window);
  fs_printf(out, "unacked %" PRIu64 "\n", info.unacked);
  fs_printf(out, "rate %" PRIu64 "\n", info.rate);
  fs_printf(out, "rtt_us %" PRIu64 "\n", info.rtt_us);
  return 0;
}

int connection_row_unlink(struct fs_entry *file)
{
  struct tunnel *tunnel = fs_object(file);

  tunnel_set_user(tunnel, NULL);
  tunnel_cut(tunnel);
  fs_remove(file);
  return 0;
}
