/* Makes the Nth allocation of this program fail. The definitions here take the place of the C library's, also in what
 * is linked statically; below them is the sanitizer's allocator, if there is one. (The thread sanitizer does not stand
 * it: there nothing fails.) Included once in a program. */
#ifndef FAILING_H
#define FAILING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__)
#define FAILING_WORKS false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FAILING_WORKS false
#endif
#endif

extern void *__interceptor_malloc(size_t size) __attribute__((weak));
extern void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
extern void *__interceptor_realloc(void *old, size_t size) __attribute__((weak));
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static _Thread_local size_t failing_in; /* 0: not at all */
static _Thread_local bool failing_came;
static _Thread_local bool failing_paused
    __attribute__((unused)); /* while the test itself is at work: Check ends when its memory is short */

static void fail_allocation(size_t nth)
{
  failing_in = nth;
  failing_came = false;
}

/* Whether there were so many. */
__attribute__((unused)) static bool allocation_failed(void)
{
  failing_in = 0;
  return failing_came;
}

#ifndef FAILING_WORKS
#define FAILING_WORKS true

static bool is_failing(void)
{
  if (failing_in == 0 || failing_paused || --failing_in > 0)
    return false;
  failing_came = true;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t size)
{
  if (is_failing())
    return NULL;
  return __interceptor_malloc != NULL ? __interceptor_malloc(size) : __libc_malloc(size);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
void *calloc(size_t count, size_t size)
{
  if (is_failing())
    return NULL;
  return __interceptor_calloc != NULL ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
void *realloc(void *old, size_t size)
{
  if (is_failing())
    return NULL;
  return __interceptor_realloc != NULL ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}
#endif

#endif
