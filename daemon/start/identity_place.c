/* The path of a mountpoint becomes the name of its file in a way that a human can still read: slashes become hyphens,
 * and what is no plain letter or digit is escaped, so that no two paths have the same name. What would be too long ends
 * in a hash.
 */
#include "identity_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/host/plain.h"
#include "proto/wire/identity.h"

enum { NAME_READABLE = 180 };

static int explain(char why[OWN_IDENTITY_WHY_MAX], int error, const char *what, const char *reason)
{
  snprintf(why, OWN_IDENTITY_WHY_MAX, "%.600s: %s", what, reason);
  plain_text(why);
  return error;
}

int identity_place_explain(char why[OWN_IDENTITY_WHY_MAX], int error, const struct identity_place *p,
                           const char *reason)
{
  char path[PATH_MAX + IDENTITY_PLACE_NAME_SIZE];

  snprintf(path, sizeof path, "%s/%s", strcmp(p->folder, "/") == 0 ? "" : p->folder, p->name);
  return explain(why, error, path, reason);
}

/* ---- The place. ---- */

static bool plain(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

void identity_place_name(const char *mountpoint, char out[IDENTITY_PLACE_NAME_SIZE])
{
  uint8_t key[HEADER_MEMBER_KEY_SIZE] = {0}, hash[HEADER_MEMBER_SIZE] = {0};
  size_t length = 0;
  const char *at = mountpoint + strspn(mountpoint, "/");

  if (*at == '\0')
    out[length++] = '-';
  for (; *at != '\0' && length < NAME_READABLE; at++) {
    if (*at == '/')
      out[length++] = '-';
    else if (plain(*at) && !(length == 0 && *at == '.'))
      out[length++] = *at;
    else
      length += (size_t)snprintf(out + length, 4, "%%%02X", (unsigned char)*at);
  }
  out[length] = '\0';
  if (*at == '\0')
    return;
  /* Chained, since the hash that there is takes one key. "%_" is no escape of the above. */
  for (const char *rest = mountpoint; *rest != '\0';) {
    size_t n = strnlen(rest, sizeof key - sizeof hash);

    memset(key, 0, sizeof key);
    memcpy(key, rest, n);
    memcpy(key + sizeof key - sizeof hash, hash, sizeof hash);
    member_of_key(key, hash);
    rest += n;
  }
  length += (size_t)snprintf(out + length, 3, "%%_");
  for (size_t i = 0; i < sizeof hash; i++)
    length += (size_t)snprintf(out + length, 3, "%02x", hash[i]);
}

static int make_folders(char *path)
{
  for (char *slash = path + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = '\0';
    int rc = mkdir(path, 0700);
    int err = errno;
    *slash = '/';
    if (rc != 0 && err != EEXIST)
      return -err;
  }
  return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

static int default_folder(char out[PATH_MAX])
{
  const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
  int length;

  if (state != NULL && state[0] == '/')
    length = snprintf(out, PATH_MAX, "%s/mindmeld/identities", state);
  else if (home != NULL && home[0] == '/')
    length = snprintf(out, PATH_MAX, "%s/.local/state/mindmeld/identities", home);
  else if (geteuid() == 0)
    length = snprintf(out, PATH_MAX, "/var/lib/mindmeld/identities");
  else
    return -ENOENT;
  return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int identity_place_default(struct identity_place *p, const char *mountpoint, char why[OWN_IDENTITY_WHY_MAX])
{
  struct stat st;
  int err = default_folder(p->folder);

  if (err != 0) {
    explain(why, err, "neither XDG_STATE_HOME nor HOME tells where", strerror(-err));
    return -ENOENT;
  }
  identity_place_name(mountpoint, p->name);
  err = make_folders(p->folder);
  p->fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (p->fd < 0 || fstat(p->fd, &st) != 0) {
    explain(why, -ENOENT, p->folder, strerror(err != 0 ? -err : errno));
    return -ENOENT;
  }
  if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022) != 0)
    return explain(why, -EPERM, p->folder, "others may write into it: chmod 700 it first");
  return 0;
}

int identity_place_given(struct identity_place *p, const char *file, char why[OWN_IDENTITY_WHY_MAX])
{
  const char *slash = strrchr(file, '/');
  const char *name = slash != NULL ? slash + 1 : file;
  size_t folder = slash == NULL ? 0 : slash == file ? 1 : (size_t)(slash - file);

  if (folder >= sizeof p->folder || strlen(name) > NAME_MAX - sizeof ".12345678")
    return explain(why, -ENAMETOOLONG, file, strerror(ENAMETOOLONG));
  snprintf(p->folder, sizeof p->folder, "%.*s", slash == NULL ? 1 : (int)folder, slash == NULL ? "." : file);
  snprintf(p->name, sizeof p->name, "%s", name);
  if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return explain(why, -EISDIR, file, strerror(EISDIR));
  p->fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return p->fd >= 0 ? 0 : explain(why, -errno, p->folder, strerror(errno));
}
