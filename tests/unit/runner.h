/* What a file of tests defines; runner.c is the rest of the program. */
#ifndef RUNNER_H
#define RUNNER_H

#include <check.h>

/* The runner frees it. */
Suite *test_suite(void);

#endif
