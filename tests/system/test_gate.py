"""mmgate through a real router and a real mount: what a client gets, and what a target sees."""
import contextlib
import hashlib
import re
import signal
import socket
import threading

import pytest

from harness import BUILD, Program, Server, bash, eventually, free_port, hear_exactly, run, run_any
from mmgate import Gate, read_head, request, status
from origin import ANSWERS, Origin


NAMES = ("--domain", "tun.example.com", "--own-domains", "*.test,other.example")


@pytest.fixture(scope="module")
def place(module_world):
    """A router, a mount with services, and a gate: "app" is an origin by hand, "gone" has no target, "api" shares app's host."""
    world = module_world
    world.relay = world.router(*NAMES)
    world.mount_a = world.mount(world.relay)
    world.origin, world.api = world.target(Origin), world.target(Origin)
    world.mount_a.service("app", world.origin.address)
    world.mount_a.service("api", world.api.address)
    world.mount_a.service("gone", f"127.0.0.1:{free_port()}")
    for service, names in ("app", "app.test\nother.example\n"), ("api", "app.test/api\n"), ("gone", "gone.test\n"):
        world.mount_a.write(f"services/{service}/http", names)
    world.gate = world.add(Gate(world.directory, world.relay.address, "-o", "dial_timeout=2"))
    for host, code in ("app.test", 200), ("other.example", 200), ("gone.test", 502):
        awaits(world.gate, host, code)
    return world


def awaits(gate, host, code, path="/plain"):
    """Until the gate answers so: it hears of names a moment later."""
    eventually(lambda: status(gate.says(request(path, host=host))) == code, what=f"{host} answers {code}")


@pytest.fixture
def gate(place):
    return place.gate


def url(gate, path, host="app.test"):
    return ["curl", "-sS", "--max-time", "60", "--noproxy", "*", "--connect-to", f"{host}:80:127.0.0.1:{gate.port}", f"http://{host}{path}"]


def test_curl_gets_what_the_target_says(gate):
    assert run(*url(gate, "/plain")) == "hello\n"
    head = run(*url(gate, "/plain"), "-D", "-", "-o", "/dev/null")
    assert "X-A: b\r\n" in head.replace("\n", "\r\n") or "X-A: b\n" in head
    assert "Hop" not in head and "Keep-Alive" not in head


def test_the_target_sees_a_canonical_request(gate):
    answer = gate.says(b"GET http://app.test/a%20b?c|d HTTP/1.1\r\nhOsT:\tapp.test \r\nAccept:   */*\t\r\nConnection: x-secret, close\r\n"
                       b"X-Secret: 1\r\nTE: trailers\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\r\n")
    head = answer.split(b"\r\n\r\n", 1)[1]
    assert head == (b"GET /a%20b?c|d HTTP/1.1\r\nHost: app.test\r\nAccept: */*\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
                    b"X-Forwarded-Host: app.test\r\nForwarded: for=127.0.0.1;host=\"app.test\";proto=http\r\n\r\n")


def test_names_paths_and_nobody(place, gate):
    assert status(gate.says(request(host="nobody.else"))) == 404
    assert status(gate.says(request(host="OTHER.example."))) == 200
    assert status(gate.says(request(host="absent.test"))) == 404
    assert status(gate.says(request(host="gone.test"))) == 502
    before = len(place.api.requests), len(place.origin.requests)
    gate.says(request("/api/x") + request("/api") + request("/api?q") + request("/apis"))
    assert (len(place.api.requests), len(place.origin.requests)) == (before[0] + 3, before[1] + 1)


def test_each_request_goes_where_its_own_host_says(gate):
    """On one connection, as a CDN sends them."""
    answers = gate.says(request(host="app.test") + request(host="no.where") + request("/plain"))
    assert [int(code) for code in re.findall(rb"HTTP/1.1 (\d+) ", answers)] == [200, 404, 200]


def test_connections_to_a_target_are_used_again(place, gate):
    gate.says(request())
    before = place.origin.accepted
    for _ in range(20):
        assert status(gate.says(request())) == 200
    assert place.origin.accepted - before <= 1


def test_a_connection_that_the_target_closed_is_not_used(place, gate):
    for _ in range(10):
        assert status(gate.says(request("/plain"))) == 200
        for connection in list(place.origin.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("path, expected", [
    ("/two-lengths", 502), ("/length-and-chunks", 502), ("/no-http", 502), ("/fold", 502), ("/unasked-101", 502), ("/nothing", 502),
    ("/half-a-head", 502), ("/to-close", 200), ("/1.0", 200), ("/204", 204), ("/304", 304)])
def test_answers_that_are_read_or_refused(gate, path, expected):
    answer = gate.says(request(path))
    assert status(answer) == expected
    assert b"two" not in answer.split(b"\r\n\r\n", 1)[1], "visitors are told little"


@pytest.mark.parametrize("path", ["/half-a-body", "/half-a-chunk"])
def test_an_answer_that_breaks_off_has_no_end(gate, path):
    done = run_any(*url(gate, path))
    assert done.returncode in (18, 56), (done.returncode, done.stderr)


def test_an_answer_to_the_close_is_chunked_for_who_knows_chunks(gate):
    assert gate.says(request("/to-close")).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nuntil the end\r\n0\r\n\r\n")
    old = gate.says(b"GET /to-close HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n")
    assert old.endswith(b"Connection: close\r\n\r\nuntil the end") and b"chunked" not in old
    old = gate.says(b"GET /plain HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n" * 2)
    assert old.count(b"Connection: keep-alive") == 2


def test_chunks_and_trailers_both_ways(gate):
    answer = gate.says(request("/chunks"))
    assert answer.endswith(b"\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum: 5\r\n\r\n") or answer.endswith(b"\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
    chunks = b'4;x="y"\r\nwiki\r\n0\r\nX-T: 1\r\nHost: evil\r\n\r\n'
    seen = gate.says(request(method="POST", fields="Transfer-Encoding: chunked\r\n", body=chunks))
    assert seen.endswith(b"\r\n\r\n4\r\nwiki\r\n0\r\nX-T: 1\r\n\r\n")
    with gate.dial() as client:  # byte by byte
        for byte in request(method="POST", fields="Transfer-Encoding: chunked\r\n", body=chunks):
            client.sendall(bytes([byte]))
        assert status(read_head(client)) == 200


def test_interim_answers_are_passed_on(gate):
    answer = gate.says(request("/interim"))
    assert [int(code) for code in re.findall(rb"HTTP/1.1 (\d+) ", answer)] == [103, 102, 200]
    assert re.findall(rb"HTTP/1.1 (\d+) ", gate.says(b"GET /interim HTTP/1.0\r\nHost: app.test\r\n\r\n")) == [b"200"]


@pytest.mark.parametrize("path", ["/plain", "/chunks", "/204", "/304", "/seen"])
def test_answers_to_head_have_no_body(gate, path):
    answers = gate.says(request(path, method="HEAD") + request("/plain"))
    assert answers.count(b"HTTP/1.1 ") == 2 and answers.endswith(b"hello\n")


def test_expect_waits_for_the_target(gate):
    with gate.dial() as client:
        client.sendall(request(method="PUT", fields="Expect: 100-continue\r\nContent-Length: 3\r\n"))
        assert status(read_head(client)) == 100
        client.sendall(b"abc")
        assert status(read_head(client)) == 200
    assert run(*url(gate, "/seen"), "-H", "Expect: 100-continue", "-d", "abc").endswith("\nabc")


def test_an_early_answer_to_an_upload_arrives(gate):
    done = run(*url(gate, "/early"), "-H", "Expect:", "-T", "/dev/zero", "--limit-rate", "1M", "-o", "/dev/stdout", "-w", "%{http_code}")
    assert done == "much413"


def test_upgrades_are_opaque_and_half_close(gate):
    with gate.dial() as client:
        client.sendall(request("/upgrade", fields="Connection: Upgrade\r\nUpgrade: echo\r\n") + b"\0early")
        head = read_head(client)
        assert status(head) == 101 and b"\r\nConnection: Upgrade\r\n" in head and b"\r\nUpgrade: echo\r\n" in head
        assert hear_exactly(client, 6) == b"\0early"
        client.sendall(b"x" * 300000)
        assert hear_exactly(client, 300000) == b"x" * 300000
        client.shutdown(socket.SHUT_WR)
        assert hear_exactly(client, 3) == b"bye" and client.recv(1) == b""


@pytest.mark.parametrize("fields", ["Upgrade: echo\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
                                    "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"], ids=["unnamed", "h2c", "tls"])
def test_upgrades_that_are_not_passed_on(gate, fields):
    seen = gate.says(request(fields=fields))
    assert b"pgrade" not in seen and b"HTTP2" not in seen


def test_an_upgrade_with_a_body_ends_its_connections(place, gate):
    before = place.origin.accepted
    fields = "Connection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 3\r\n"
    answer = gate.says(request(method="POST", fields=fields, body=b"abc") + request())
    assert answer.count(b"HTTP/1.1 200") == 1 and b"Connection: close" in answer
    gate.says(request())
    assert place.origin.accepted > before


def test_what_was_refused_reaches_nobody(place, gate):
    before = len(place.origin.requests)
    with gate.dial() as client:
        client.sendall(request(method="POST", fields="Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", body=b"0\r\n\r\n") + request())
        answer = client.recv(1 << 16)
        assert status(answer) == 400 and b"Connection: close" in answer
    assert len(place.origin.requests) == before


def hold(origin):
    """The next request for /unread stays with the test: its socket, once it is there."""
    origin.go_on, origin.held = threading.Event(), None
    return lambda: eventually(lambda: origin.held, what="the request came")


def test_an_upload_waits_for_its_target(place, gate):
    """A target that does not read holds its client up: little is kept between them. Then all arrives."""
    held, size, stuck = hold(place.origin), 96 << 20, threading.Event()
    with gate.dial(60) as client:
        sent = [0]

        def send():
            client.sendall(request("/unread", method="POST", fields=f"Content-Length: {size}\r\n"))
            while sent[0] < size:
                sent[0] += client.send(b"y" * min(1 << 16, size - sent[0]))

        sender = threading.Thread(target=send)
        sender.start()
        connection, lines = held()
        last = [-1]

        def still():
            now, last[0] = last[0], sent[0]
            stuck.wait(0.5)
            return sent[0] == now
        eventually(still, what="the sender is held up")
        assert sent[0] < size and gate.rss() < 300 << 20
        hash_, left = hashlib.sha256(), size
        while left:
            data = lines.read1(min(left, 1 << 16))
            hash_.update(data)
            left -= len(data)
        sender.join()
        assert hash_.hexdigest() == hashlib.sha256(b"y" * size).hexdigest()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert status(read_head(client)) == 200
        place.origin.go_on.set()


def test_events_are_not_held_back(place, gate):
    """A stream of events arrives event by event, and ends when its reader is gone."""
    held = hold(place.origin)
    with gate.dial() as client:
        client.sendall(request("/unread"))
        connection, _ = held()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        assert b"event-stream" in read_head(client)
        for i in range(5):
            event = b"data: %d\n\n" % i
            connection.sendall(event)
            assert hear_exactly(client, len(event) + 5) == b"9\r\n" + event + b"\r\n"

    def over():
        connection.sendall(b"data: more\n\n")
        return False
    with pytest.raises(AssertionError, match="Broken pipe|reset"):
        eventually(over, timeout=3)
    place.origin.go_on.set()


def test_a_download_survives_the_router(place, gate):
    """The router is killed in the middle, and another one takes its place."""
    held, size = hold(place.origin), 8 << 20
    with gate.dial(60) as client:
        client.sendall(request("/unread"))
        connection, _ = held()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"a" * (size // 2))
        read_head(client)
        assert hear_exactly(client, size // 4) == b"a" * (size // 4)
        place.relay.kill()
        place.relay = place.router(*NAMES, listen=place.relay.address)
        connection.sendall(b"b" * (size // 2))
        assert hear_exactly(client, size * 3 // 4) == b"a" * (size // 4) + b"b" * (size // 2)
    place.origin.go_on.set()
    place.mount_a.connected()
    eventually(lambda: status(gate.says(request())) == 200, what="the gate finds the new router")


def test_it_ends_when_its_clients_have_their_answers(place):
    gate = place.add(Gate(place.directory, place.relay.address, name="mmgate-drained"))
    awaits(gate, "app.test", 200)
    held = hold(place.origin)
    with gate.dial() as idle, gate.dial() as client:
        idle.sendall(request())
        read_head(idle)
        client.sendall(request("/unread"))
        connection, _ = held()
        gate.process.send_signal(signal.SIGTERM)
        while idle.recv(1 << 16):  # ended, though nothing was asked
            pass
        with pytest.raises(ConnectionRefusedError):
            gate.dial()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert b"Connection: close" in read_head(client) and hear_exactly(client, 2) == b"ok"
    place.origin.go_on.set()
    assert gate.process.wait(30) == 0


@pytest.mark.parametrize("options, sentence", [
    (["--http", "nonsense"], "--http"), (["--public", "ftp"], "--public"), (["--public", "http:0"], "--public"), (["--trust", "10.0.0.0/33"], "--trust"),
     (["-o", "nothing"], "nothing"), ([], "ROUTER")],
    ids=["http", "public", "port", "trust", "option", "router"])
def test_what_the_command_line_refuses(options, sentence):
    done = run_any(BUILD / "mmgate", *options)
    assert done.returncode != 0 and sentence in done.stderr and done.stderr.startswith("mmgate: ")


def test_a_port_that_is_taken(place):
    with contextlib.closing(Server()) as server:
        done = run_any(BUILD / "mmgate", "--http", server.address, place.relay.address)
    assert done.returncode != 0 and "in use" in done.stderr


def test_a_web_server_is_shared_by_name(world, directory):
    """As a user does it, with real programs: a name is written, visitors come, the service goes and comes back."""
    (directory / "index.html").write_text("<p>hello from app</p>\n")
    web = world.add(Program(directory, "web", ["/usr/bin/python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", directory]))
    web.expected_exit = -signal.SIGTERM
    port = eventually(lambda: re.search(r"port (\d+)", web.text()), what="the web server listens")[1]
    router = world.router(*NAMES)
    gate = world.add(Gate(directory, router.address))
    mount, other = world.mount(router.address), world.target(Origin)
    assert status(gate.says(request(host="app.tun.example.com"))) in (404, 503)
    done = bash(f"cd {mount.path} && mkdir services/web services/other && echo 127.0.0.1:{port} > services/web/target && "
                f"echo {other.address} > services/other/target && echo app > services/web/http && echo api > services/other/http")
    assert done.returncode == 0, done
    host, second = "app.tun.example.com", "api.tun.example.com"
    eventually(lambda: mount.read("services/web/url") == f"http://{host}:{gate.port}\n", what="the URL names the gate's port")
    awaits(gate, host, 200, "/")
    awaits(gate, second, 200)
    assert run("curl", "-sS", "--max-time", "30", "--noproxy", "*", "-H", f"Host: {host}", f"http://127.0.0.1:{gate.port}/") == "<p>hello from app</p>\n"
    assert run(*url(gate, "/index.html", host=host)) == "<p>hello from app</p>\n"

    answers = gate.says(request("/", host=host) + request("/plain", host=second) + request("/", host=host))
    assert answers.count(b"hello from app") == 2 and answers.count(b"hello\n") == 1, "each request goes by its own host"

    mount.write("services/web/http", "shop\n")
    awaits(gate, "shop.tun.example.com", 200, "/")
    assert bash(f"rm -r {mount.path}/services/other").returncode == 0
    eventually(lambda: b"Nobody serves this name at the moment." in gate.says(request(host=second)), what="a known name that nobody serves")
    answer = gate.says(request(host=second))
    assert status(answer) == 503 and b"\r\nRetry-After: 5\r\n" in answer
    answer = gate.says(request(host="never.tun.example.com"))
    assert status(answer) == 404 and answer.endswith(b"\r\n\r\nThere is nothing under this name.\n")
    bash(f"cd {mount.path} && mkdir services/other && echo {other.address} > services/other/target && echo api > services/other/http")
    awaits(gate, second, 200)


def test_the_front_is_what_visitors_see(world, directory):
    router = world.router(*NAMES)
    gate = world.add(Gate(directory, router.address, "--public", "https", "--public", "http:8000"))
    mount = world.mount(router.address)
    mount.service("app", world.target(Origin).address)
    mount.write("services/app/http", "app.test\n")
    assert mount.read("services/app/url") == "https://app.test\n" or eventually(
        lambda: mount.read("services/app/url") == "https://app.test\n", what="the front's URL")
    awaits(gate, "app.test", 200)
