/* A request that somebody has written, on its way to a target: checked as strictly as any, but for what editors do to
 * it. Lines may end in LF alone, and the body is as long as it is, whatever Content-Length says. Pure. */
#ifndef DAEMON_WRITTEN_H
#define DAEMON_WRITTEN_H

#include "proto/http1/writer.h"

/* 0, and the request is in `out`, which its owner frees; -ENOMEM; -EINVAL: it is none. *why is a static phrase then. */
int written_request(const char *bytes, size_t size, struct http1_out *out, const char **why);

#endif
