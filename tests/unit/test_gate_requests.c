/* The table of requests: which are passed on, and how; which are refused. Each is read as a whole, and byte by byte. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gate/paths/rewrite.h"

#include "runner.h"

struct row {
  const char *bytes;
  size_t size;
  unsigned status;  /* 0: passed on */
  const char *seen; /* what the target gets, without what is added to each; NULL: only that it is passed on */
};

#define GOOD(bytes)                                                                                                    \
  {                                                                                                                    \
    bytes, sizeof(bytes) - 1, 0, NULL                                                                                  \
  }
#define SEEN(bytes, seen)                                                                                              \
  {                                                                                                                    \
    bytes, sizeof(bytes) - 1, 0, seen                                                                                  \
  }
#define BAD(status, bytes)                                                                                             \
  {                                                                                                                    \
    bytes, sizeof(bytes) - 1, status, NULL                                                                             \
  }
#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static const struct row lines[] = {
    SEEN(GET HOST "\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("GET /?a=b&c=%20%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("GET /a|b{c}\"<>^`\\ HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("GET //a/../b HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("PROPFIND /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    GOOD("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN("GET HTTP://A HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: A\r\n\r\n"),
    SEEN("GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?x HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN("GET https://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    SEEN("GET http://a/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET / a HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    BAD(400, "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\r\n"),
    BAD(400, "GET / \r\n"),
    BAD(400, "GET\r\n"),
    BAD(400, "GET / HTTP/1\r\n"),
    BAD(400, "GET / HTTP/1.\r\n"),
    BAD(400, "GET / HTTP/1.1.1\r\n"),
    BAD(400, "GET / HTTP/01.1\r\n"),
    BAD(400, "GET / HTTP/1.10\r\n"),
    BAD(400, "GET / http/1.1\r\n"),
    BAD(400, "GET / HTTP /1.1\r\n"),
    BAD(400, "GET / HTTP/+1.1\r\n"),
    BAD(400, "GET / ICE/1.1\r\n"),
    BAD(505, "GET / HTTP/1.2\r\n"),
    BAD(505, "GET / HTTP/2.0\r\n"),
    BAD(505, "GET / HTTP/0.9\r\n"),
    BAD(505, "GET / HTTP/3.1\r\n"),
    BAD(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD(400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    BAD(400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET /\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "G:T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "G\x80T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(501, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(405, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    BAD(400, "\x16\x03\x01\x02\x00\x01"),
    BAD(400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\nHost: a\n\n"),
    BAD(400, "GET / HTTP/1.1\rHost: a\r\r"),
    BAD(400, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
};

static const struct row hosts[] = {
    GOOD(GET "Host: a.b-c.d_e\r\n\r\n"),
    GOOD(GET "Host: a:80\r\n\r\n"),
    GOOD(GET "Host: 127.0.0.1:65535\r\n\r\n"),
    GOOD(GET "Host: [::1]\r\n\r\n"),
    GOOD(GET "Host: [2001:db8::1.2.3.4]:8080\r\n\r\n"),
    GOOD(GET "Host: a.\r\n\r\n"),
    GOOD(GET "host: xn--bcher-kva.example\r\n\r\n"),
    SEEN(GET "HOST:a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET "Host: \t a \t\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(400, GET "\r\n"),
    BAD(400, GET "Host:\r\n\r\n"),
    BAD(400, GET "Host: \r\n\r\n"),
    BAD(400, GET "Host: a\r\nHost: a\r\n\r\n"),
    BAD(400, GET "Host: a\r\nHost: b\r\n\r\n"),
    BAD(400, GET "Host: a\r\nX: y\r\nhost: b\r\n\r\n"),
    BAD(400, GET "Host: a b\r\n\r\n"),
    BAD(400, GET "Host: a, b\r\n\r\n"),
    BAD(400, GET "Host: a/b\r\n\r\n"),
    BAD(400, GET "Host: a?b\r\n\r\n"),
    BAD(400, GET "Host: a#b\r\n\r\n"),
    BAD(400, GET "Host: u@a\r\n\r\n"),
    BAD(400, GET "Host: http://a\r\n\r\n"),
    BAD(400, GET "Host: a:\r\n\r\n"),
    BAD(400, GET "Host: a:b\r\n\r\n"),
    BAD(400, GET "Host: a:0\r\n\r\n"),
    BAD(400, GET "Host: a:65536\r\n\r\n"),
    BAD(400, GET "Host: a:80:80\r\n\r\n"),
    BAD(400, GET "Host: :80\r\n\r\n"),
    BAD(400, GET "Host: a..b\r\n\r\n"),
    BAD(400, GET "Host: .a\r\n\r\n"),
    BAD(400, GET "Host: .\r\n\r\n"),
    BAD(400, GET "Host: [::1\r\n\r\n"),
    BAD(400, GET "Host: ::1\r\n\r\n"),
    BAD(400, GET "Host: [::1]x\r\n\r\n"),
    BAD(400, GET "Host: [a]\r\n\r\n"),
    BAD(400, GET "Host: \xc3\xa9.example\r\n\r\n"),
    BAD(400, GET "Host: a\\b\r\n\r\n"),
    BAD(400, "GET / HTTP/1.0\r\n\r\n"),
    BAD(400, "OPTIONS * HTTP/1.0\r\n\r\n"),
    BAD(400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
};

static const struct row fields[] = {
    SEEN(GET HOST "X:\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"),
    SEEN(GET HOST "X:  a  b\t \r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: a  b\r\n\r\n"),
    GOOD(GET HOST "X: \xc3\xa9\r\n\r\n"),
    GOOD(GET HOST "X: a:b:c\r\n\r\n"),
    GOOD(GET HOST "!#$%&'*+-.^_`|~09Az: x\r\n\r\n"),
    BAD(400, GET HOST "X : a\r\n\r\n"),
    BAD(400, GET HOST "X\t: a\r\n\r\n"),
    BAD(400, GET HOST "Content-Length : 3\r\n\r\n"),
    BAD(400, GET HOST " X: a\r\n\r\n"),
    BAD(400, GET " X: a\r\nHost: a\r\n\r\n"),
    BAD(400, GET HOST "X: a\r\n b\r\n\r\n"),
    BAD(400, GET HOST "X: a\r\n\tb\r\n\r\n"),
    BAD(400, GET HOST "X: a\r\n \r\n\r\n"),
    BAD(400, GET HOST "X\r\n\r\n"),
    BAD(400, GET HOST ": a\r\n\r\n"),
    BAD(400, GET HOST "X Y: a\r\n\r\n"),
    BAD(400, GET HOST "X(: a\r\n\r\n"),
    BAD(400, GET HOST "X\x80: a\r\n\r\n"),
    BAD(400, GET HOST "\"X\": a\r\n\r\n"),
    BAD(400, GET HOST "X: a\0b\r\n\r\n"),
    BAD(400, GET HOST "X: a\x01\r\n\r\n"),
    BAD(400, GET HOST "X: a\x7f\r\n\r\n"),
    BAD(400, GET HOST "X: a\x0b\r\n\r\n"),
    BAD(400, GET HOST "X: a\rb\r\n\r\n"),
    BAD(400, GET HOST "X: a\nY: b\r\n\r\n"),
    BAD(400, GET HOST "X: a\r\r\n\r\n"),
    BAD(400, GET HOST "X: a\r\n\r"
                      "a"),
    BAD(400, GET HOST "X: a\n\n"),
    BAD(400, GET HOST "\n"),
    SEEN(GET HOST "Connection: X, keep-alive\r\nX: 1\r\nY: 2\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nY: 2\r\n\r\n"),
    SEEN(GET HOST "X: 1\r\nConnection: close\r\nConnection: , x ,\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST "Connection: Host, Cookie, Authorization\r\nCookie: c\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\nCookie: c\r\n\r\n"),
    SEEN(GET HOST
         "TE: trailers\r\nTrailer: x\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST "Upgrade: websocket\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\n\r\n"),
    SEEN(GET HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST
         "X-Forwarded-For: 1\r\nX-Forwarded-Proto: x\r\nX-Forwarded-Host: x\r\nForwarded: x\r\nX-Real-IP: 1\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    SEEN(GET HOST "Expect: 100-Continue\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n"),
    SEEN("GET / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD(417, GET HOST "Expect: 200-ok\r\n\r\n"),
};

static const struct row lengths[] = {
    SEEN(POST "Content-Length: 3\r\n\r\nabc", POST "Content-Length: 3\r\n\r\nabc"),
    SEEN(POST "Content-Length: 003\r\n\r\nabc", POST "Content-Length: 3\r\n\r\nabc"),
    SEEN(POST "Content-Length: 0\r\n\r\n", POST "Content-Length: 0\r\n\r\n"),
    SEEN(POST "content-length: 3\r\nContent-Length: 3\r\n\r\nabc", POST "Content-Length: 3\r\n\r\nabc"),
    SEEN(GET HOST "Content-Length: 1\r\n\r\na", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
    GOOD("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
    SEEN(POST "Connection: Content-Length\r\nContent-Length: 1\r\n\r\na", POST "Content-Length: 1\r\n\r\na"),
    BAD(400, POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    BAD(400, POST "Content-Length: 3, 4\r\n\r\n"),
    BAD(400, POST "Content-Length: 3, 3\r\n\r\n"),
    BAD(400, POST "Content-Length:\r\n\r\n"),
    BAD(400, POST "Content-Length: +3\r\n\r\n"),
    BAD(400, POST "Content-Length: -3\r\n\r\n"),
    BAD(400, POST "Content-Length: 0x3\r\n\r\n"),
    BAD(400, POST "Content-Length: 3 3\r\n\r\n"),
    BAD(400, POST "Content-Length: 3.0\r\n\r\n"),
    BAD(400, POST "Content-Length: 1e1\r\n\r\n"),
    BAD(400, POST "Content-Length: \"3\"\r\n\r\n"),
    BAD(400, POST "Content-Length: 9223372036854775808\r\n\r\n"),
    BAD(400, POST "Content-Length: 18446744073709551619\r\n\r\n"),
    BAD(400, POST "Content-Length: 99999999999999999999999999\r\n\r\n"),
    BAD(400, POST "Content-Length: \xef\xbc\x93\r\n\r\n"),
    BAD(400, POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
    BAD(400, POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: chunked, gzip\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: , chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding:\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: \x0b"
                  "chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding : chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding\r\n : chunked\r\n\r\n"),
    BAD(400, POST "Transfer-Encoding: chunked \xa0\r\n\r\n"),
    BAD(501, POST "Transfer-Encoding: identity\r\n\r\n"),
    BAD(501, POST "Transfer-Encoding: gzip\r\n\r\n"),
    BAD(501, POST "Transfer-Encoding: xchunked\r\n\r\n"),
    BAD(400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
};

static const struct row chunks[] = {
    SEEN(CHUNKED "3\r\nabc\r\n0\r\n\r\n", CHUNKED "3\r\nabc\r\n0\r\n\r\n"),
    SEEN(CHUNKED "0\r\n\r\n", CHUNKED "0\r\n\r\n"),
    SEEN(CHUNKED "000003\r\nabc\r\n000\r\n\r\n", CHUNKED "3\r\nabc\r\n0\r\n\r\n"),
    SEEN(CHUNKED "A\r\n0123456789\r\n0\r\n\r\n", CHUNKED "a\r\n0123456789\r\n0\r\n\r\n"),
    SEEN(CHUNKED "3;a\r\nabc\r\n0;b=c\r\n\r\n", CHUNKED "3\r\nabc\r\n0\r\n\r\n"),
    SEEN(CHUNKED "3 ; a = \"b\\\";c\" ;d\r\nabc\r\n0\r\n\r\n", CHUNKED "3\r\nabc\r\n0\r\n\r\n"),
    SEEN(CHUNKED "0\r\nX: 1\r\nHost: b\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\nAuthorization: x\r\n\r\n",
         CHUNKED "0\r\nX: 1\r\n\r\n"),
    SEEN(POST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", CHUNKED "0\r\n\r\n"),
    SEEN(POST "Transfer-Encoding:\tchunked \r\n\r\n0\r\n\r\n", CHUNKED "0\r\n\r\n"),
    BAD(400, CHUNKED "\r\n"),
    BAD(400, CHUNKED "x\r\n"),
    BAD(400, CHUNKED "g\r\n"),
    BAD(400, CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "+3\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "-3\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED " 3\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3 \r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3_3\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3\rabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3\r\nabc0\r\n\r\n"),
    BAD(400, CHUNKED "3\r\nabcd\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3\r\nabc\n0\r\n\r\n"),
    BAD(400, CHUNKED "3\r\nabc\r0\r\n\r\n"),
    BAD(400, CHUNKED "3;\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3;a=\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3;a=\"b\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3,a\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "3;a=\0\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "8000000000000000\r\n"),
    BAD(400, CHUNKED "ffffffffffffffff\r\n"),
    BAD(400, CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "00000000000000003\r\nabc\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "0\r\nX : 1\r\n\r\n"),
    BAD(400, CHUNKED "0\r\nX\r\n\r\n"),
    BAD(400, CHUNKED "0\r\n X: 1\r\n\r\n"),
    BAD(400, CHUNKED "0\r\nX: 1\n\r\n"),
    BAD(400, CHUNKED "0\n\r\n"),
    BAD(400, CHUNKED "0\r\n\n"),
};

/* ---- How they are judged ---- */

struct reading {
  struct http1_parser parser;
  struct http1_out out;
  enum http1_event event;
};

static void take(struct reading *r, const char *bytes, size_t size)
{
  struct http1_target target;
  struct http1_refusal why;

  for (size_t at = 0; r->event != HTTP1_END && r->event != HTTP1_REFUSED;) {
    at += http1_parser_feed(&r->parser, bytes + at, size - at, &r->event);
    if (r->event == HTTP1_HEAD) {
      ck_assert_int_eq(http1_target_of(&r->parser.head, &target, &why), 0);
      rewrite_request(&r->out, &r->parser.head, &r->parser.framing, &target, &(struct rewrite_fields){0},
                      &(struct forwarded_by){.client = "unix:", .peer = "unix:"});
    } else if (r->event == HTTP1_BODY) {
      rewrite_piece(&r->out, r->parser.piece, r->parser.framing.body == HTTP1_CHUNKED);
    } else if (r->event == HTTP1_END && r->parser.framing.body == HTTP1_CHUNKED) {
      rewrite_trailers(&r->out, &r->parser.head, r->parser.trailers);
    }
    if (r->event == HTTP1_MORE)
      break;
  }
}

/* Without the fields that say where it came from. */
static char *text_of(const struct reading *r)
{
  char *text = calloc(1, r->out.size + 1), *end = text;
  for (size_t at = 0; at < r->out.size;) {
    const char *line = r->out.bytes + at, *lf = memchr(line, '\n', r->out.size - at);
    size_t size = lf != NULL ? (size_t)(lf - line) + 1 : r->out.size - at;
    if (strncmp(line, "X-Forwarded-", 12) != 0 && strncmp(line, "Forwarded: ", 11) != 0) {
      memcpy(end, line, size);
      end += size;
    }
    at += size;
  }
  return text;
}

static void judge(const struct row *row, size_t step)
{
  struct reading r = {.event = HTTP1_MORE};
  http1_parser_init(&r.parser, false);
  for (size_t at = 0; at < row->size && r.event != HTTP1_END && r.event != HTTP1_REFUSED; at += step) {
    size_t size = row->size - at < step ? row->size - at : step;
    char *copy = malloc(size); /* of its size: a read beyond it is seen */
    memcpy(copy, row->bytes + at, size);
    take(&r, copy, size);
    free(copy);
  }
  if (row->status != 0) {
    ck_assert_msg(r.event == HTTP1_REFUSED, "not refused: %s", row->bytes);
    ck_assert_msg(r.parser.refusal.status == row->status, "%u: %s: %s", r.parser.refusal.status, r.parser.refusal.why,
                  row->bytes);
  } else {
    ck_assert_msg(r.event == HTTP1_END, "refused (%s): %s", r.parser.refusal.why, row->bytes);
  }
  if (row->seen != NULL && step > 1) {
    char *text = text_of(&r);
    ck_assert_str_eq(text, row->seen);
    free(text);
  }
  http1_parser_free(&r.parser);
  http1_out_free(&r.out);
}

static void judge_all(const struct row *rows, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    judge(&rows[i], rows[i].size);
    judge(&rows[i], 1);
  }
}

#define TABLE(name)                                                                                                    \
  START_TEST(name##_are_judged)                                                                                        \
  {                                                                                                                    \
    judge_all(name, sizeof(name) / sizeof(*(name)));                                                                   \
  }                                                                                                                    \
  END_TEST

TABLE(lines)
TABLE(hosts)
TABLE(fields)
TABLE(lengths)
TABLE(chunks)

/* ---- Limits ---- */

static unsigned refusal_of(const char *start, const char *piece, size_t times)
{
  struct reading r = {.event = HTTP1_MORE};
  http1_parser_init(&r.parser, false);
  take(&r, start, strlen(start));
  for (size_t i = 0; i < times && r.event == HTTP1_MORE; i++)
    take(&r, piece, strlen(piece));
  unsigned status = r.event == HTTP1_REFUSED ? r.parser.refusal.status : 0;
  ck_assert_uint_le(r.parser.head.size, HTTP1_HEAD_MAX);
  http1_parser_free(&r.parser);
  http1_out_free(&r.out);
  return status;
}

START_TEST(heads_are_bounded)
{
  ck_assert_uint_eq(refusal_of("GET /", "a", HTTP1_TARGET_MAX - 1), 0);
  ck_assert_uint_eq(refusal_of("GET /", "a", HTTP1_TARGET_MAX + 100), 414);
  ck_assert_uint_eq(refusal_of(GET HOST, "X: a\r\n", HTTP1_FIELDS_MAX - 1), 0);
  ck_assert_uint_eq(refusal_of(GET HOST, "X: a\r\n", HTTP1_FIELDS_MAX), 431);
  ck_assert_uint_eq(refusal_of(GET HOST "X: ", "a", HTTP1_HEAD_MAX), 431);
  ck_assert_uint_eq(refusal_of(CHUNKED "0\r\n", "X: a\r\n", HTTP1_FIELDS_MAX + 1), 431);
  ck_assert_uint_eq(refusal_of(CHUNKED "1;", "a", 2000), 400);
  ck_assert_uint_eq(refusal_of(CHUNKED, "1;a=bbbbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n", 400), 0);
  ck_assert_uint_eq(refusal_of(CHUNKED, "1;a=bbbbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n", 800), 400);
  ck_assert_uint_eq(refusal_of(CHUNKED, "1\r\nx\r\n", 100000), 0);
}
END_TEST

START_TEST(the_table_is_long)
{
  size_t count = sizeof lines / sizeof *lines + sizeof hosts / sizeof *hosts + sizeof fields / sizeof *fields +
                 sizeof lengths / sizeof *lengths + sizeof chunks / sizeof *chunks;
  ck_assert_uint_ge(count, 150);
}
END_TEST

START_TEST(what_follows_is_left_to_the_next)
{
  static const char two[] = POST "Content-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
  struct reading r = {.event = HTTP1_MORE};
  enum http1_event event = HTTP1_MORE;
  size_t at = 0;

  http1_parser_init(&r.parser, false);
  while (event != HTTP1_END)
    at += http1_parser_feed(&r.parser, two + at, sizeof two - 1 - at, &event);
  ck_assert_str_eq(two + at, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
  http1_parser_next(&r.parser, true);
  ck_assert(http1_parser_is_idle(&r.parser));
  take(&r, two + at, sizeof two - 1 - at);
  ck_assert_int_eq(r.event, HTTP1_END);
  http1_parser_free(&r.parser);
  http1_out_free(&r.out);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("gate requests");
  TCase *t = tcase_create("requests");

  tcase_set_timeout(t, 30);
  tcase_add_test(t, lines_are_judged);
  tcase_add_test(t, hosts_are_judged);
  tcase_add_test(t, fields_are_judged);
  tcase_add_test(t, lengths_are_judged);
  tcase_add_test(t, chunks_are_judged);
  tcase_add_test(t, heads_are_bounded);
  tcase_add_test(t, the_table_is_long);
  tcase_add_test(t, what_follows_is_left_to_the_next);
  suite_add_tcase(suite, t);
  return suite;
}
