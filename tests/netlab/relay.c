/* A link, for tests and measurements: moves IP packets between two network namespaces, each of which gets a tun device
 * that lives as long as this process. Each direction has a rate with a queue before it, a delay behind it, and a loss.
 *
 *     relay MTU SEED  NAMESPACE DEVICE  NAMESPACE DEVICE  RATE DELAY QUEUE LOSS  RATE DELAY QUEUE LOSS
 *
 * A namespace is a path. Then the two directions, from the first device to the second and back: bit/s (0: any),
 * microseconds, bytes, and how many packets of a million are lost. It says "ready", and then hears lines:
 *
 *     hole [0|1]   nothing passes any more (in one direction), not even what is under way
 *     pass [0|1]   it passes again
 *     count        answers with one line for each direction: packets and bytes that passed, then how many packets were
 *                  refused by the queue, lost, and swallowed by the hole
 *
 * The end of its input ends it.
 *
 * Time: a packet's fate is decided when it is read, so that a queue is a ring of packets in the order of their
 * departure. While packets come, the devices are read every TICK; only a quiet link waits for a device.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
  SECOND = 1000000000,
  TICK = 100000,    /* ns between two looks at a busy device */
  SLACK = 2 * TICK, /* a packet that is read now may have come that long ago, so the line need not have been idle */
  BUSY = 1000000,   /* ns without a packet until the link is quiet */
  BATCH = 256,      /* packets read in a row from one device */
  ALIGN = 16,
  ARGUMENTS = 15,
};

struct packet {
  uint64_t due;
  uint32_t size, stride;
  char data[];
};

struct direction {
  int from, to;
  uint64_t rate, delay, queue, loss; /* bit/s, ns, bytes, ppm */
  uint64_t line_free;                /* when the last packet's last bit has left the queue */
  uint64_t random;
  bool hole;
  /* A packet starts below `size` and may run over it, by `room` at most. */
  char *ring;
  size_t size, room, head, tail, count;
  uint64_t packets, bytes, refused, lost, swallowed;
};

struct relay {
  struct direction directions[2];
  int quiet, busy; /* epoll descriptors: with the devices, and without */
  char words[256];
  size_t said;
};

static void fail(const char *what)
{
  fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/* ---- The ring ---- */

static void ring_make(struct direction *d, size_t mtu)
{
  size_t unlimited = (size_t)64 << 20;
  d->room = (sizeof(struct packet) + sizeof(struct virtio_net_hdr) + mtu + ALIGN) / ALIGN * ALIGN;
  d->size = d->rate ? 2 * (d->rate / 8 * (d->delay / 1000) / 1000000 + d->queue) + (1 << 20) : unlimited;
  d->ring = aligned_alloc(ALIGN, (d->size + d->room + ALIGN - 1) / ALIGN * ALIGN);
  if (!d->ring)
    fail("memory");
}

static struct packet *ring_place(struct direction *d)
{
  if (d->count == 0)
    d->head = d->tail = 0;
  bool fits = d->count == 0 || d->tail > d->head || d->tail + d->room <= d->head;
  return fits ? (struct packet *)(void *)(d->ring + d->tail) : NULL;
}

static void ring_put(struct direction *d, struct packet *p)
{
  p->stride = (uint32_t)((sizeof(*p) + p->size + ALIGN - 1) / ALIGN * ALIGN);
  d->tail += p->stride;
  if (d->tail >= d->size)
    d->tail = 0;
  d->count++;
}

static struct packet *ring_first(struct direction *d)
{
  return d->count ? (struct packet *)(void *)(d->ring + d->head) : NULL;
}

static void ring_drop(struct direction *d, const struct packet *p)
{
  d->head += p->stride;
  if (d->head >= d->size)
    d->head = 0;
  d->count--;
}

/* ---- One direction ---- */

/* When the packet is due at the other end; 0: never. */
static uint64_t fate(struct direction *d, uint64_t size, uint64_t time)
{
  uint64_t start = d->line_free > time - SLACK ? d->line_free : time - SLACK;
  uint64_t waits = start > time ? start - time : 0;
  if (d->hole) {
    d->swallowed++;
    return 0;
  }
  if (d->rate && waits / 1000 * (d->rate / 8) / 1000000 + size > d->queue) {
    d->refused++;
    return 0;
  }
  d->line_free = start + (d->rate ? size * 8 * SECOND / d->rate : 0);
  if (draw(&d->random) % 1000000 < d->loss) {
    d->lost++;
    return 0;
  }
  return (d->line_free > time ? d->line_free : time) + d->delay;
}

/* Reads what the device has; how many packets that were. */
static int take(struct direction *d, uint64_t time)
{
  int count = 0;
  for (; count < BATCH; count++) {
    char waste[1];
    struct packet *p = ring_place(d);
    ssize_t size = p ? read(d->from, p->data, d->room - sizeof(*p)) : read(d->from, waste, sizeof(waste));
    if (size < 0 && errno != EINTR)
      break;
    if (!p) {
      d->refused++;
      continue;
    }
    if (size <= (ssize_t)sizeof(struct virtio_net_hdr))
      continue;
    p->size = (uint32_t)size;
    p->due = fate(d, (uint64_t)size - sizeof(struct virtio_net_hdr), time);
    if (p->due)
      ring_put(d, p);
  }
  return count;
}

/* Writes what is due; when the next packet is, or UINT64_MAX. */
static uint64_t deliver(struct direction *d, uint64_t time)
{
  struct packet *p;
  while ((p = ring_first(d)) && p->due <= time) {
    if (d->hole) {
      d->swallowed++;
    } else if (write(d->to, p->data, p->size) == (ssize_t)p->size) {
      d->packets++;
      d->bytes += p->size - sizeof(struct virtio_net_hdr);
    } else {
      d->lost++; /* a device that is down */
    }
    ring_drop(d, p);
  }
  return p ? p->due : UINT64_MAX;
}

/* ---- What it is told ---- */

static void obey(struct relay *r, const char *line)
{
  size_t first = 0, last = 1;
  if (strlen(line) == 6 && (line[5] == '0' || line[5] == '1'))
    first = last = (size_t)(line[5] - '0');
  for (size_t i = first; i <= last; i++) {
    struct direction *d = &r->directions[i];
    if (!strncmp(line, "hole", 4))
      d->hole = true;
    else if (!strncmp(line, "pass", 4))
      d->hole = false;
    else if (!strcmp(line, "count"))
      printf("%ju %ju %ju %ju %ju\n", (uintmax_t)d->packets, (uintmax_t)d->bytes, (uintmax_t)d->refused,
             (uintmax_t)d->lost, (uintmax_t)d->swallowed);
  }
  fflush(stdout);
}

/* False at the end. */
static bool hear(struct relay *r)
{
  ssize_t size = read(STDIN_FILENO, r->words + r->said, sizeof(r->words) - r->said);
  if (size <= 0)
    return false;
  r->said += (size_t)size;
  char *end, *line = r->words;
  while ((end = memchr(line, '\n', r->said - (size_t)(line - r->words)))) {
    *end = 0;
    obey(r, line);
    line = end + 1;
  }
  r->said -= (size_t)(line - r->words);
  memmove(r->words, line, r->said);
  return r->said < sizeof(r->words);
}

/* ---- All of it ---- */

/* A tun device belongs to the namespace in which it was opened. Checksums are left to the receiver, who need not look:
 * the header that says so passes as it is. */
static int device(const char *space, const char *name)
{
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  int net = open(space, O_RDONLY | O_CLOEXEC);
  if (net < 0 || setns(net, CLONE_NEWNET))
    fail(space);
  close(net);
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tun < 0)
    fail("/dev/net/tun");
  if (strlen(name) >= IFNAMSIZ)
    errno = ENAMETOOLONG, fail(name);
  memcpy(request.ifr_name, name, strlen(name));
  if (ioctl(tun, TUNSETIFF, &request) || ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM))
    fail(name);
  return tun;
}

static void watch(int set, int descriptor)
{
  struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
  if (epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event))
    fail("epoll");
}

static uint64_t number(const char *word)
{
  char *end;
  uint64_t value = strtoull(word, &end, 10);
  if (!*word || *end)
    errno = EINVAL, fail(word);
  return value;
}

static void start(struct relay *r, char **word)
{
  uint64_t mtu = number(word[0]), seed = number(word[1]);
  int ends[2] = {device(word[2], word[3]), device(word[4], word[5])};
  r->quiet = epoll_create1(EPOLL_CLOEXEC);
  r->busy = epoll_create1(EPOLL_CLOEXEC);
  if (r->quiet < 0 || r->busy < 0 || prctl(PR_SET_TIMERSLACK, 1))
    fail("start");
  watch(r->quiet, STDIN_FILENO);
  watch(r->busy, STDIN_FILENO);
  for (size_t i = 0; i < 2; i++) {
    struct direction *d = &r->directions[i];
    char **setting = word + 6 + 4 * i;
    d->from = ends[i];
    d->to = ends[!i];
    d->rate = number(setting[0]);
    d->delay = number(setting[1]) * 1000;
    d->queue = number(setting[2]);
    d->loss = number(setting[3]);
    d->random = seed + i;
    ring_make(d, mtu);
    watch(r->quiet, d->from);
  }
}

int main(int argc, char **argv)
{
  static struct relay r;
  if (argc != ARGUMENTS) {
    fprintf(stderr, "usage: relay MTU SEED  NAMESPACE DEVICE  NAMESPACE DEVICE  "
                    "RATE DELAY QUEUE LOSS  RATE DELAY QUEUE LOSS\n");
    return 2;
  }
  start(&r, argv + 1);
  /* A link does not stand still because the machine is busy. Where that may not be had, it sometimes does. */
  struct sched_param first = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_RR, &first);
  puts("ready");
  fflush(stdout);
  uint64_t last = 0;
  for (;;) {
    uint64_t time = now(), next = UINT64_MAX, due;
    for (size_t i = 0; i < 2; i++)
      if (take(&r.directions[i], time))
        last = time;
    for (size_t i = 0; i < 2; i++)
      next = (due = deliver(&r.directions[i], time)) < next ? due : next;
    bool busy = time - last < BUSY;
    uint64_t wait = busy ? TICK : next > time + TICK ? next - time : TICK;
    struct timespec timeout = {.tv_sec = (time_t)(wait / SECOND), .tv_nsec = (long)(wait % SECOND)};
    struct epoll_event events[3];
    int count = epoll_pwait2(busy ? r.busy : r.quiet, events, 3, busy || next < UINT64_MAX ? &timeout : NULL, NULL);
    for (int i = 0; i < count; i++)
      if (events[i].data.fd == STDIN_FILENO && !hear(&r))
        return 0;
  }
}
