/* Raw streams to the router of a fixture, by hand. */
#ifndef FIXTURE_ROUTER_RAW_H
#define FIXTURE_ROUTER_RAW_H

#include "fixture_router_clients.h"
#include "proto/wire/raw.h"

/* What a watch was given, and the next counter. */
struct passport {
  struct fixture *f;
  char address[16]; /* "": nothing is offered */
  int port;
  uint8_t watch[RAW_WATCH_SIZE];
  struct raw_keys keys;
  uint64_t counter;
};

/* Of a watch whose first message came last, as member_joins leaves it. */
void passport_take(struct passport *p, struct fixture *f, const struct stream *watch);

/* Connected to the router, non-blocking. */
int raw_connect(const struct passport *p);
/* The next preamble. Returns its size. */
size_t raw_preamble_make(struct passport *p, uint8_t out[RAW_PREAMBLE_MAX], const void *first, size_t size);
size_t raw_preamble_of(struct passport *p, uint8_t out[RAW_PREAMBLE_MAX], const struct header *h);
void raw_send(int fd, const void *bytes, size_t size);
/* A connection that begins with this. */
int raw_open_with(struct passport *p, const struct header *h);
int raw_dial(struct passport *p, const char *name, struct who who);
int raw_park(struct passport *p, struct who who);
int raw_greet(struct passport *p);

/* Waits for so much. */
void raw_read(struct fixture *f, int fd, void *out, size_t size);
void raw_hears(struct fixture *f, int fd, const char *text);
/* The word that answers the preamble with this counter. */
struct raw_word raw_word_read(const struct passport *p, int fd, uint64_t counter);
/* That word is a status; nothing follows. Closes it. */
void raw_refused(const struct passport *p, int fd, uint64_t counter, enum rpc_status status, const char *part);
/* It ends, in order or by a reset. Closes it. */
void raw_ends(struct fixture *f, int fd);
void raw_is_reset(struct fixture *f, int fd);
/* Nothing comes and it does not end, as far as can be seen once something else has been answered. */
bool raw_is_silent(int fd);
/* The service's side of a pair hears what the forward began with. */
void raw_begins(const struct passport *p, int fd, uint64_t counter, struct header *out);

#endif
