"""Connections over raw streams: TCP connections that the router joins, beside those that are gRPC calls."""
import contextlib
import signal
import socket

import pytest

from gate import GRPC, RAW, Gate
from harness import PATIENCE, Echo, Server, dial, eventually, exchange, free_port, hear, hear_exactly, run, settled
from test_fronts import Front
from test_mmdial import Dialled
from test_stalls import Link
from test_survival import detached, goes_on, killed, speak, succeeded
from traffic import Conversation, Flow, together

pytestmark = pytest.mark.threads


def kinds(*mounts):
    """Of each connection's stream."""
    return [connection.get("stream") for mount in mounts for connection in mount.connections()]


def go_by(kind, *mounts):
    eventually(lambda: kinds(*mounts) == [kind] * len(mounts), what=f"both go by {kind}")


def streams(mount):
    return mount.values("status")["streams"]


@pytest.fixture
def link(world, a, b):
    return Link(world, a, b)


def pair(world, *options):
    return [world.mount(router, option, name=name) for (router, option), name in zip(options, "AB")]


def test_there_and_back(world, a, b, link):
    assert streams(a) == streams(b) == "raw"
    near, far = link.ends("up")
    speak(near, far)
    go_by("raw", a, b)
    goes_on(near, far, a, b)


def test_either_end_first(world, a, b, link):
    for way in ("up", "down") * 3:
        near, far = link.ends(way)
        near.shutdown(socket.SHUT_WR)
        assert hear(far) == b""
        far.sendall(b"late")
        assert hear_exactly(near, 4) == b"late"
        far.shutdown(socket.SHUT_WR)
        assert hear(near) == b""
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]


def test_what_comes_is_what_was_said(world, a, b, link):
    near, far = link.ends("up")
    flows = [Flow(way, 20 << 20) for way in ("up", "down")]
    together(lambda: flows[0].say(near), lambda: flows[0].hear(far), lambda: flows[1].say(far), lambda: flows[1].hear(near))
    assert kinds(a, b) in ([], ["raw", "raw"])
    near.close()
    far.close()
    settled(a, b)


def test_many_at_once(world, a, b):
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial(port)) for _ in range(300)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%05d" % number)
        for number, connection in enumerate(connections):
            assert hear_exactly(connection, 5) == b"%05d" % number
        assert set(kinds(a, b)) == {"raw"}
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]


def test_the_router_dies_under_a_transfer(world, router, a, b, link):
    """And each new stream is a raw one again."""
    with Conversation("killed", *link.ends("up")) as talk:
        for _ in range(3):
            talk.goes_on()
            router = killed(world, router)
        talk.goes_on()
        go_by("raw", a, b)
    settled(a, b)


def test_a_successor_takes_over(world, router, a, b, link):
    with Conversation("drained", *link.ends("up")) as talk:
        talk.goes_on()
        former, router = router, succeeded(world, router)
        talk.goes_on()
        assert former.process.wait(PATIENCE) == 0
        talk.goes_on()
        go_by("raw", a, b)
    settled(a, b)


@pytest.mark.parametrize("without", ["service", "forward"])
def test_one_side_without(world, router, without):
    """It goes by gRPC, and no connection fails for it."""
    a, b = pair(world, (router, "raw=off" if without == "service" else ""), (router, "raw=off" if without == "forward" else ""))
    assert sorted(streams(mount) for mount in (a, b)) == ["grpc (the option raw=off)", "raw"]
    link = Link(world, a, b)
    for _ in range(3):
        near, far = link.ends("up")
        speak(near, far)
        go_by("grpc", a, b)
        goes_on(near, far, a, b)
    assert [mount.errors() for mount in (a, b)] == [[], []]


def test_a_front_comes_and_goes(world, router, a, b, link):
    """The connection goes on by gRPC while a front that passes HTTP/2 only stands where the router was, and by raw streams after it."""
    near, far = link.ends("up")
    speak(near, far)
    router.kill()
    detached(a, b)
    front = world.add(Front(world.directory, "haproxy", world.router(), port=router.port))
    speak(near, far)
    go_by("grpc", a, b)
    for mount in (a, b):
        assert streams(mount) == "grpc (what listens there takes no raw streams)"
    front.stop()
    detached(a, b)
    world.router(listen=router.address)
    speak(near, far)
    go_by("raw", a, b)
    goes_on(near, far, a, b)


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_a_front_that_passes_http_2_only(world, router, kind):
    front = world.add(Front(world.directory, kind, router))
    eventually(front.listens)
    near, far = world.mount(front), world.mount(front)
    far.service("echo", world.target(Echo).address)
    port = near.forward("echo")
    assert exchange(port, b"by gRPC") == b"by gRPC"
    for mount in (near, far):
        assert streams(mount).startswith("grpc (")
        assert mount.values("status")["failed"] == "0"




@pytest.mark.parametrize("kind, option, open_to_raw", [(RAW, "raw=on", True), (GRPC, "raw=off", True), (GRPC, "raw=on", False)])
def test_one_connection_without_a_mount(world, router, a, kind, option, open_to_raw):
    """mmdial's goes the same ways."""
    a.service("echo", world.target(Echo).address)
    gate, said = world.target(Gate, router.address), b"once" * 100000
    if not open_to_raw:
        gate.shuts()
    with Dialled(world.directory, gate.address, "echo", "-o", option) as dialled:
        heard, _ = dialled.communicate(said, timeout=PATIENCE)
        dialled.ends()
    assert heard == said
    assert {name: size > len(said) for name, size in gate.bytes().items()} == {RAW: kind == RAW, GRPC: kind == GRPC}
