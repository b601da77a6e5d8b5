"""HTTP/2 through mmgate: what a client gets, what a target sees, and what must not get through."""
import contextlib
import re
import signal
import struct
import threading

import pytest

from harness import eventually, run
from http2 import frame, text
from http2_client import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, INTERNAL_ERROR, NO_ERROR, PADDED, PING,
                          PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH, REFUSED_STREAM, RESET, SETTINGS, WINDOW_UPDATE, Client, block, fields_of)
from mmgate import Gate, request, status
from origin import Origin


@pytest.fixture(scope="module")
def place(module_world):
    """A router, a mount with a service "app" that is an origin by hand, and a gate."""
    world = module_world
    world.relay = world.router("--domain", "tun.example.com", "--own-domains", "*.test")
    world.mount_a = world.mount(world.relay)
    world.origin = world.target(Origin)
    world.mount_a.service("app", world.origin.address)
    world.mount_a.write("services/app/http", "app.test\n")
    world.gate = world.add(Gate(world.directory, world.relay.address))
    awaits(world.gate)
    return world


def awaits(gate):
    eventually(lambda: status(gate.says(request("/plain"))) == 200, what="the gate knows the name")


@pytest.fixture
def gate(place):
    return place.gate


@pytest.fixture
def client(gate):
    with Client(gate.port) as client:
        yield client


def url(gate, path):
    return ["curl", "-sS", "--max-time", "60", "--noproxy", "*", "--http2-prior-knowledge", "--connect-to", f"app.test:80:127.0.0.1:{gate.port}",
            f"http://app.test{path}"]


def hold(origin):
    """The next request for /unread stays with the test: its socket, once it is there."""
    origin.go_on, origin.held = threading.Event(), None
    return lambda: eventually(lambda: origin.held, what="the request came")


# --- what is passed on ---


def test_curl_gets_what_the_target_says(gate):
    assert run(*url(gate, "/plain"), "-w", "%{http_version}") == "hello\n2"
    head = run(*url(gate, "/plain"), "-D", "-", "-o", "/dev/null")
    assert "x-a: b" in head and "hop" not in head and "keep-alive" not in head and "connection" not in head
    assert run(*url(gate, "/seen"), "-d", "abc").endswith("\n\nabc")
    assert run(*url(gate, "/large/30000000"), "-o", "/dev/null", "-w", "%{size_download}") == "30000000"


@pytest.mark.parametrize("path, expected", [
    ("/two-lengths", 502), ("/length-and-chunks", 502), ("/no-http", 502), ("/fold", 502), ("/unasked-101", 502), ("/nothing", 502),
    ("/half-a-head", 502), ("/to-close", 200), ("/1.0", 200), ("/204", 204), ("/304", 304)])
def test_answers_that_are_read_or_refused(client, path, expected):
    answer = client.get("GET", path)
    assert (answer.status, answer.reset) == (expected, None)
    assert (answer.body == b"") == (expected in (204, 304)) and b"two" not in answer.body


def test_answers_without_a_body(client):
    for path in "/plain", "/chunks", "/204", "/304", "/seen":
        answer = client.get("HEAD", path)
        assert answer.status and answer.ended and answer.body == b"" and not answer.trailers
    assert client.get("HEAD", "/plain").fields["content-length"] == "6"
    assert client.get("GET", "/304").fields["content-length"] == "100" and "content-length" not in client.get("GET", "/204").fields
    assert client.get("HEAD", "/plain", "no.where").body == b""


@pytest.mark.parametrize("path", ["/half-a-body", "/half-a-chunk"])
def test_an_answer_that_breaks_off_has_no_end(client, path):
    answer = client.get("GET", path)
    assert (answer.body, answer.ended, answer.reset) == (b"half", False, INTERNAL_ERROR)
    assert client.get("GET", "/plain").status == 200


def test_interim_answers_and_trailers(client):
    answer = client.get("GET", "/interim")
    assert [head.get(":status") for head in answer.heads] == ["103", "102", "200"] and answer.heads[0]["link"] == "</a>" and answer.body == b"ok"
    answer = client.get("GET", "/chunks")
    assert answer.body == b"abcde" and answer.trailers == {"x-sum": "5"}


def test_names_and_nobody(client):
    assert client.get("GET", "/", "nobody.test").status == 404
    assert client.get("GET", "/plain", "APP.test.").status == 200
    assert client.get("GET", "/plain", "app.test:8080").status == 200


def seen(client, fields, **more):
    """What the target saw of a request, without what is added to each."""
    answer = client.answer(client.ask(fields, **more))
    assert answer.status == 200, vars(answer)
    lines = answer.body.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not re.match(rb"(X-Forwarded-\w+|Forwarded): ", line))


def extra(*more, method="GET", path="/seen", host="app.test"):
    return fields_of(method, path, host, *more)


GET = b"GET /seen HTTP/1.1\r\nHost: app.test\r\n"
POST = b"POST /seen HTTP/1.1\r\nHost: app.test\r\n"
PASSED = {
    "plain": (extra(("accept", "*/*"), ("x-a", "a b")), {}, GET + b"accept: */*\r\nx-a: a b\r\n\r\n"),
    "https": (fields_of(scheme="https"), {}, GET + b"\r\n"),
    "port": (extra(host="app.test:80"), {}, GET.replace(b"test", b"test:80") + b"\r\n"),
    "host-alone": (extra(("host", "app.test"), host=None), {}, GET + b"\r\n"),
    "both": (extra(("host", "app.test")), {}, GET + b"\r\n"),
    "both-with-port": (extra(("host", "APP.test:80")), {}, GET + b"\r\n"),
    "query": (extra(path="/seen?a=%20|b"), {}, b"GET /seen?a=%20|b HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "star": (extra(method="OPTIONS", path="*"), {}, b"OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "star-and-host": (extra(("host", "app.test"), method="OPTIONS", path="*"), {}, b"OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "method": (extra(method="M-SEARCH"), {}, b"M-SEARCH /seen HTTP/1.1\r\nHost: app.test\r\n\r\n"),
    "crumbs": (extra(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e")), {}, GET + b"x: y\r\ncookie: a=b; c=d; e\r\n\r\n"),
    "te": (extra(("te", "trailers")), {}, GET + b"\r\n"),
    "between": (extra(("http2-settings", "AA"), ("proxy-authorization", "x"), ("trailer", "a")), {}, GET + b"\r\n"),
    "forwarded": (extra(("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("x-real-ip", "1")), {}, GET + b"\r\n"),
    "no-body": (extra(method="POST"), {}, POST + b"Content-Length: 0\r\n\r\n"),
    "no-bytes": (extra(("content-length", "0"), method="POST"), {"body": b""}, POST + b"Content-Length: 0\r\n\r\n"),
    "length-in-pieces": (extra(("content-length", "3"), method="POST"), {"pieces": [b"ab", b"c", b""]}, POST + b"Content-Length: 3\r\n\r\nabc"),
    "length": (extra(("content-length", "3"), method="POST"), {"body": b"abc"}, POST + b"Content-Length: 3\r\n\r\nabc"),
    "chunks": (extra(method="POST"), {"body": b"abc"}, POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    "smuggled": (extra(method="POST"), {"body": b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"},
                 POST + b"Transfer-Encoding: chunked\r\n\r\n17\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n"),
    "trailers": (extra(method="POST"), {"body": b"a", "trailers": [(b"x-t", b"1"), (b"host", b"evil"), (b"expect", b"x")]},
                 POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: 1\r\n\r\n"),
    "trailers-alone": (extra(), {"trailers": [(b"x-t", b"1")]}, GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n\r\n"),
    "100-crumbs": (extra(*[("cookie", "a")] * 100), {}, GET + b"cookie: " + b"; ".join([b"a"] * 100) + b"\r\n\r\n"),
    "large": (extra(("x", "y" * 16000)), {}, GET + b"x: " + b"y" * 16000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", PASSED)
def test_what_is_passed_on(client, name):
    fields, more, expected = PASSED[name]
    assert seen(client, fields, **more) == expected


# --- what is refused ---


def without(name, **more):
    return [field for field in fields_of(**more) if field[0] != name]


CONNECT = [(b":method", b"CONNECT"), (b":authority", b"app.test:443")]
SIZED = ("content-length", "5")
REFUSED = {  # what else is sent; the status, or None where the stream may be reset instead
    "upper-case": (extra(("X-A", "1")), {}),
    "space-in-name": (extra(("x a", "1")), {}),
    "space-before-colon": (extra(("x ", "1")), {}),
    "cr-in-name": (extra(("x\r", "1")), {}),
    "lf-in-name": (extra(("x\n", "1")), {}),
    "field-in-name": (extra(("x: 1\r\ny", "1")), {}),
    "nul-in-name": (extra(("x\0", "1")), {}),
    "colon-in-name": (extra(("x:y", "1")), {}),
    "no-name": (extra(("", "1")), {}),
    "high-name": (extra(("x\xe4", "1")), {}),
    "crlf-in-value": (extra(("x", "1\r\nhost: evil")), {}),
    "request-in-value": (extra(("x", "1\r\n\r\nGET /evil HTTP/1.1\r\nHost: app.test")), {}),
    "lf-in-value": (extra(("x", "1\ny: 2")), {}),
    "cr-in-value": (extra(("x", "1\ry")), {}),
    "nul-in-value": (extra(("x", "1\0")), {}),
    "control-in-value": (extra(("x", "1\x01")), {}),
    "del-in-value": (extra(("x", "1\x7f")), {}),
    "space-before-value": (extra(("x", " 1")), {}),
    "space-after-value": (extra(("x", "1 ")), {}),
    "connection": (extra(("connection", "close")), {}),
    "connection-names": (extra(("connection", "x-secret"), ("x-secret", "1")), {}),
    "keep-alive": (extra(("keep-alive", "1")), {}),
    "proxy-connection": (extra(("proxy-connection", "1")), {}),
    "transfer-encoding": (extra(("transfer-encoding", "chunked"), method="POST"), {"body": b"0\r\n\r\n"}),
    "upgrade": (extra(("upgrade", "websocket")), {}),
    "te": (extra(("te", "gzip")), {}),
    "no-method": (without(b":method"), {}),
    "no-scheme": (without(b":scheme"), {}),
    "no-path": (without(b":path"), {}),
    "no-host": (without(b":authority"), {}),
    "empty-method": (extra(method=""), {}),
    "space-in-method": (extra(method="GE T"), {}),
    "line-in-method": (extra(method="GET /evil HTTP/1.1\r\nx: "), {}),
    "long-method": (extra(method="A" * 33), {}),
    "empty-path": (extra(path=""), {}),
    "path-without-slash": (extra(path="seen"), {}),
    "space-in-path": (extra(path="/a b"), {}),
    "version-in-path": (extra(path="/ HTTP/1.1\r\nhost: evil\r\n\r\n"), {}),
    "tab-in-path": (extra(path="/a\tb"), {}),
    "high-path": (extra(path="/\xe4"), {}),
    "fragment": (extra(path="/a#b"), {}),
    "url-as-path": (extra(path="http://app.test/seen"), {}),
    "star": (extra(path="*"), {}),
    "long-path": (extra(path="/" + "a" * 16384), {}),
    "scheme": (fields_of(scheme="ftp"), {}),
    "line-in-scheme": (fields_of(scheme="http\r\nx: y"), {}),
    "two-methods": (extra() + [(b":method", b"GET")], {}),
    "two-paths": (fields_of()[:4] + [(b":path", b"/other")], {}),
    "two-authorities": (fields_of()[:4] + [(b":authority", b"app.test")], {}),
    "two-schemes": (fields_of()[:4] + [(b":scheme", b"http")], {}),
    "unknown-pseudo": (fields_of() + [(b":seen", b"1")], {}),
    "status": (fields_of() + [(b":status", b"200")], {}),
    "pseudo-last": ([(b"x", b"1")] + fields_of(), {}),
    "protocol": (fields_of("CONNECT") + [(b":protocol", b"websocket")], {}),
    "connect": (CONNECT, {}),
    "connect-with-path": (fields_of("CONNECT"), {}),
    "connect-with-data": (CONNECT, {"ended": False}),
    "other-host": (extra(("host", "evil.test")), {}),
    "other-port": (extra(("host", "app.test:81")), {}),
    "two-hosts": (extra(("host", "app.test"), ("host", "app.test")), {}),
    "two-hosts-alone": (extra(("host", "app.test"), ("host", "app.test"), host=None), {}),
    "user": (extra(host="user@app.test"), {}),
    "path-in-host": (extra(host="app.test/x"), {}),
    "query-in-host": (extra(host="app.test?x"), {}),
    "space-in-host": (extra(host="app.test x"), {}),
    "line-in-host": (extra(host="app.test\r\nx: y"), {}),
    "empty-host": (extra(host=""), {}),
    "port": (extra(host="app.test:http"), {}),
    "large-port": (extra(host="app.test:65536"), {}),
    "length-without-data": (extra(SIZED, method="POST"), {}),
    "length-above-data": (extra(SIZED, method="POST"), {"body": b"abc"}),
    "length-below-data": (extra(SIZED, method="POST"), {"body": b"abcdefg"}),
    "length-and-trailers": (extra(SIZED, method="POST"), {"body": b"abc", "trailers": [(b"x", b"y")]}),
    "length-below-data-in-pieces": (extra(SIZED, method="POST"), {"pieces": [b"abcde", b"fg"]}),
    "no-length-and-data": (extra(("content-length", "0"), method="POST"), {"body": b"abc"}),
    "two-lengths": (extra(SIZED, ("content-length", "6"), method="POST"), {"body": b"abcde"}),
    "lengths": (extra(("content-length", "5, 5"), method="POST"), {"body": b"abcde"}),
    "plus": (extra(("content-length", "+5"), method="POST"), {"body": b"abcde"}),
    "minus": (extra(("content-length", "-5"), method="POST"), {"body": b"abcde"}),
    "hex": (extra(("content-length", "0x5"), method="POST"), {"body": b"abcde"}),
    "endless": (extra(("content-length", "9223372036854775808"), method="POST"), {"body": b"abcde"}),
    "expect": (extra(("expect", "magic")), {}),
    "fields": (extra(*[(f"x-{i}", "1") for i in range(101)]), {}),
    "crumbs": (extra(*[("cookie", "a")] * 101), {}),
    "trailing-pseudo": (extra(method="POST"), {"body": b"a", "trailers": [(b":path", b"/x")]}),
    "trailing-line": (extra(method="POST"), {"body": b"a", "trailers": [(b"x", b"y\r\nz: 1")]}),
    "trailing-upper-case": (extra(method="POST"), {"body": b"a", "trailers": [(b"X", b"y")]}),
    "trailing-connection": (extra(method="POST"), {"body": b"a", "trailers": [(b"transfer-encoding", b"chunked")]}),
    "trailing-length": (extra(method="POST"), {"body": b"a", "trailers": [(b"content-length", b"7")]}),
    "trailing-fields": (extra(method="POST"), {"body": b"a", "trailers": [(b"x", b"y")] * 101}),
}
STATUSES = {"long-method": 501, "long-path": 414, "connect": 405, "connect-with-data": 405, "other-host": 400, "other-port": 400, "user": 400, "expect": 417, "fields": 431, "crumbs": 431, "fragment": 400, "scheme": 400, "port": 400}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(place, client, name):
    """No target sees it as a whole; and the connection goes on."""
    fields, more = REFUSED[name]
    before = len(place.origin.requests)
    answer = client.answer(client.ask(fields, **more))
    assert answer.status == STATUSES[name] if name in STATUSES else answer.status == 400 or answer.reset == PROTOCOL_ERROR, vars(answer)
    assert client.get("GET", "/plain").body == b"hello\n"
    assert [(head.split()[1], body) for head, body in place.origin.requests[before:]] == [(b"/plain", b"")]


def test_a_head_that_is_too_large(client):
    """It is answered where that is cheap; the connection ends where it is not."""
    assert client.answer(client.ask(extra(*[("x", "y" * 15000)] * 5))).status == 431
    assert client.get("GET", "/plain").status == 200
    client.ask(extra(*[("x", "y" * 15000)] * 20))
    client.wait(lambda: client.closed, what="the end")
    assert client.goaway == ENHANCE_YOUR_CALM


# --- abuse ---


HEAD = block(fields_of("GET", "/plain"))
ASK = frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD)


def open_streams(count, first=1, body=HEAD, flags=END_HEADERS | END_STREAM):
    return [frame(HEADERS, flags, first + 2 * i, body) for i in range(count)]


def each(streams, after):
    return b"".join(stream + after(1 + 2 * i) for i, stream in enumerate(streams))


def number(value):
    return struct.pack(">I", value)


UPLOAD = block(fields_of("POST", "/plain"))
ENDLESS = 3000
ENDED = {  # bytes after the preface and SETTINGS, which end the connection
    "rapid-reset": each(open_streams(ENDLESS), lambda s: frame(RESET, 0, s, number(8))),
    "window-0": each(open_streams(ENDLESS, body=UPLOAD, flags=END_HEADERS), lambda s: frame(WINDOW_UPDATE, 0, s, number(0))),
    "window-overflow": each(open_streams(ENDLESS, body=UPLOAD, flags=END_HEADERS), lambda s: frame(WINDOW_UPDATE, 0, s, number(0x7fffffff))),
    "priority-length": each(open_streams(ENDLESS, body=UPLOAD, flags=END_HEADERS), lambda s: frame(PRIORITY, 0, s, b"\0")),
    "data-after-end": each(open_streams(ENDLESS), lambda s: frame(DATA, 0, s, b"x")),
    "head-after-end": each(open_streams(ENDLESS), lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, HEAD)),
    "bad-heads": b"".join(open_streams(ENDLESS, body=block(extra(("X", "y"))))),
    "bad-lengths": each(open_streams(ENDLESS, body=block(extra(SIZED, method="POST")), flags=END_HEADERS), lambda s: frame(DATA, END_STREAM, s, b"x")),
    "pings": frame(PING, 0, 0, b"12345678") * ENDLESS,
    "settings": frame(SETTINGS, 0, 0) * ENDLESS,
    "many-settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1) * 1000),
    "empty-data": frame(HEADERS, END_HEADERS, 1, UPLOAD) + frame(DATA, 0, 1) * ENDLESS,
    "empty-continuation": frame(HEADERS, END_STREAM, 1, HEAD) + frame(CONTINUATION, 0, 1) * ENDLESS,
    "endless-head": frame(HEADERS, END_STREAM, 1, HEAD) + frame(CONTINUATION, 0, 1, block([(b"x", b"y" * 16000)])) * 100,
    "indexed-bomb": frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + b"\x40\1x" + text(b"y" * 3968) + b"\xbe" * 12000),
    "no-table": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\x0f"),
    "cut-integer": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
    "head-between": frame(HEADERS, END_STREAM, 1, HEAD) + frame(HEADERS, END_HEADERS | END_STREAM, 3, HEAD),
    "ping-in-head": frame(HEADERS, END_STREAM, 1, HEAD) + frame(PING, 0, 0, b"12345678"),
    "continuation-alone": frame(CONTINUATION, END_HEADERS, 1, HEAD),
    "even-stream": frame(HEADERS, END_HEADERS | END_STREAM, 2, HEAD),
    "stream-0": frame(HEADERS, END_HEADERS | END_STREAM, 0, HEAD),
    "earlier-stream": frame(HEADERS, END_HEADERS | END_STREAM, 5, HEAD) + frame(HEADERS, END_HEADERS | END_STREAM, 3, HEAD),
    "data-of-none": frame(DATA, 0, 1, b"x"),
    "data-of-0": frame(DATA, 0, 0, b"x"),
    "reset-of-none": frame(RESET, 0, 1, number(8)),
    "push": frame(PUSH, END_HEADERS, 1, number(2) + HEAD),
    "padding": frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + HEAD),
    "large-frame": frame(DATA, 0, 1, b"x" * 16385),
    "settings-length": frame(SETTINGS, 0, 0, b"12345"),
    "settings-ack": frame(SETTINGS, ACK, 0, struct.pack(">HI", 4, 1)),
    "settings-of-stream": frame(SETTINGS, 0, 1),
    "settings-window": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
    "settings-push": frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)),
    "settings-frame-size": frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
    "ping-length": frame(PING, 0, 0, b"1"),
    "connection-window-0": frame(WINDOW_UPDATE, 0, 0, number(0)),
    "connection-window-overflow": frame(WINDOW_UPDATE, 0, 0, number(0x7fffffff)) * 2,
    "priority-0": frame(PRIORITY, 0, 0, number(1) + b"\0"),
    "priority-itself": frame(PRIORITY, 0, 1, number(1) + b"\0"),
}


@pytest.mark.parametrize("name", ENDED)
def test_what_ends_the_connection(place, gate, name):
    before = place.origin.accepted
    with Client(gate.port) as client:
        client.send(ENDED[name])
        client.wait(lambda: client.closed, what="the end")
    assert place.origin.accepted - before <= 400, "the target was spared"
    assert status(gate.says(request("/plain"))) == 200


def test_more_streams_than_are_allowed(place, gate):
    """Who does not know the bound yet has the last one refused; who knows it is sent away."""
    held = hold(place.origin)
    with Client(gate.port, first=b"".join(open_streams(101, body=block(fields_of("GET", "/unread"))))) as client:
        held()
        client.wait(lambda: 201 in client.answers and client.answers[201].over(), what="a refusal")
        assert client.answers[201].reset == REFUSED_STREAM and client.settings[3] == 100
        assert client.echoes()
        assert [stream for stream in client.answers if client.answers[stream].over()] == [201]
        client.next = 203
        client.ask(fields_of("GET", "/plain"))
        client.wait(lambda: client.closed, what="the end")
        assert client.goaway == PROTOCOL_ERROR
    place.origin.go_on.set()


def gone(lines):
    with contextlib.suppress(ConnectionResetError):
        assert lines.read(1) == b""


def test_a_cancelled_stream_leaves_its_target(place, client):
    held = hold(place.origin)
    stream = client.ask(fields_of("GET", "/unread"))
    _, lines = held()
    client.reset(stream)
    gone(lines)
    assert client.get("GET", "/plain").status == 200
    place.origin.go_on.set()


# --- windows ---


def test_answers_wait_for_their_windows(gate):
    """A client that gives no window gets heads, and holds up nobody but itself: little is kept of each stream."""
    before = gate.rss()
    with Client(gate.port, window=0) as client:
        streams = [client.ask(fields_of("GET", "/large/50000000")) for _ in range(50)]
        for stream in streams:
            client.wait(lambda s=stream: client.answers[s].status == 200, what="a head")
        assert client.echoes() and gate.rss() - before < 100 << 20
        assert all(client.answers[stream].body == b"" for stream in streams)
        small = client.ask(fields_of("GET", "/plain"))
        client.send(frame(WINDOW_UPDATE, 0, small, number(6)))
        assert client.answer(small).body == b"hello\n"
    with Client(gate.port, gives=False) as client:  # the connection's window is all that there is
        streams = [client.ask(fields_of("GET", "/large/50000000")) for _ in range(4)]
        client.wait(lambda: sum(len(client.answers[s].body) for s in streams) == 65535, what="a window of data")
        client.send(frame(WINDOW_UPDATE, 0, 0, number(1000)))
        client.wait(lambda: sum(len(client.answers[s].body) for s in streams) == 66535, what="what else fits")


def test_an_upload_waits_for_its_target(place, gate):
    """Its window is given back as the target takes the bytes; other streams go on meanwhile."""
    held, size = hold(place.origin), 40 << 20
    with Client(gate.port) as client:
        stream = client.ask(extra(("content-length", str(size)), method="POST", path="/unread"), ended=False)
        connection, lines = held()
        sent = [0]

        def send():
            while sent[0] < size:
                client.data(stream, b"y" * (1 << 16), sent[0] + (1 << 16) == size)
                sent[0] += 1 << 16
        sender = threading.Thread(target=send)
        sender.start()
        last, stuck = [-1], threading.Event()

        def still():
            now, last[0] = last[0], sent[0]
            stuck.wait(0.5)
            return sent[0] == now
        eventually(still, what="the sender is held up")
        assert sent[0] < size and client.windows[0] > 0, "the stream is held up, not the connection"
        assert client.get("GET", "/plain").status == 200
        left = size
        while left:
            data = lines.read1(min(left, 1 << 16))
            assert data.strip(b"y") == b""
            left -= len(data)
        sender.join()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert client.answer(stream).status == 200
    place.origin.go_on.set()


def test_an_early_answer_to_an_upload(client):
    stream = client.ask(extra(method="POST", path="/early"), ended=False)
    answer = client.answer(stream)
    assert (answer.status, answer.body) == (413, b"much")
    client.wait(lambda: answer.reset is not None, what="no more is wanted")
    assert answer.reset == NO_ERROR
    client.send(frame(DATA, 0, stream, b"x" * 1000) * 10)  # was on its way
    assert client.get("GET", "/plain").status == 200


def test_expect_waits_for_the_target(client):
    stream = client.ask(extra(("expect", "100-continue"), ("content-length", "3"), method="PUT"), ended=False)
    client.wait(lambda: client.answers[stream].heads, what="100")
    assert client.answers[stream].heads[0] == {":status": "100"}
    client.data(stream, b"abc", True)
    assert client.answer(stream).status == 200


def test_events_are_not_held_back(place, client):
    held = hold(place.origin)
    stream = client.ask(fields_of("GET", "/unread"))
    connection, lines = held()
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for i in range(5):
        connection.sendall(b"data: %d\n\n" % i)
        client.wait(lambda: client.answers[stream].body.endswith(b"data: %d\n\n" % i), what="the event")
    client.reset(stream)
    gone(lines)
    place.origin.go_on.set()


def test_many_streams_at_once(gate):
    out = run("h2load", "-n", "2000", "-c", "4", "-m", "100", "-H", ":authority: app.test", f"http://127.0.0.1:{gate.port}/plain")
    assert "2000 succeeded, 0 failed" in out, out


def test_the_connections_of_many_streams_are_used_again(place, client):
    before = place.origin.accepted
    for _ in range(4):
        first = client.next
        client.next += 200
        client.send(b"".join(open_streams(100, first)))
        for stream in range(first, client.next, 2):
            client.wait(lambda: stream in client.answers and client.answers[stream].over(), what="an answer")
            assert client.answers[stream].body == b"hello\n"
    assert place.origin.accepted - before <= 150


# --- the beginning and the end ---


def test_the_preface_may_come_in_pieces(gate):
    data = PREFACE + frame(SETTINGS, 0, 0) + ASK
    with gate.dial() as client:
        for byte in data:
            client.sendall(bytes([byte]))
        answer = b""
        while b"hello\n" not in answer:
            piece = client.recv(1 << 16)
            assert piece, answer
            answer += piece
    assert gate.says(data).count(b"hello\n") == 1, "what was asked before the end is answered"
    for begun in PREFACE[:1], PREFACE[:2], PREFACE[:-1]:
        assert gate.says(begun) == b""
    assert status(gate.says(b"PRI * HTTP/2.0\r\n\r\n\r\n\r\n" + request())) in (400, 505)
    assert status(gate.says(request("/plain", method="PROPFIND"))) == 200


def test_it_ends_when_its_streams_are_over(place):
    gate = place.add(Gate(place.directory, place.relay.address, name="mmgate-drained"))
    awaits(gate)
    held = hold(place.origin)
    with Client(gate.port) as idle, Client(gate.port) as client:
        assert idle.get("GET", "/plain").status == 200
        stream = client.ask(fields_of("GET", "/unread"))
        connection, _ = held()
        gate.process.send_signal(signal.SIGTERM)
        idle.wait(lambda: idle.closed, what="the idle one ends")
        assert idle.goaway == NO_ERROR
        client.wait(lambda: client.goaway is not None and client.last == stream, what="the last stream is told")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.answer(stream).body == b"ok"
        client.wait(lambda: client.closed, what="the end")
    place.origin.go_on.set()
    assert gate.process.wait(30) == 0
