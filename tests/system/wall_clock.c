/* A wall clock that can be set, for one process: loaded before its libraries. The file named by MM_WALL_CLOCK has the
 * offset in seconds, a signed number of eight bytes, which whoever writes to it changes at once.
 *
 * What sleeps until a time of that clock sleeps in the kernel, which has another one: so it sleeps in short pieces
 * here, and looks at the clock after each.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_NS = 20000000 };

static int64_t none;
static const volatile int64_t *offset = &none;

__attribute__((constructor)) static void begin(void)
{
  const char *path = getenv("MM_WALL_CLOCK");
  int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *page = fd >= 0 ? mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (page != MAP_FAILED)
    offset = page;
  if (fd >= 0)
    close(fd);
}

static long call(long number, const long a[6])
{
  static long (*real)(long, ...);
  if (real == NULL)
    real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
  long rc = call(SYS_clock_gettime, (long[6]){clock_id, (long)tp});
  if (rc == 0 && clock_id == CLOCK_REALTIME)
    tp->tv_sec += *offset;
  return (int)rc;
}

static int64_t nanoseconds(const struct timespec *t)
{
  return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/* A futex that is waited for until a time of the wall clock. */
static long wait_until(const long a[6])
{
  int64_t until = nanoseconds((const struct timespec *)a[3]);
  for (;;) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t left = until - nanoseconds(&now);
    if (left <= 0) {
      errno = ETIMEDOUT;
      return -1;
    }
    struct timespec piece = {0, left < PIECE_NS ? left : PIECE_NS};
    /* Without the clock's flag a wait for any bit takes a time of the monotonic clock; the plain wait takes a length.
     */
    long rc = call(SYS_futex, (long[6]){a[0], FUTEX_WAIT | FUTEX_PRIVATE_FLAG, a[2], (long)&piece});
    if (rc == 0 || errno != ETIMEDOUT)
      return rc;
  }
}

long syscall(long sysno, ...)
{
  long a[6];
  va_list args;
  va_start(args, sysno);
  for (size_t i = 0; i < 6; i++)
    a[i] = va_arg(args, long);
  va_end(args);
  int waits = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
  if (sysno == SYS_futex && (a[1] & ~FUTEX_PRIVATE_FLAG) == waits && a[3] != 0)
    return wait_until(a);
  return call(sysno, a);
}
