/* The hosts that are held, by whom, and for what: one identity has a host, with all its paths, and has it as long as
 * any of its services does. A host that was left is its former identity's for a while, because that may come back.
 * Pure; one thread. */
#ifndef ROUTER_HOSTS_H
#define ROUTER_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/identity.h"

struct host;
struct hosts;

/* Who asks, or left. */
struct host_claim {
  uint8_t identity[IDENTITY_SIZE];
  uint8_t member[HEADER_MEMBER_SIZE];
  uint64_t now; /* ms */
};

/* Each identity may hold `max` hosts. A host that was left is kept for `kept_ms`, unless `stayed` says that the member
 * which left it has been there ever since. NULL when memory is short. */
struct hosts *hosts_open(size_t max, uint64_t kept_ms,
                         bool (*stayed)(const uint8_t member[HEADER_MEMBER_SIZE], uint64_t since, void *arg),
                         void *arg);
/* None may be held any more. */
void hosts_close(struct hosts *hs); /* NULL is fine */

/* Holds it once more. 0; -EEXIST: another identity has it; -EBUSY: this one has it for the other kind (`tls` or not);
 * -ENOSPC; -ENOMEM. */
int hosts_hold(struct hosts *hs, const char *name, bool tls, const struct host_claim *claim, struct host **out);
/* Whether anybody holds it. */
bool hosts_is_held(const struct hosts *hs, const char *name);
void hosts_leave(struct hosts *hs, struct host *h, const struct host_claim *claim);

#endif
