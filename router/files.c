/* All files must be good for any to be taken, so that a certificate is never used with the key of another one. */
#include "files.h"

#include <stdio.h>

#include "proto/host/certificate.h"

static int certificate_read(struct files *out, const struct options *o, char why[FILES_WHY_MAX])
{
  char phrase[CERTIFICATE_WHY_MAX];
  int error = credential_read_pem(o->tls_cert, &out->cert, why);
  if (!error)
    error = credential_read_pem(o->tls_key, &out->cert_key, why);
  if (error)
    return error;
  error = certificate_check(out->cert, out->cert_key, &out->cert_until, phrase);
  if (error)
    snprintf(why, FILES_WHY_MAX, "cannot use %.300s and %.300s as a certificate and its private key: %s", o->tls_cert,
             o->tls_key, phrase);
  return error;
}

int files_read(struct files *out, const struct options *o, char why[FILES_WHY_MAX])
{
  *out = (struct files){.key = NULL};
  int error = o->key ? credential_read_key(o->key, &out->key, why) : 0;
  if (!error && o->tls_cert)
    error = certificate_read(out, o, why);
  if (error)
    files_free(out);
  return error;
}

void files_free(struct files *f)
{
  credential_free(f->key);
  credential_free(f->cert);
  credential_free(f->cert_key);
  *f = (struct files){.key = NULL};
}

struct files_marks files_look(const struct options *o)
{
  return (struct files_marks){
      .key = credential_look(o->key), .cert = credential_look(o->tls_cert), .cert_key = credential_look(o->tls_key)};
}

bool files_same(const struct files_marks *a, const struct files_marks *b)
{
  return credential_same(&a->key, &b->key) && credential_same(&a->cert, &b->cert) &&
         credential_same(&a->cert_key, &b->cert_key);
}
