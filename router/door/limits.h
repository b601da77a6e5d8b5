/* The limits of a router. */
#ifndef ROUTER_LIMITS_H
#define ROUTER_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Names, and members that are over, in one message to a watcher. */
enum { ROUTER_PAGE_MAX = 500 };

/* How much there may be at once, and how long (ms) things may take. A caller is a member, or else a connection. */
struct router_limits {
  size_t services, services_per_caller;
  size_t hosts_per_identity; /* public ones */
  size_t rules_bytes;        /* what all services say of requests */
  size_t streams;            /* of connections, two for each that is bridged */
  size_t streams_per_caller;
  size_t parked, parked_per_caller;   /* of the streams, those that wait for a dial */
  size_t warm, warm_per_watch;        /* raw connections that have said only that they are ready */
  size_t waiting, waiting_per_caller; /* and those that wait for a service or a member to come */
  size_t tokens, tokens_per_caller;
  size_t watchers, watchers_per_caller;
  size_t health_checks; /* that are being answered; the oldest makes room for the next */
  size_t health_watches, health_watches_per_host;
  size_t page;                  /* names, and members that are over, in one message to a watcher: <= ROUTER_PAGE_MAX */
  size_t lost;                  /* members that are over, kept for watchers that come later */
  size_t openings;              /* calls that have not said yet what they want; the oldest makes room for the next */
  size_t answers, answer_bytes; /* answers that are under way; the oldest makes room for the next */
  size_t unsent;                /* connections that a service was not told of yet, because it reads too slowly */
  uint64_t reports;             /* lines of the log that callers may cause at once; then one in each report_ms */
  uint64_t report_ms;
  uint64_t opening_ms; /* from the start of a call to its first message */
  uint64_t token_ms;
  uint64_t dial_ms;  /* from a dial, or an attachment, to its partner's answer */
  uint64_t gone_ms;  /* a service that went so lately may come again: its dials wait */
  uint64_t young_ms; /* all may still come to a router that is so young */
  uint64_t heartbeat_ms;
  uint64_t reset_ms;      /* what is under way to the partner of a broken stream */
  uint64_t leave_ms;      /* what is under way to the one that ends a connection of the first version */
  uint64_t linger_ms;     /* what is under way to its partner */
  uint64_t drain_ms;      /* live connections, after router_drain */
  uint64_t farewell_ms;   /* the last statuses */
  uint64_t stream_age_ms; /* no stream becomes older; 0: they may */
};

struct router_limits router_limits_default(void);

#endif
