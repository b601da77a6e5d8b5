/* What the parts of the load generator share. A part runs a command until it is done, or until its standard input ends,
 * so that nothing of it outlives who started it. What fails ends the program: there is nothing to go on with. */
#ifndef MM_BENCH_LOAD_H
#define MM_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The first byte on a connection tells the server what it is for. */
enum load_role {
  LOAD_ECHO = 'E',    /* what comes goes back, this byte too */
  LOAD_SINK = 'S',    /* the server reads and counts */
  LOAD_SOURCE = 'G',  /* the server sends without end */
  LOAD_NEGLECT = 'N', /* the server never reads again */
};

/* Bulk is sent in blocks of LOAD_SEND out of LOAD_DATA bytes in turn, and read with room for LOAD_RECEIVE. */
enum { LOAD_SEND = 64 << 10, LOAD_RECEIVE = 256 << 10, LOAD_DATA = 16 << 20 };

/* One direction of one connection. `moved` is on a cache line of its own, and only its thread writes it. */
struct load_flow {
  _Alignas(64) _Atomic uint64_t moved;
  int fd;
  size_t offset;
};

_Noreturn void load_fail(const char *what);
double load_now(void); /* seconds, monotonic */
void load_pause(double seconds);

/* "PORT" (on 127.0.0.1) or "ADDRESS:PORT". */
int load_listen(const char *at);
int load_dial(const char *to, bool nonblocking);

void load_data_fill(void);
void load_send_all(struct load_flow *flow);    /* until the connection ends */
void load_receive_all(struct load_flow *flow); /* the same */
void load_thread(void *(*work)(void *), void *arg);

/* Times in microseconds, bounded in number: of what is beyond, only the first are kept. */
struct load_samples {
  uint32_t *values;
  size_t count, room;
};

void load_sample(struct load_samples *samples, double seconds);
void load_samples_print(struct load_samples *samples); /* "COUNT P50 P99\n" */

int load_serve(char **arguments);
int load_flood(char **arguments);
int load_ping(char **arguments);
int load_first(char **arguments);
int load_connect(char **arguments);
int load_hold(char **arguments);
int load_spawn(char **arguments);

#endif
