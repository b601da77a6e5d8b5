/* Tunnels between sockets of the test and a router that plays the other side: what the tests of tunnels share. */
#ifndef FIXTURE_DAEMON_TUNNELS_H
#define FIXTURE_DAEMON_TUNNELS_H

#include "fixture_daemon_streams.h"

#include "carry/tunnel/answers.h"
#include "carry/tunnel/parked.h"
#include "carry/tunnel/tunnels.h"

#define LIMIT (UINT64_C(3) << 20)

enum { OTHER_MEMBER = 8 }; /* not that of stream_dial */

extern struct world w;
extern struct tunnels *tunnels;
extern struct parked *parked;
extern struct answers *answers;
extern struct tunnels_options options; /* for begin */

extern bool gone;        /* what was closed last is */
extern bool unreached;   /* what was closed last was */
extern bool cut_at_once; /* each that opens */

/* Around the time in which a stream that comes has not opened yet; or NULL. */
extern void (*opening_begins)(void), (*opening_ends)(void);
extern int opened, closed, failed, detached, resumed;
extern struct tunnel *last;
extern char sentence[1024], why_detached[512];
extern const struct address *stream_target; /* what a stream that comes is connected to */
extern enum proxy_version stream_proxy;     /* and how that is told of its client */

static const uint8_t connection[HEADER_CONNECTION_SIZE] = "secret-secret--";

/* ---- Begin and end ---- */

/* From now on it refuses. */
void close_target(void);
void setup(void);
void begin(void);
void begin_connected(void);
void teardown(void);

/* ---- The application's, or the target's, end ---- */

ssize_t peek(int fd);
void expect(int fd, const char *text);
void expect_end(int fd);

/* A socket tells it once. */
void expect_reset(int fd);
void put(int fd, const char *text);
bool target_came(int *fd);
int accept_target(void);

/* Nobody has dialled it since. */
void expect_no_target(void);

/* A connection that a forward accepted. Returns the application's end. */
int forward(const char *service);

/* ---- The router's, and the other side's, end ---- */

struct stream *stream_at(int i);
void answer(struct stream *s, uint64_t received);
bool state_is(const char *state);
void lose(struct stream *s);

/* A forward whose other side has answered. */
int open_forward(struct stream **out);

/* A stream of ours, by a token, on which the other side says this. */
struct stream *arrive(const struct header *h);

/* What comes after a dial of `connection`, which the other side was answered, and has received so much. */
struct header attachment(uint64_t epoch, uint64_t received);

/* A connection to our service whose target has answered. Returns the target's end. */
int open_service(struct stream **out);
bool is(const struct stream *s, const char *text);
void no_secret(void);
TCase *add_case(Suite *suite, const char *name);

#endif
