/* What was freed stays for the next message, up to a bound. Under a sanitizer the heap is another's, and nothing of
 * this can be seen. */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>

#include "proto/heap.h"

enum { PIECE = 64 << 10, FEW = HEAP_KEPT / 2 / PIECE, MANY = HEAP_KEPT * 2 / PIECE };

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* What is free at the heap's end after so many pieces came and went. */
static size_t kept_after(size_t pieces)
{
  void **all = calloc(pieces, sizeof *all);
  ck_assert_ptr_nonnull(all);
  for (size_t i = 0; i < pieces; i++) {
    all[i] = malloc(PIECE);
    ck_assert_ptr_nonnull(all[i]);
  }
  for (size_t i = 0; i < pieces; i++)
    free(all[i]);
  free(all);
  return mallinfo2().keepcost;
}

START_TEST(test_kept)
{
  heap_keep();
  ck_assert_uint_ge(kept_after(FEW), (size_t)FEW * PIECE);
  ck_assert_uint_lt(kept_after(MANY), HEAP_KEPT);
}
END_TEST
#else
START_TEST(test_kept)
{
  heap_keep();
}
END_TEST
#endif

START_TEST(test_crowd)
{
  const size_t crowd = HEAP_CROWD;
  struct heap_crowd c = {0};
  ck_assert(!heap_crowd_is(&c, 0));
  ck_assert(!heap_crowd_is(&c, crowd - 1));
  ck_assert(!heap_crowd_is(&c, 0)); /* they were not many */
  ck_assert(!heap_crowd_is(&c, crowd * 20));
  ck_assert(!heap_crowd_is(&c, crowd * 5 + 1));
  ck_assert(heap_crowd_is(&c, crowd * 5));
  ck_assert(!heap_crowd_is(&c, crowd * 4)); /* the crowd is as large as these now */
  ck_assert(!heap_crowd_is(&c, crowd * 8));
  ck_assert(heap_crowd_is(&c, crowd * 2));
  ck_assert(heap_crowd_is(&c, 0));
  ck_assert(!heap_crowd_is(&c, 0));
}
END_TEST

int main(void)
{
  Suite *s = suite_create("heap");
  TCase *t = tcase_create("heap");
  tcase_add_test(t, test_kept);
  tcase_add_test(t, test_crowd);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
