/* One look at a time, in libuv's pool: a file system that does not answer holds up one thread of it, and nothing else.
 * Both files take effect, or neither does.
 */
#include "credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/host/certificate.h"

/* Both files, read together. */
struct set {
  struct credential_mark key_mark, ca_mark;
  char *key, *ca;
};

struct credentials {
  char *key_file, *cafile;
  struct set now;
  char trouble[CREDENTIAL_WHY_MAX]; /* the one told last */
  uv_loop_t *loop;
  const struct credentials_events *events; /* NULL: nothing is told */
  void *arg;

  /* These belong to the pool's thread while `busy`. */
  uv_work_t work;
  bool busy;
  bool forced, asked; /* of the look that is under way */
  bool again;         /* asked for meanwhile */
  bool read;
  int error;
  struct set fresh;
  char why[CREDENTIAL_WHY_MAX];
};

static void begin(struct credentials *c, bool asked);

static void drop(struct set *s)
{
  credential_free(s->key);
  credential_free(s->ca);
  s->key = s->ca = NULL;
}

/* ---- Reading: nothing here touches what the loop uses. ---- */

static int read_ca(const char *path, char **out, char why[CREDENTIAL_WHY_MAX])
{
  char phrase[CERTIFICATE_WHY_MAX];
  int err = credential_read_pem(path, out, why);

  if (err != 0)
    return err;
  err = certificate_check_roots(*out, phrase);
  if (err != 0)
    snprintf(why, CREDENTIAL_WHY_MAX, "the file %.300s: %s", path, phrase);
  return err;
}

static int read_set(struct set *out, const char *key_file, const char *cafile, char why[CREDENTIAL_WHY_MAX])
{
  int err = 0;

  *out = (struct set){.key_mark = credential_look(key_file), .ca_mark = credential_look(cafile)};
  if (key_file != NULL)
    err = credential_read_key(key_file, &out->key, why);
  if (err == 0 && cafile != NULL)
    err = read_ca(cafile, &out->ca, why);
  if (err != 0)
    drop(out);
  return err;
}

static void look(uv_work_t *work)
{
  struct credentials *c = work->data;
  struct credential_mark key = credential_look(c->key_file), ca = credential_look(c->cafile);

  c->read = c->forced || !credential_same(&key, &c->now.key_mark) || !credential_same(&ca, &c->now.ca_mark);
  c->error = 0;
  if (c->read)
    c->error = read_set(&c->fresh, c->key_file, c->cafile, c->why);
}

/* ---- What came of it. ---- */

static bool same(const char *a, const char *b)
{
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void tell_bad(struct credentials *c)
{
  bool news = strcmp(c->trouble, c->why) != 0 || c->asked;

  snprintf(c->trouble, sizeof c->trouble, "%s", c->why);
  if (news)
    c->events->bad(c, c->why, c->arg);
}

/* True if they are others. */
static bool take(struct credentials *c)
{
  bool changed = !same(c->now.key, c->fresh.key) || !same(c->now.ca, c->fresh.ca);

  c->trouble[0] = '\0';
  drop(&c->now);
  c->now = c->fresh;
  c->fresh.key = c->fresh.ca = NULL;
  if (changed)
    c->events->changed(c, c->arg);
  return changed;
}

static void looked(uv_work_t *work, int status)
{
  struct credentials *c = work->data;
  bool changed = false;

  (void)status;
  c->busy = false;
  if (c->events == NULL) {
    drop(&c->fresh);
    return;
  }
  if (c->read && c->error != 0)
    tell_bad(c);
  else if (c->read)
    changed = take(c);
  if (c->asked && c->events != NULL)
    c->events->reloaded(c, changed || c->error != 0, c->arg);
  if (c->again && c->events != NULL)
    begin(c, true);
}

static void begin(struct credentials *c, bool asked)
{
  if (c->events == NULL)
    return;
  if (c->busy) {
    c->again |= asked;
    return;
  }
  c->again = false;
  c->forced = c->asked = asked;
  c->work.data = c;
  c->busy = uv_queue_work(c->loop, &c->work, look, looked) == 0;
}

void credentials_check(struct credentials *c)
{
  if (c->key_file != NULL || c->cafile != NULL)
    begin(c, false);
}

void credentials_reload(struct credentials *c)
{
  begin(c, true);
}

/* ---- Open, close. ---- */

/* NULL, or where it is from the root on. -ENOMEM, or why that is not known. */
static int absolute(char **out, const char *path)
{
  char *folder;

  *out = NULL;
  if (path == NULL)
    return 0;
  if (path[0] == '/') {
    *out = strdup(path);
    return *out != NULL ? 0 : -ENOMEM;
  }
  folder = getcwd(NULL, 0);
  if (folder == NULL)
    return -errno;
  if (asprintf(out, "%s/%s", folder, path) < 0)
    *out = NULL;
  free(folder);
  return *out != NULL ? 0 : -ENOMEM;
}

int credentials_open(struct credentials **out, const char *key_file, const char *cafile, char why[CREDENTIAL_WHY_MAX])
{
  struct credentials *c = calloc(1, sizeof *c);
  int err = c != NULL ? absolute(&c->key_file, key_file) : -ENOMEM;

  if (err == 0)
    err = absolute(&c->cafile, cafile);
  if (err != 0)
    snprintf(why, CREDENTIAL_WHY_MAX, "%s", strerror(-err));
  else
    err = read_set(&c->now, c->key_file, c->cafile, why);
  if (err != 0) {
    credentials_free(c);
    return err;
  }
  *out = c;
  return 0;
}

void credentials_start(struct credentials *c, struct uv_loop_s *loop, const struct credentials_events *events,
                       void *arg)
{
  c->loop = loop;
  c->events = events;
  c->arg = arg;
}

void credentials_stop(struct credentials *c)
{
  if (c != NULL)
    c->events = NULL;
}

void credentials_free(struct credentials *c)
{
  if (c == NULL)
    return;
  drop(&c->now);
  free(c->key_file);
  free(c->cafile);
  free(c);
}

const char *credentials_key(const struct credentials *c)
{
  return c->now.key;
}

const char *credentials_ca(const struct credentials *c)
{
  return c->now.ca;
}
