"""The tap: what a service's mount sees of the HTTP that goes to its target."""
import concurrent.futures
import contextlib
import errno
import os
import re
import socket
import stat
import subprocess

import pytest

from harness import PATIENCE, Server, bash, eventually, refused
from mmgate import Gate, request, status
from origin import Origin


@pytest.fixture
def origin(world):
    return world.add(Origin())


def served(world, origin, *options):
    """A router, a mount that serves `web`, and a port that leads there."""
    router = world.router(*options)
    mount = world.mount(router.address)
    mount.service("web", origin.address)
    return router, mount, mount.forward("web")


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.lines = self.socket.makefile("rb")

    def asks(self, data):
        """Sends a request, and reads the answer, which has a length."""
        self.socket.sendall(data)
        head = self.head()
        while status(head) < 200:
            head = self.head()
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return head + self.lines.read(int(length[1]) if length and not data.startswith(b"HEAD") else 0)

    def head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.lines.readline()
            assert line, head
            head += line
        return head

    def close(self):
        self.lines.close()
        self.socket.close()


def lines(mount, service="web"):
    return [line.split() for line in mount.read(f"services/{service}/requests").splitlines()]


def logged(mount, count):
    return eventually(lambda: len(lines(mount)) >= count and lines(mount), what=f"{count} requests are logged: {lines(mount)}")


def test_requests_are_logged(world, origin):
    """As a user follows them, from before the first one; the connections that there are count as well."""
    _, mount, port = served(world, origin)
    kept = world.add(Client(port))
    assert status(kept.asks(request("/before"))) == 200
    path = mount.path / "services/web/requests"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and os.stat(path).st_size == 0
    tail = subprocess.Popen(["tail", "-n", "+1", "-f", path], stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: str(path) in [os.readlink(file.path) for file in os.scandir(f"/proc/{tail.pid}/fd")], what="tail has opened it")
        kept.asks(request("/plain", fields="X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n"))
        words = tail.stdout.readline().split()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", words[0]), words
        assert words[1:5] == ["1", "GET", "/plain", "200"] and words[5].isdigit() and words[6:] == ["6", "192.0.2.7"], words
        second = world.add(Client(port))
        second.asks(request("/interim"))
        second.asks(request("/seen?a=b", method="POST", fields="Content-Length: 3\r\n", body=b"abc"))
        second.asks(request("/plain", method="HEAD"))
        second.asks(request("/204"))
        got = [tail.stdout.readline().split()[1:5] for _ in range(4)]
        assert got == [["2", "GET", "/interim", "200"], ["3", "POST", "/seen?a=b", "200"], ["4", "HEAD", "/plain", "200"], ["5", "GET", "/204", "204"]], got
    finally:
        tail.kill()
        tail.wait()
        tail.stdout.close()
    second.asks(request("/plain"))
    assert logged(mount, 6)[5][2:5] == ["GET", "/plain", "200"], "it goes on"
    os.unlink(path)
    assert mount.read("services/web/requests") == "", "it is forgotten"
    second.asks(request("/plain"))
    assert [line[1] for line in logged(mount, 1)] == ["7"], "and has begun anew"
    assert bash(f"rm -r {mount.path}/services/web").returncode == 0


def test_what_is_no_http_goes_by(world, origin):
    """Other protocols, upgrades, broken answers, answers without a length: nothing is changed, and nothing harmed."""
    _, mount, port = served(world, origin)
    assert lines(mount) == []
    with contextlib.closing(Client(port)) as client:
        client.socket.sendall(request("/upgrade", fields="Connection: upgrade\r\nUpgrade: echo\r\n"))
        head = b"".join(iter(client.lines.readline, b"\r\n"))
        assert b" 101 " in head
        for data in b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 100:
            client.socket.sendall(data)
            assert client.lines.read(len(data)) == data
        client.socket.shutdown(socket.SHUT_WR)
        assert client.lines.read() == b"bye"
    for path in "/to-close", "/1.0", "/half-a-body", "/no-http", "/nothing":
        with contextlib.closing(Client(port)) as client:
            client.socket.sendall(request(path))
            answer = client.lines.read(22 if path == "/no-http" else -1)
            assert len(answer) == {"/nothing": 0, "/no-http": 22}.get(path, len(answer)) and (answer or path == "/nothing")
    got = [line[3:5] + line[6:7] for line in logged(mount, 6)]
    assert got == [["/upgrade", "101", "0"], ["/to-close", "200", "13"], ["/1.0", "200", "3"], ["/half-a-body", "200", "4"],
                   ["/no-http", "-", "0"], ["/nothing", "-", "0"]], got

    class Noise(Server):
        def serve(self, connection):
            with connection:
                connection.sendall(b"220 hello\r\n")
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

    noise = world.add(Noise())
    mount.service("mail", noise.address)
    assert lines(mount, "mail") == []
    with socket.create_connection(("127.0.0.1", mount.forward("mail")), PATIENCE) as client:
        for data in b"220 hello\r\n", b"\x00\x01\x02" * 1000, b"HELO x\r\n":
            if not data.startswith(b"220"):
                client.sendall(data)
            assert client.recv(len(data), socket.MSG_WAITALL) == data
    assert lines(mount, "mail") == []


def test_large_bodies_are_still_spliced(world, origin):
    """The log reads heads only: what is between them stays in the kernel."""
    _, mount, port = served(world, origin)
    assert lines(mount) == []
    size = 32 << 20
    with contextlib.closing(Client(port)) as client:

        def is_spliced():
            """From some moment on, which depends on the machine."""
            assert len(client.asks(request(f"/large/{size}"))) > size
            return any(int(connection["spliced"]) > 0 for connection in mount.connections() if connection["role"] == "service")

        eventually(is_spliced, what="bodies are spliced")
        assert status(client.asks(request("/plain"))) == 200
    eventually(lambda: lines(mount)[-1][3] == "/plain")
    got = [line[3:5] + line[6:7] for line in lines(mount)]
    assert got == [[f"/large/{size}", "200", str(size)]] * (len(got) - 1) + [["/plain", "200", "6"]], got


def test_lines_hold_no_surprises(world, origin):
    _, mount, port = served(world, origin)
    assert lines(mount) == []
    with contextlib.closing(Client(port)) as client:
        client.asks(request("/" + "a" * 8000).replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: a\tb \xff\x9b31m\r\n\r\n"))
        client.asks(request("/plain"))
    eventually(lambda: len(lines(mount)) == 2)
    text = mount.read("services/web/requests")
    assert len(text) < 1000 and text.splitlines()[0].split()[3].endswith("aaa...") and "a?b???31m" in text, text


def kept(mount, service="web"):
    return sorted(int(name) for name in mount.listing(f"services/{service}/inspect") if name.isdigit())


def awaits_kept(mount, *ids):
    eventually(lambda: kept(mount) == list(ids), what=f"{ids} are kept: {kept(mount)}")


def message(mount, number, which):
    return (mount.path / f"services/web/inspect/{number}/{which}").read_bytes()


def test_exchanges_are_kept(world, origin):
    """Whole, as they went by, and with their bytes of any kind."""
    _, mount, port = served(world, origin)
    assert mount.listing("services/web/inspect") == ["limit"] and mount.read("services/web/inspect/limit") == "0\n"
    with contextlib.closing(Client(port)) as early, contextlib.closing(Client(port)) as client:
        early.asks(request("/plain"))
        for text in "-1", "x", "63K", "1T", "64MM", "65G", "18446744073709551617":
            mount.refuses(errno.EINVAL, "services/web/inspect/limit", f"{text}\n")
        assert bash(f"cd {mount.path} && echo 64M > services/web/inspect/limit").returncode == 0
        assert mount.read("services/web/inspect/limit") == "64M\n" and kept(mount) == []
        for path, mode in ("", 0o700), ("/limit", 0o600):
            assert stat.S_IMODE(os.stat(f"{mount.path}/services/web/inspect{path}").st_mode) == mode
        body = bytes(range(256)) * 40
        asked = request("/seen", method="POST", fields=f"Authorization: secret\r\nContent-Length: {len(body)}\r\n", body=body)
        answer = client.asks(asked)
        awaits_kept(mount, 1)
        assert message(mount, 1, "request") == asked and message(mount, 1, "answer") == answer
        info = mount.values("services/web/inspect/1/info")
        assert (info["method"], info["url"], info["status"], info["request_bytes"], info["over"], info["kept"]) == (
            "POST", "/seen", "200", str(len(body)), "whole", "whole"), info
        for path, mode in ("", 0o700), ("/request", 0o600), ("/answer", 0o600), ("/info", 0o600):
            assert stat.S_IMODE(os.stat(f"{mount.path}/services/web/inspect/1{path}").st_mode) == mode
        early.asks(request("/interim"))
        early.asks(request("/204"))
        awaits_kept(mount, 1, 2, 3)
        assert message(mount, 2, "answer").count(b"HTTP/1.1 ") == 3, "interim answers are a part of it"
        assert "secret" not in "".join(program.text() for program in world.programs) + mount.read("events") + mount.read("errors")
        assert bash(f"rm -r {mount.path}/services/web/inspect/2").returncode == 0
        awaits_kept(mount, 1, 3)
        os.rmdir(mount.path / "services/web/inspect")
        awaits_kept(mount)
        early.asks(request("/plain"))
        awaits_kept(mount, 4)
        mount.write("services/web/inspect/limit", "0\n")
        awaits_kept(mount)
        early.asks(request("/plain"))
        mount.write("services/web/inspect/limit", "1M\n")
        early.asks(request("/plain"))
        awaits_kept(mount, 5)
    assert bash(f"rm -r {mount.path}/services/web").returncode == 0


def test_what_is_kept_is_bounded(world, origin):
    """The oldest go, and of a long message only its beginning is kept."""
    _, mount, port = served(world, origin)
    mount.write("services/web/inspect/limit", "128K\n")
    with contextlib.closing(Client(port)) as client:
        answer = client.asks(request("/large/100000"))
        awaits_kept(mount, 1)
        assert message(mount, 1, "answer") == answer[: 32 << 10] and mount.values("services/web/inspect/1/info")["kept"] == "in part"
        for number in range(2, 12):
            client.asks(request(f"/large/{20000 + number}"))
            eventually(lambda number=number: number in kept(mount))
            assert sum(len(message(mount, one, "answer")) for one in kept(mount)) <= 128 << 10
        awaits_kept(mount, 8, 9, 10, 11)
        assert b"/large/20011" in message(mount, 11, "request")
        before = mount.rss()
        for _ in range(3):
            client.asks(request(f"/large/{32 << 20}"))
        assert mount.rss() - before < 24 << 20
        mount.write("services/web/inspect/limit", "64K\n")
        assert len(kept(mount)) < 4


def test_through_the_gate(world, origin):
    """What the target got is what is shown; a visitor's own word of who he is does not count."""
    router = world.router("--domain", "tun.test")
    mount = world.mount(router.address)
    mount.service("web", origin.address)
    mount.write("services/web/http", "app\n")
    gate = world.add(Gate(world.directory, router.address))
    eventually(lambda: status(gate.says(request("/plain", host="app.tun.test"))) == 200, what="the gate has the route")
    assert lines(mount) == [], "the gate has a connection ready by now"
    mount.write("services/web/inspect/limit", "1M\n")
    gate.says(request("/seen", host="app.tun.test", fields="X-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n"))
    assert origin.accepted == 1, "which it has used"
    last = logged(mount, 1)[0]
    assert last[2:5] == ["GET", "/seen", "200"] and last[-1] == "127.0.0.1", last
    eventually(lambda: int(last[1]) in kept(mount))
    assert message(mount, last[1], "request") == origin.requests[-1][0]


def test_a_request_is_made_again(world, origin):
    """As it was, or through sed; what is no request is refused with a sentence that does not repeat it."""
    router, mount, port = served(world, origin)
    assert stat.S_IMODE(os.stat(mount.path / "services/web/replay").st_mode) == 0o600 and mount.read("services/web/replay") == ""
    mount.write("services/web/inspect/limit", "64M\n")
    body = bytes(range(256)) * 3
    asked = request("/seen", method="POST", fields=f"X-Forwarded-For: 192.0.2.7\r\nContent-Length: {len(body)}\r\n", body=body)
    with contextlib.closing(Client(port)) as client:
        client.asks(asked)
    awaits_kept(mount, 1)

    def script(text):
        done = bash(f"cd {mount.path}/services/web && {text}")
        assert done.returncode == 0 and done.stderr == "", done
        return done.stdout

    new = script("cat inspect/1/request > replay; cat replay")
    assert new == "2\n" and origin.requests[-1] == origin.requests[0]
    awaits_kept(mount, 1, 2)
    assert message(mount, 2, "request") == asked and message(mount, 2, "answer") == message(mount, 1, "answer")
    line = logged(mount, 1)[0]
    assert line[1:5] == ["2", "POST", "/seen", "200"] and line[7] == "replay", line
    for number, edit in enumerate((r"s/POST/PUT/; s/^Host:.*/Host: other/", "$ a more"), 3):
        assert script(f"LC_ALL=C sed '{edit}' inspect/1/request > replay; cat replay") == f"{number}\n"
    head, got = origin.requests[-2]
    assert head.startswith(b"PUT /seen HTTP/1.1\r\nHost: other\r\n") and got == body
    head, got = origin.requests[-1]
    assert got.startswith(body) and got != body and b"Content-Length: %d\r\n" % len(got) in head
    assert script("printf 'GET /204 HTTP/1.1\\nHost: a\\n\\n' > replay; cat replay") == "5\n"
    assert script("printf 'GET /to-close HTTP/1.1\\nHost: a\\n\\n' > replay; cat inspect/$(cat replay)/answer").endswith("\n\nuntil the end")
    chunked = b"POST /seen HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    mount.write("services/web/replay", chunked)
    eventually(lambda: origin.requests[-1] == tuple(chunked.split(b"\r\n\r\n", 1)[i] + b"\r\n\r\n" * (1 - i) for i in (0, 1)))

    before = len(origin.requests), mount.read("services/web/replay"), len(mount.errors())
    bad = ("secret", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\n\r\n", "GET secret HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
           "PRI * HTTP/2.0\r\n\r\n", "\n\nGET / HTTP/1.1\nHost: a\n\n", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\nabc\n", chunked.decode() + "x", "\x00\x01")
    for text in bad:
        done = bash(f"cat > {mount.path}/services/web/replay", input=text, stdin=None)
        assert done.returncode != 0 and "Invalid argument" in done.stderr, (text, done)
    assert (len(origin.requests), mount.read("services/web/replay"), len(mount.errors())) == (*before[:2], before[2] + len(bad))
    assert "secret" not in mount.read("errors") + mount.text(), mount.errors()
    assert any("an empty line is missing" in line and "EINVAL" in line for line in mount.errors())

    with refused(errno.EFBIG), open(mount.path / "services/web/replay", "wb", buffering=0) as file:
        for _ in range(513):
            file.write(bytes(128 << 10))
    origin.close()
    with refused(errno.ECONNREFUSED):
        mount.write("services/web/replay", "GET / HTTP/1.1\nHost: a\n\n")
    os.unlink(mount.path / "services/web/target")
    with refused(errno.ENOTCONN):
        mount.write("services/web/replay", "GET / HTTP/1.1\nHost: a\n\n")
    assert any("ECONNREFUSED" in line for line in mount.errors()) and any("ENOTCONN" in line for line in mount.errors())
    assert bash(f"rm -r {mount.path}/services/web").returncode == 0


def test_replays_are_bounded_and_end_with_their_service(world):
    """A target that does not answer keeps nobody waiting for ever."""

    class Silent(Server):
        first = b""

        def serve(self, connection):
            with connection:
                while data := connection.recv(1 << 16):
                    self.first = self.first or data

    silent = world.add(Silent())
    mount = world.mount(world.router().address)
    mount.service("web", silent.address)
    mount.write("services/web/proxy", "v1\n")
    path = mount.path / "services/web/replay"
    waiting = [subprocess.Popen(["bash", "-c", f"printf 'GET /{n} HTTP/1.1\\nHost: a\\n\\n' > {path}"], stderr=subprocess.PIPE) for n in range(8)]
    eventually(lambda: silent.accepted == 8, what="eight are under way")
    assert silent.first.startswith(b"PROXY UNKNOWN\r\n"), "such a target is told that there is no client"
    with refused(errno.EBUSY):
        mount.write("services/web/replay", "GET / HTTP/1.1\nHost: a\n\n")
    for process in waiting[:2]:
        process.kill()
    for process in waiting[:2]:
        process.communicate(timeout=PATIENCE)
    os.rmdir(mount.path / "services/web")
    for process in waiting[2:]:
        process.communicate(timeout=PATIENCE)
    eventually(lambda: any("the service was withdrawn" in line for line in mount.errors()))


@pytest.mark.threads
def test_many_at_once_by_grpc(world, origin):
    """What comes is seen on another thread there, while the oldest go and others read; ends at any moment harm nothing."""
    router = world.router()
    mount = world.mount(router.address, "raw=off")
    mount.service("web", origin.address)
    port = mount.forward("web")
    mount.write("services/web/inspect/limit", "256K\n")
    assert lines(mount) == []

    def client(number):
        with contextlib.closing(Client(port)) as one:
            for turn in range(30):
                size = 1000 * (1 + (number + turn) % 20)
                asked = request(f"/seen?{number}", method="POST", fields=f"Content-Length: {size}\r\n", body=b"b" * size)
                assert one.asks(asked).endswith(asked)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        work = [pool.submit(client, number) for number in range(8)]
        while not all(one.done() for one in work):
            for number in kept(mount):
                with contextlib.suppress(FileNotFoundError):
                    text = message(mount, number, "request")
                    assert text.startswith(b"POST /seen?") or text == b"", text[:40]
            if len(kept(mount)) > 2:
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(mount.path / "services/web/inspect" / str(kept(mount)[-1]))
        for one in work:
            one.result()
    assert sorted(int(line[1]) for line in logged(mount, 240)) == list(range(1, 241))
    assert mount.values("services/web/stats")["failed"] == "0"
    with contextlib.closing(Client(port)) as late:
        late.socket.sendall(request("/large/100000000"))
        late.head()
        os.rmdir(mount.path / "services/web")
        mount.service("web", origin.address)
        assert mount.read("services/web/requests") == "" and kept(mount) == []
        late.lines.read(1000000)
