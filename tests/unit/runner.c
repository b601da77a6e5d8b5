/* Runs the tests of one program. CK_VERBOSITY and the other variables of Check apply. */
#include <stdlib.h>

#include "runner.h"

int main(void)
{
  SRunner *runner = srunner_create(test_suite());
  int failed;

  srunner_run_all(runner, CK_ENV);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
