/* The numbers are gRPC's, each has its name, and its errno is one that a shell user can act on. */
#include <check.h>
#include <errno.h>
#include <grpc/status.h>
#include <string.h>

#include "proto/wire/status.h"

#include "runner.h"

static const struct {
  enum rpc_status status;
  grpc_status_code code;
  const char *name;
  int error;
} rows[] = {
    {RPC_OK, GRPC_STATUS_OK, "OK", 0},
    {RPC_CANCELLED, GRPC_STATUS_CANCELLED, "CANCELLED", ECANCELED},
    {RPC_UNKNOWN, GRPC_STATUS_UNKNOWN, "UNKNOWN", EPROTO},
    {RPC_INVALID_ARGUMENT, GRPC_STATUS_INVALID_ARGUMENT, "INVALID_ARGUMENT", EINVAL},
    {RPC_DEADLINE_EXCEEDED, GRPC_STATUS_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", ETIMEDOUT},
    {RPC_NOT_FOUND, GRPC_STATUS_NOT_FOUND, "NOT_FOUND", ENOENT},
    {RPC_ALREADY_EXISTS, GRPC_STATUS_ALREADY_EXISTS, "ALREADY_EXISTS", EEXIST},
    {RPC_PERMISSION_DENIED, GRPC_STATUS_PERMISSION_DENIED, "PERMISSION_DENIED", EACCES},
    {RPC_RESOURCE_EXHAUSTED, GRPC_STATUS_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", ENOSPC},
    {RPC_FAILED_PRECONDITION, GRPC_STATUS_FAILED_PRECONDITION, "FAILED_PRECONDITION", EINVAL},
    {RPC_ABORTED, GRPC_STATUS_ABORTED, "ABORTED", ECONNABORTED},
    {RPC_OUT_OF_RANGE, GRPC_STATUS_OUT_OF_RANGE, "OUT_OF_RANGE", EINVAL},
    {RPC_UNIMPLEMENTED, GRPC_STATUS_UNIMPLEMENTED, "UNIMPLEMENTED", EOPNOTSUPP},
    {RPC_INTERNAL, GRPC_STATUS_INTERNAL, "INTERNAL", EPROTO},
    {RPC_UNAVAILABLE, GRPC_STATUS_UNAVAILABLE, "UNAVAILABLE", EHOSTUNREACH},
    {RPC_DATA_LOSS, GRPC_STATUS_DATA_LOSS, "DATA_LOSS", EPROTO},
    {RPC_UNAUTHENTICATED, GRPC_STATUS_UNAUTHENTICATED, "UNAUTHENTICATED", EACCES},
};

START_TEST(each_status)
{
  ck_assert_int_eq((int)rows[_i].status, (int)rows[_i].code);
  ck_assert_str_eq(rpc_status_name(rows[_i].status), rows[_i].name);
  ck_assert_int_eq(rpc_status_errno(rows[_i].status), rows[_i].error);
}
END_TEST

START_TEST(numbers_that_grpc_does_not_have)
{
  static const int numbers[] = {17, -1, 1000, -2147483647};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    ck_assert_str_eq(rpc_status_name((enum rpc_status)numbers[i]), "UNKNOWN");
    ck_assert_int_eq(rpc_status_errno((enum rpc_status)numbers[i]), EPROTO);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("status");
  TCase *tests = tcase_create("status");
  tcase_add_loop_test(tests, each_status, 0, sizeof rows / sizeof *rows);
  tcase_add_test(tests, numbers_that_grpc_does_not_have);
  suite_add_tcase(suite, tests);
  return suite;
}
