/* mmrouter's command line. Pure: no file is opened, nothing is printed. */
#ifndef ROUTER_OPTIONS_H
#define ROUTER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_LISTEN_MAX = 300, OPTIONS_GATE_MAX = 16 };

struct options {
  const char *listen; /* HOST:PORT; these point into argv, or at listen_default */
  enum { LISTEN_GIVEN, LISTEN_PORT, LISTEN_DEFAULT } listen_from; /* the option, PORT in the environment, or neither */
  const char *streams;                                            /* HOST:PORT for raw streams alone, or NULL */
  const char *tls_cert, *tls_key;
  const char *key;                  /* a file */
  bool open;                        /* given, or on loopback without a key */
  const char *domain, *own_domains; /* for public names; NULL: none */
  const char *ports;                /* as it was given, or NULL */
  uint16_t first_port, last_port;   /* of it */
  struct {
    const char *http, *https, *certs, *webroot, *visitors, *trust;
  } gate;          /* as they were given; NULL: not */
  const char *log; /* as it was given, or NULL */
  bool log_json;
  const char *max_stream_age; /* as it was given, or NULL */
  unsigned stream_age_s;      /* 0: streams may become as old as they like */
  bool help, version;
  char listen_default[OPTIONS_LISTEN_MAX];
};

/* `port` is what stands in the environment's PORT, or NULL. 0, or -1 with a sentence in `why`. `o` must stay where it
 * is. */
int router_options_parse(struct options *o, int argc, const char *const argv[], const char *port, char *why,
                         size_t why_size);

/* The arguments of a gate, up to a NULL. False: there is to be none. */
bool router_options_gate(const struct options *o, const char *out[OPTIONS_GATE_MAX]);

/* What --help prints. Returns the length, as snprintf does. */
int router_options_usage(char *out, size_t size);

/* Whether an address HOST:PORT is only reached from this machine. */
bool router_options_loopback(const char *listen);

#endif
