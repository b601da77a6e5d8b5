/* What the other side is told of the local socket's progress. An ack rides on whatever is sent next; when it is due and
 * nothing is, it goes alone. One that is not due yet waits for the set's clock, which runs only while one does; for a
 * greeting the clock that strikes each second will do.
 *
 * The header that answers a dial waits in the same way: what the target says first mostly comes within that time, and
 * a message of its own wakes each program on the way once more.
 */
#include <time.h>

#include "pump_internal.h"

uint64_t pump_now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void pump_ack_init(struct pump *p)
{
  pthread_mutex_init(&p->acks.lock, NULL);
  acks_start(&p->acks.acks);
  pump_ack_stop(p);
}

void pump_ack_free(struct pump *p)
{
  pthread_mutex_destroy(&p->acks.lock);
}

void pump_ack_taken(struct pump *p, uint64_t bytes, uint64_t messages)
{
  uint64_t now = pump_now_us();
  pthread_mutex_lock(&p->acks.lock);
  acks_taken(&p->acks.acks, bytes, messages, now);
  pthread_mutex_unlock(&p->acks.lock);
}

void pump_ack_greet(struct pump *p)
{
  pthread_mutex_lock(&p->acks.lock);
  acks_greet(&p->acks.acks, pump_now_us());
  pthread_mutex_unlock(&p->acks.lock);
}

void pump_ack_stop(struct pump *p)
{
  atomic_store_explicit(&p->acks.stopped, true, memory_order_relaxed);
}

void pump_ack_restart(struct pump *p)
{
  pthread_mutex_lock(&p->acks.lock);
  acks_restart(&p->acks.acks);
  p->acks.answer_at = 0;
  pthread_mutex_unlock(&p->acks.lock);
  atomic_store_explicit(&p->acks.stopped, false, memory_order_relaxed);
}

bool pump_ack_due(struct pump *p)
{
  if (atomic_load_explicit(&p->acks.stopped, memory_order_relaxed))
    return false;
  uint64_t now = pump_now_us();
  pthread_mutex_lock(&p->acks.lock);
  bool answers = p->acks.answer_at != 0 && p->acks.answer_at <= now;
  bool due = answers || acks_due(&p->acks.acks, now);
  pthread_mutex_unlock(&p->acks.lock);
  return due;
}

static bool is_unsaid(struct pump *p)
{
  if (atomic_load_explicit(&p->acks.stopped, memory_order_relaxed))
    return false;
  pthread_mutex_lock(&p->acks.lock);
  bool unsaid = p->acks.answer_at != 0 || acks_unsaid(&p->acks.acks);
  pthread_mutex_unlock(&p->acks.lock);
  return unsaid;
}

/* ---- Our header ---- */

static void set_answer_at(struct pump *p, uint64_t at)
{
  pthread_mutex_lock(&p->acks.lock);
  p->acks.answer_at = at;
  pthread_mutex_unlock(&p->acks.lock);
}

void pump_ack_answer_later(struct pump *p)
{
  set_answer_at(p, pump_now_us() + ACKS_DELAY_US);
}

bool pump_ack_answer_waits(struct pump *p)
{
  pthread_mutex_lock(&p->acks.lock);
  bool waits = p->acks.answer_at != 0;
  pthread_mutex_unlock(&p->acks.lock);
  return waits;
}

void pump_ack_answered(struct pump *p)
{
  set_answer_at(p, 0);
}

size_t pump_ack_write(struct pump *p, uint8_t out[PAYLOAD_ACK_MAX])
{
  struct ack ack = {0};
  uint64_t limit = pump_limit(p);
  if (atomic_load_explicit(&p->acks.stopped, memory_order_relaxed))
    return 0;
  pthread_mutex_lock(&p->acks.lock);
  bool any = acks_any(&p->acks.acks);
  if (any)
    ack = acks_say(&p->acks.acks, atomic_load_explicit(&p->queued, memory_order_relaxed), pump_now_us());
  pthread_mutex_unlock(&p->acks.lock);
  ack.limit = limit;
  return any ? payload_ack(out, &ack) : 0;
}

/* ---- The clock ---- */

static void wait_for_clock(struct pump *p)
{
  struct pump_set *set = p->set;
  if (atomic_exchange_explicit(&p->acks.waiting, true, memory_order_acq_rel))
    return;
  pump_ref(p);
  pthread_mutex_lock(&set->clock_lock);
  p->acks.next = set->waiting;
  set->waiting = p;
  bool start = !set->clock_runs;
  set->clock_runs = true;
  pthread_mutex_unlock(&set->clock_lock);
  if (start)
    pump_set_start_clock(set);
}

void pump_ack_go(struct pump *p)
{
  if (pump_ack_due(p))
    pump_up_go(p);
  if (is_unsaid(p))
    wait_for_clock(p);
}

bool pump_ack_clock(struct pump_set *set)
{
  pthread_mutex_lock(&set->clock_lock);
  struct pump *next = set->waiting;
  set->waiting = NULL;
  pthread_mutex_unlock(&set->clock_lock);
  while (next != NULL) {
    struct pump *p = next;
    next = p->acks.next;
    atomic_store_explicit(&p->acks.waiting, false, memory_order_release);
    pump_ack_go(p);
    pump_unref(p);
  }
  pthread_mutex_lock(&set->clock_lock);
  set->clock_runs = set->waiting != NULL;
  bool runs = set->clock_runs;
  pthread_mutex_unlock(&set->clock_lock);
  return runs;
}
