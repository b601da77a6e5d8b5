/* One table: a row is an option's parsing, its place, and its line in --help. */
#include "options.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/host/loopback.h"
#include "proto/host/spelling.h"
#include "router/names/grants.h"

struct row {
  const char *name;
  char letter;       /* 0: none */
  const char *value; /* what it is called in --help; NULL: a switch */
  size_t at;         /* a const char *, or a bool for a switch */
  const char *help;
};

static const struct row rows[] = {
    {"--listen", 0, "HOST:PORT", offsetof(struct options, listen),
     "where to listen; else 127.0.0.1:7000, or 0.0.0.0:$PORT if PORT is in the environment"},
    {"--streams", 0, "HOST:PORT", offsetof(struct options, streams),
     "take raw streams here; else they come by the same port as all else"},
    {"--tls-cert", 0, "FILE", offsetof(struct options, tls_cert), "serve TLS, with this certificate chain (PEM)"},
    {"--tls-key", 0, "FILE", offsetof(struct options, tls_key), "and this private key (PEM)"},
    {"--key", 0, "FILE", offsetof(struct options, key),
     "let in only callers that show the key in the first line of FILE"},
    {"--open", 0, NULL, offsetof(struct options, open), "let everybody in; needed without --key, except on loopback"},
    {"--max-stream-age", 0, "SECONDS", offsetof(struct options, max_stream_age),
     "end streams of this age, which a front would cut; 0, the default: never"},
    {"--domain", 0, "HOST", offsetof(struct options, domain),
     "below this domain services may have public names, of one label each"},
    {"--own-domains", 0, "HOSTS", offsetof(struct options, own_domains),
     "and such hosts beside it: app.example.com,*.example.org"},
    {"--ports", 0, "RANGE", offsetof(struct options, ports),
     "public TCP ports that services may have, as 20000-20999; with --domain"},
    {"--http", 0, "ADDRESS", offsetof(struct options, gate.http),
     "run an mmgate, too, which takes HTTP here for the services that have public names: PORT, HOST:PORT, unix:/PATH"},
    {"--https", 0, "ADDRESS", offsetof(struct options, gate.https), "the same for HTTPS"},
    {"--certs", 0, "DIR", offsetof(struct options, gate.certs), "the certificates for that, and their keys"},
    {"--acme-webroot", 0, "DIR", offsetof(struct options, gate.webroot),
     "where certbot and the like put their challenges"},
    {"--public", 0, "http[s][:PORT]", offsetof(struct options, gate.visitors),
     "what visitors type, where a front stands before that gate"},
    {"--trust", 0, "NETWORKS", offsetof(struct options, gate.trust),
     "such fronts, whose word that gate takes for who the client is: 10.0.0.0/8,unix"},
    {"--log", 0, "FORMAT", offsetof(struct options, log),
     "how lines of the log look: text, the default, or json, an object on each line"},
    {"--help", 'h', NULL, offsetof(struct options, help), "print this"},
    {"--version", 'V', NULL, offsetof(struct options, version), "print the version"},
};

enum { ROWS = sizeof rows / sizeof *rows, AGE_DIGITS_MAX = 7 };

__attribute__((format(printf, 3, 4))) static int fail(char *why, size_t why_size, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  vsnprintf(why, why_size, format, values);
  va_end(values);
  return -1;
}

static const struct row *row_find(const char *argument, size_t size)
{
  for (size_t i = 0; i < ROWS; i++) {
    if (strlen(rows[i].name) == size && memcmp(rows[i].name, argument, size) == 0)
      return &rows[i];
    if (size == 2 && argument[0] == '-' && rows[i].letter && argument[1] == rows[i].letter)
      return &rows[i];
  }
  return NULL;
}

/* With what was probably meant: an option that is called nearly so, or else the only one that begins with the letter.
 */
static int refuse_unknown(const char *argument, size_t size, char *why, size_t why_size)
{
  const struct row *meant = NULL;
  size_t begin_so = 0;
  if (argument[0] != '-')
    return fail(why, why_size, "%.300s is not an option; an address is given as --listen HOST:PORT; try --help",
                argument);
  for (size_t i = 0; i < ROWS && !meant; i++) {
    if (argument[1] == '-' && spelling_near(argument + 2, size - 2, rows[i].name + 2))
      meant = &rows[i];
  }
  for (size_t i = 0; i < ROWS && size == 2; i++) {
    if (rows[i].value && rows[i].name[2] == argument[1]) {
      meant = &rows[i];
      begin_so++;
    }
  }
  if (!meant || begin_so > 1)
    return fail(why, why_size, "%.300s is not an option; try --help", argument);
  return fail(why, why_size, "%.300s is not an option; did you mean %s%s%s?", argument, meant->name,
              meant->value ? " " : "", meant->value ? meant->value : "");
}

static int arguments_read(struct options *o, int argc, const char *const argv[], char *why, size_t why_size)
{
  for (int i = 1; i < argc; i++) {
    const char *argument = argv[i];
    size_t size = strcspn(argument, "=");
    const struct row *row = row_find(argument, size);
    if (!row)
      return refuse_unknown(argument, size, why, why_size);
    char *place = (char *)o + row->at;
    if (!row->value) {
      if (argument[size])
        return fail(why, why_size, "%s takes no value", row->name);
      *(bool *)place = true;
      continue;
    }
    const char *value = argument[size] ? argument + size + 1 : i + 1 < argc ? argv[++i] : "";
    if (!*value)
      return fail(why, why_size, "%s needs a value", row->name);
    if (*(const char **)place)
      return fail(why, why_size, "%s is given twice", row->name);
    *(const char **)place = value;
  }
  return 0;
}

/* The host of HOST:PORT or [V6]:PORT; NULL when it is neither. */
static const char *address_port(const char *address, const char **host, size_t *host_size)
{
  const char *colon = strrchr(address, ':');
  if (!colon)
    return NULL;
  *host = address;
  *host_size = (size_t)(colon - address);
  if (address[0] == '[') {
    if (*host_size < 2 || colon[-1] != ']')
      return NULL;
    *host += 1;
    *host_size -= 2;
  } else if (memchr(address, ':', *host_size)) {
    return NULL;
  }
  return *host_size > 0 ? colon + 1 : NULL;
}

static bool port_valid(const char *port)
{
  size_t size = strlen(port);
  if (size < 1 || size > 5 || strspn(port, "0123456789") != size)
    return false;
  unsigned number = 0;
  for (; *port; port++)
    number = number * 10 + (unsigned)(*port - '0');
  return number <= 65535;
}

static bool host_valid(const char *host, size_t size)
{
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
  for (size_t i = 0; i < size; i++) {
    if (!strchr(allowed, host[i]))
      return false;
  }
  return true;
}

bool router_options_loopback(const char *listen)
{
  const char *host;
  size_t size;
  char text[INET6_ADDRSTRLEN] = {0};
  if (!address_port(listen, &host, &size) || size >= sizeof text)
    return false;
  memcpy(text, host, size);
  return loopback_is_host(text);
}

static int address_check(const char *option, const char *address, char *why, size_t why_size)
{
  const char *host;
  size_t size;
  const char *given = strlen(address) < OPTIONS_LISTEN_MAX ? address_port(address, &host, &size) : NULL;
  if (!given || !host_valid(host, size))
    return fail(why, why_size, "%s takes HOST:PORT or [V6]:PORT, not %.300s; all addresses are [::]:PORT", option,
                address);
  if (!port_valid(given))
    return fail(why, why_size, "%s takes HOST:PORT, and the port of %.300s is not a number up to 65535", option,
                address);
  return 0;
}

/* Once `listen` is chosen. */
static int streams_check(const struct options *o, char *why, size_t why_size)
{
  if (!o->streams)
    return 0;
  if (address_check("--streams", o->streams, why, why_size) != 0)
    return -1;
  if (o->tls_cert)
    return fail(why, why_size, "--streams and --tls-cert exclude each other: raw streams are not sealed by TLS");
  const char *port = strrchr(o->streams, ':') + 1;
  if (strcmp(o->streams, o->listen) == 0 && strspn(port, "0") != strlen(port))
    return fail(why, why_size, "%s is where the router listens; without --streams it takes raw streams there, too",
                o->streams);
  return 0;
}

static int listen_choose(struct options *o, const char *port, char *why, size_t why_size)
{
  if (o->listen)
    return address_check("--listen", o->listen, why, why_size);
  if (port && *port && !port_valid(port))
    return fail(why, why_size, "PORT in the environment is not a number up to 65535: %.300s", port);
  snprintf(o->listen_default, sizeof o->listen_default, "%s:%s", port && *port ? "0.0.0.0" : "127.0.0.1",
           port && *port ? port : "7000");
  o->listen_from = port && *port ? LISTEN_PORT : LISTEN_DEFAULT;
  o->listen = o->listen_default;
  return 0;
}

static int age_read(struct options *o, char *why, size_t why_size)
{
  const char *text = o->max_stream_age;
  if (!text)
    return 0;
  size_t size = strlen(text);
  if (size > AGE_DIGITS_MAX || strspn(text, "0123456789") != size)
    return fail(why, why_size, "--max-stream-age takes a number of seconds, at most 9999999, not %.300s", text);
  for (; *text; text++)
    o->stream_age_s = o->stream_age_s * 10 + (unsigned)(*text - '0');
  return 0;
}

static int log_read(struct options *o, char *why, size_t why_size)
{
  o->log_json = o->log && strcmp(o->log, "json") == 0;
  if (!o->log || o->log_json || strcmp(o->log, "text") == 0)
    return 0;
  return fail(why, why_size, "--log takes text or json, not %.300s", o->log);
}

static int names_check(struct options *o, char *why, size_t why_size)
{
  const char *phrase;
  if (o->domain && grants_check_domain(o->domain, &phrase) != 0)
    return fail(why, why_size, "--domain cannot be %.300s: %s", o->domain, phrase);
  if (o->own_domains && grants_check_own(o->own_domains, &phrase) != 0)
    return fail(why, why_size, "--own-domains cannot be %.300s: %s", o->own_domains, phrase);
  struct grants ports = {0};
  if (o->ports && grants_read_ports(&ports, o->ports, &phrase) != 0)
    return fail(why, why_size, "--ports cannot be %.300s: %s", o->ports, phrase);
  if (o->ports && !o->domain)
    return fail(why, why_size, "--ports needs --domain HOST, the host by which the ports are reached");
  o->first_port = ports.first_port;
  o->last_port = ports.last_port;
  return 0;
}

/* What it is told is its own to judge. */
static int gate_check(const struct options *o, char *why, size_t why_size)
{
  bool serves = o->gate.http || o->gate.https;
  if (serves && !o->domain && !o->own_domains)
    return fail(why, why_size, "--%s needs --domain or --own-domains: else no service can have a public name",
                o->gate.http ? "http" : "https");
  if (!serves && o->gate.visitors)
    return fail(why, why_size, "--public needs --http or --https");
  if (!serves && o->gate.trust)
    return fail(why, why_size, "--trust needs --http or --https");
  if (!serves && o->gate.webroot)
    return fail(why, why_size, "--acme-webroot needs --http or --https");
  if (!o->gate.https != !o->gate.certs)
    return fail(why, why_size, "--https and --certs need each other");
  return 0;
}

bool router_options_gate(const struct options *o, const char *out[OPTIONS_GATE_MAX])
{
  size_t count = 0;
  for (size_t i = 0; i < ROWS; i++) {
    const char *const *value = (const char *const *)(const void *)((const char *)o + rows[i].at);
    if (rows[i].at < offsetof(struct options, gate) || rows[i].at >= offsetof(struct options, gate) + sizeof o->gate ||
        *value == NULL)
      continue;
    out[count++] = rows[i].name;
    out[count++] = *value;
  }
  if (count > 0 && o->log_json) {
    out[count++] = "--log";
    out[count++] = "json";
  }
  out[count] = NULL;
  return count > 0;
}

/* Who made a mistake, and asks for help, gets help. */
static bool help_wanted(int argc, const char *const argv[])
{
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return true;
  }
  return false;
}

int router_options_parse(struct options *o, int argc, const char *const argv[], const char *port, char *why,
                         size_t why_size)
{
  *o = (struct options){0};
  if (arguments_read(o, argc, argv, why, why_size) != 0) {
    if (!help_wanted(argc, argv))
      return -1;
    *o = (struct options){.help = true};
    why[0] = '\0';
  }
  if (o->help || o->version)
    return 0;
  if (listen_choose(o, port, why, why_size) != 0 || age_read(o, why, why_size) != 0 ||
      log_read(o, why, why_size) != 0 || names_check(o, why, why_size) != 0 || gate_check(o, why, why_size) != 0)
    return -1;
  if (streams_check(o, why, why_size) != 0)
    return -1;
  if (!o->tls_cert != !o->tls_key)
    return fail(why, why_size, "--tls-cert and --tls-key need each other");
  if (o->key && o->open)
    return fail(why, why_size, "--key and --open exclude each other");
  bool loopback = router_options_loopback(o->listen);
  if (!o->key && !o->open && !loopback)
    return fail(
        why, why_size,
        "%s%s can be reached from other machines: give --key FILE to let in who has the key, or --open to let in "
        "everybody",
        o->listen, o->listen_from == LISTEN_PORT ? ", which PORT in the environment asks for," : "");
  o->open = !o->key;
  return 0;
}

int router_options_usage(char *out, size_t size)
{
  int used = snprintf(out, size,
                      "usage: mmrouter [--listen HOST:PORT] [--streams HOST:PORT] [--tls-cert FILE --tls-key FILE]\n"
                      "                [--key FILE | --open] [--domain HOST] [--own-domains HOSTS]\n"
                      "                [--ports RANGE]\n"
                      "                [--http ADDRESS] [--https ADDRESS --certs DIR] [--acme-webroot DIR]\n"
                      "                [--public http[s][:PORT]] [--trust NETWORKS]\n"
                      "                [--max-stream-age SECONDS] [--log text|json]\n"
                      "The one process of mindmeld that every party can reach: it knows the services, and passes on "
                      "their connections.\n\n");
  for (size_t i = 0; i < ROWS; i++) {
    char name[40], letter[] = {'-', rows[i].letter, ',', ' ', '\0'};
    snprintf(name, sizeof name, "%s%s%s%s", rows[i].letter ? letter : "", rows[i].name, rows[i].value ? " " : "",
             rows[i].value ? rows[i].value : "");
    size_t left = (size_t)used < size ? size - (size_t)used : 0;
    used += snprintf(left ? out + used : NULL, left, "  %-24s  %s\n", name, rows[i].help);
  }
  return used;
}
