/* One row per gRPC status: its name, and the errno that tells a shell user the same. */
#include "status.h"

#include <errno.h>
#include <stddef.h>

static const struct {
  const char *name;
  int error;
} rows[] = {
    [RPC_OK] = {"OK", 0},
    [RPC_CANCELLED] = {"CANCELLED", ECANCELED},
    [RPC_UNKNOWN] = {"UNKNOWN", EPROTO},
    [RPC_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", EINVAL},
    [RPC_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", ETIMEDOUT},
    [RPC_NOT_FOUND] = {"NOT_FOUND", ENOENT},
    [RPC_ALREADY_EXISTS] = {"ALREADY_EXISTS", EEXIST},
    [RPC_PERMISSION_DENIED] = {"PERMISSION_DENIED", EACCES},
    [RPC_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", ENOSPC},
    [RPC_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", EINVAL},
    [RPC_ABORTED] = {"ABORTED", ECONNABORTED},
    [RPC_OUT_OF_RANGE] = {"OUT_OF_RANGE", EINVAL},
    [RPC_UNIMPLEMENTED] = {"UNIMPLEMENTED", EOPNOTSUPP},
    [RPC_INTERNAL] = {"INTERNAL", EPROTO},
    [RPC_UNAVAILABLE] = {"UNAVAILABLE", EHOSTUNREACH},
    [RPC_DATA_LOSS] = {"DATA_LOSS", EPROTO},
    [RPC_UNAUTHENTICATED] = {"UNAUTHENTICATED", EACCES},
};

static size_t row_of(enum rpc_status status)
{
  size_t row = (size_t)status;
  return row < sizeof rows / sizeof *rows ? row : (size_t)RPC_UNKNOWN;
}

int rpc_status_errno(enum rpc_status status)
{
  return rows[row_of(status)].error;
}

const char *rpc_status_name(enum rpc_status status)
{
  return rows[row_of(status)].name;
}
