"""Routers that go, come back, are slow, or are none: a state, never an error, and nothing in the tree waits for it."""
import errno
import os
import socket
import threading
import time

import pytest

from harness import Echo, Mount, Server, bash, dial, eventually, exchange, free_port, is_mounted, run, run_any


@pytest.mark.threads
def test_a_router_comes_back(world, router, a, b):
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    assert exchange(port, b"1") == b"1"
    address = f"127.0.0.1:{router.port}"
    router.kill()
    a.connected("connecting")
    b.connected("connecting")
    assert a.state("web") == "offline"
    world.router(listen=address)
    a.connected()
    b.connected()
    a.awaits("web", "online")
    eventually(lambda: exchange(port, b"2") == b"2", what="traffic again")
    events = a.read("events")
    assert "web" in events and len(events.splitlines()) >= 3


def test_what_is_declared_meanwhile_is_registered_later(world, directory):
    port = free_port()
    a = world.mount(f"127.0.0.1:{port}", wait="mounted", name="A")
    eventually(lambda: a.values("status")["state"] == "connecting")
    target = world.target(Echo)
    a.service("web", target.address, state=None)
    assert a.state("web") == "offline"
    a.write("forwards/web", "0\n")
    router = world.router(listen=f"127.0.0.1:{port}")
    a.connected()
    a.awaits("web", "online")
    b = world.mount(router, name="B")
    assert exchange(b.forward("web"), b"late") == b"late"
    assert exchange(a.ports("web")[0], b"late") == b"late"


def test_a_mount_that_goes_takes_its_services_along(world, router, a, b):
    a.service("web", "localhost:80")
    b.sees("web")
    a.stop()
    b.misses("web")


def test_a_mount_that_dies_takes_its_services_along(world, router, a, b):
    a.service("web", "localhost:80")
    b.sees("web")
    a.kill()
    b.misses("web")


class Bad:
    """Things that listen and are no router."""

    class Closes(Server):
        def serve(self, connection):
            connection.close()

    class Http(Server):
        def serve(self, connection):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            connection.close()

    class Greets(Server):
        def serve(self, connection):
            connection.sendall(b"220 smtp.example.net ESMTP\r\n" * 10)

    class Silent(Server):
        pass

    class Unaccepting:
        """The kernel's queue is full: packets go unanswered."""

        def __init__(self):
            self.listener = socket.socket()
            self.listener.bind(("127.0.0.1", 0))
            self.listener.listen(0)
            self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
            self.fillers = []
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(self.listener.getsockname())
                self.fillers.append(filler)

        def close(self):
            for end in [self.listener, *self.fillers]:
                end.close()

    class Nobody:
        address = None

        def __init__(self):
            self.address = f"127.0.0.1:{free_port()}"

        def close(self):
            pass


@pytest.mark.parametrize("kind", [Bad.Closes, Bad.Http, Bad.Greets, Bad.Silent, Bad.Unaccepting, Bad.Nobody], ids=lambda k: k.__name__)
def test_what_is_no_router(world, kind):
    """The tree answers at once; what needs a verdict is taken for later; the end is quick."""
    peer = world.target(kind)
    mount = world.mount(peer.address, wait="mounted")
    for _ in range(3):
        start = time.monotonic()
        mount.listing("services")
        run("ls", "-lR", mount.path)
        assert mount.values("status")["state"] == "connecting"
        assert time.monotonic() - start < 5
    start = time.monotonic()
    mount.service("web", "localhost:80", state=None)
    mount.write("forwards/web", "0\n")
    assert mount.state("web") == "offline"
    os.rmdir(mount / "services/web")
    os.unlink(mount / "forwards/web")
    assert time.monotonic() - start < 10


def test_status_says_why(world):
    mount = world.mount(f"127.0.0.1:{free_port()}", wait="mounted")
    eventually(lambda: "refused" in mount.read("status") or "refused" in mount.read("events"))


def test_a_router_that_stalls_is_noticed_or_bounds_a_write(world, router, a):
    """The router stops without closing anything: a write comes back in bounds."""
    import signal

    os.kill(router.pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        os.mkdir(a / "services/web")
        done = bash(f"echo localhost:80 > {a.path}/services/web/target", timeout=25)
        assert time.monotonic() - start < 15
        assert done.returncode == 0 or "timed out" in done.stderr, done.stderr
        assert a.state("web") in ("registering", "offline")
        start = time.monotonic()
        run("ls", "-lR", a.path)
        assert time.monotonic() - start < 5
    finally:
        os.kill(router.pid, signal.SIGCONT)
    a.awaits("web", "online")


def test_who_waits_for_a_verdict_is_in_nobodys_way(world, router, a):
    """Three writers wait; whatever is done beside them, and to the very files, is done before they have their answer."""
    import signal

    for name in ("web", "idle"):
        os.mkdir(a / "services" / name)
    paths = ["forwards/nothing", "services/web/target", "services/new"]
    answers = [[] for _ in paths]

    def write(path, answer):
        try:
            a.write(path, "127.0.0.1:9\n")
            answer.append(0)
        except OSError as error:
            answer.append(error.errno)

    os.kill(router.pid, signal.SIGSTOP)
    try:
        writers = [threading.Thread(target=write, args=pair) for pair in zip(paths, answers)]
        for writer in writers:
            writer.start()
        eventually(lambda: a.listing("forwards") == ["nothing"] and a.state("web") == a.state("new") == "registering")
        run("ls", "-lR", a.path)
        for path in ("forwards/nothing", "services/web/target", "services/new/target"):
            run("tail", "-n", "1", a / path)
            run("cp", a / path, world.directory / "copy")
        os.mkdir(a / "services/more")
        os.rmdir(a / "services/more")
        for name in ("services/more", "forwards/more"):
            os.close(os.open(a / name, os.O_WRONLY | os.O_CREAT))
        run("rm", "-r", a / "services/idle")
        assert answers == [[], [], []], "they do not wait"
        run("rm", a / "forwards/nothing")
        assert a.listing("forwards") == []
        run("rm", a / "services/web/target")
        assert a.state("web") == "pending" and answers[2] == []
        run("rm", "-r", a / "services/new")
        assert a.listing("services") == ["web"]
        for writer in writers:
            writer.join()
        assert answers == [[errno.ENOENT]] * 3
    finally:
        os.kill(router.pid, signal.SIGCONT)


def test_a_write_that_waits_can_be_interrupted(world, router, a):
    import signal

    os.kill(router.pid, signal.SIGSTOP)
    try:
        os.mkdir(a / "services/web")
        start = time.monotonic()
        done = run_any("timeout", "-s", "INT", "0.5", "bash", "-c", f"echo localhost:80 > {a.path}/services/web/target", timeout=25)
        assert time.monotonic() - start < 4, "the wait was not interrupted"
        assert done.returncode != 0
        assert a.state("web") in ("registering", "offline")
    finally:
        os.kill(router.pid, signal.SIGCONT)
    a.awaits("web", "online")


def test_a_draining_router_lets_connections_finish(world, router, a, b):
    import signal

    a.service("web", world.target(Echo).address)
    with dial(b.forward("web")) as connection:
        connection.sendall(b"x")
        assert connection.recv(1) == b"x"
        router.process.send_signal(signal.SIGTERM)
        eventually(lambda: "drain" in b.read("events") or "stop" in b.read("events") or not router.alive(), what="B hears of it")
        if router.alive():
            connection.sendall(b"y")
            connection.settimeout(10)
            connection.recv(1)
    assert router.process.wait(20) == 0
