"""A connection through the tree is a socket like any other."""
import contextlib
import hashlib
import os
import random
import socket
import threading

import pytest

from harness import Echo, Greeter, PATIENCE, Server, Web, dial, dial_is_reset, eventually, exchange, free_port, hear, hear_exactly, is_reset, reset

pytestmark = pytest.mark.threads


@pytest.fixture
def link(a, b):
    """Joins a target on A to a port on B."""

    def join(target, name="web"):
        a.service(name, target if isinstance(target, str) else target.address)
        return b.forward(name)

    return join


@pytest.fixture
def ends(world, link):
    """Both ends of one connection through the tree: the application's and the target's."""
    target = world.target(Server)
    application = dial(link(target))
    application.sendall(b"!")
    far = target.connection()
    assert hear_exactly(far, 1) == b"!"
    yield application, far
    application.close()


def test_one_byte(world, link):
    assert exchange(link(world.target(Echo)), b"x") == b"x"


def test_nothing(world, link):
    assert exchange(link(world.target(Echo)), b"") == b""


def test_a_target_speaks_first(world, link):
    with dial(link(world.target(Greeter))) as connection:
        assert hear_exactly(connection, len(Greeter.greeting)) == Greeter.greeting


def test_an_end_is_quicker_than_the_dial(world, link):
    """The target's name is still looked up when the application has ended."""
    target = world.target(Server)
    port = link(f"localhost:{target.port}")
    for number in range(40):
        with dial(port) as near:
            near.shutdown(socket.SHUT_WR)
            far = target.connection(number)
            assert hear(far) == b""
            far.close()
            assert hear(near) == b""


def test_http(world, link):
    port = link(world.target(Web))
    for _ in range(3):
        assert exchange(port, b"GET / HTTP/1.1\r\n\r\n").endswith(Web.body)


@pytest.mark.parametrize("first", ["application", "target"])
def test_half_close(ends, first):
    """Who ended still hears; the other direction lives on until it ends by itself."""
    near, far = ends if first == "application" else ends[::-1]
    near.sendall(b"last words")
    near.shutdown(socket.SHUT_WR)
    assert hear(far) == b"last words"
    for _ in range(3):
        far.sendall(b"and more")
        assert hear_exactly(near, 8) == b"and more"
    far.shutdown(socket.SHUT_WR)
    assert hear(near) == b""


@pytest.mark.parametrize("first", ["application", "target"])
def test_reset_becomes_reset(ends, first):
    near, far = ends if first == "application" else ends[::-1]
    reset(near)
    assert is_reset(far)


def test_close_with_unread_data_is_a_reset(ends):
    """Linux resets when a socket is closed with bytes unread; so does the far end see it."""
    near, far = ends
    far.sendall(b"nobody reads this")
    eventually(lambda: near.recv(1, socket.MSG_PEEK))
    near.close()
    assert is_reset(far)


def test_a_reset_after_half_close(ends):
    near, far = ends
    near.shutdown(socket.SHUT_WR)
    assert hear(far) == b""
    reset(far)
    assert is_reset(near)


def test_a_target_that_refuses_resets(a, b, link):
    port = link(f"127.0.0.1:{free_port()}")
    assert dial_is_reset(port)
    eventually(lambda: any("refused" in line for line in a.errors()), what="A tells why")


def test_a_target_that_does_not_resolve_resets(a, link):
    port = link("no-such-host.invalid:80")
    assert dial_is_reset(port)
    eventually(lambda: any("no-such-host.invalid" in line for line in a.errors()), what="A tells why")


def test_v6(world, a, b):
    target = world.target(Echo, family=socket.AF_INET6)
    a.service("web", target.address)
    b.sees("web")
    b.write("forwards/web", "[::1]:0\n")
    with socket.create_connection(("::1", b.ports("web")[0]), PATIENCE) as connection:
        connection.sendall(b"six")
        assert hear_exactly(connection, 3) == b"six"


def test_a_name_as_target(world, link):
    assert exchange(link(f"localhost:{world.target(Echo).port}"), b"x") == b"x"


def test_unix_sockets_both_ways(world, a, b):
    target, listener = world.target(Echo, path=world.directory / "target"), world.directory / "listener"
    a.service("db", target.address)
    b.sees("db")
    b.write("forwards/db", f"unix:{listener}\n")
    assert exchange(listener, b"over unix sockets") == b"over unix sockets"
    assert os.stat(listener).st_mode & 0o777 == 0o600


def test_within_one_mount(world, a):
    a.service("web", world.target(Echo).address)
    assert exchange(a.forward("web"), b"myself") == b"myself"


def test_small_and_large_pieces_stay_in_order(world, link):
    pieces, random_source = [], random.Random(7)
    for size in [1, 2, 3, 63, 64, 2047, 2048, 2049, 65535, 65536, 65537, 1 << 20, (1 << 20) + 1] * 2:
        pieces.append(random_source.randbytes(size))
    with dial(link(world.target(Echo))) as connection:
        for piece in pieces:
            sender = threading.Thread(target=connection.sendall, args=(piece,))
            sender.start()
            assert hear_exactly(connection, len(piece)) == piece
            sender.join(PATIENCE)


def test_64_mb_both_ways_at_once(world, link):
    block = os.urandom(1 << 20)
    rounds = 64
    expected = hashlib.sha256(block * rounds).hexdigest()
    target = world.target(Server)

    def send(connection):
        for _ in range(rounds):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)

    def digest(connection):
        connection.settimeout(90)
        heard = hashlib.sha256()
        while data := connection.recv(1 << 18):
            heard.update(data)
        return heard.hexdigest()

    with dial(link(target), 90) as near:
        far = target.connection()
        senders = [threading.Thread(target=send, args=(end,)) for end in (near, far)]
        heard = {}
        hearers = [threading.Thread(target=lambda e=end: heard.update({e: digest(e)})) for end in (near, far)]
        for thread in senders + hearers:
            thread.start()
        for thread in senders + hearers:
            thread.join(100)
        assert heard == {near: expected, far: expected}


def test_300_connections_at_once(world, a, b, link):
    port = link(world.target(Echo))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial(port)) for _ in range(300)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%06d" % number)
        for number, connection in enumerate(connections):
            assert hear_exactly(connection, 6) == b"%06d" % number
        assert len(b.listing("connections")) == len(a.listing("connections")) == 300
    eventually(lambda: not b.listing("connections") and not a.listing("connections"), what="all are gone")


def test_descriptors_come_back(world, router, a, b, link):
    port = link(world.target(Echo))
    exchange(port, b"warm")
    eventually(lambda: not b.listing("connections") and not a.listing("connections"))
    before = [program.descriptors() for program in (router, a, b)]
    for round_ in range(10):
        connections = [dial(port) for _ in range(10)]
        for number, connection in enumerate(connections):
            connection.sendall(b"x")
            if number % 3:
                hear_exactly(connection, 1)
            reset(connection) if number % 2 else connection.close()
    eventually(lambda: not b.listing("connections") and not a.listing("connections"))
    eventually(lambda: [p.descriptors() for p in (router, a, b)] <= before, what="descriptors as before")


def test_a_dead_daemon_resets_its_connections(world, router, ends, a):
    """As soon as its next process is there, which does not know them."""
    near, far = ends
    a.kill()
    world.mount(router, name="A")
    assert is_reset(near)


def test_a_dead_router_resets_connections_when_they_were_held_long_enough(world, router):
    a, b = (world.mount(router, "hold=1", name=name) for name in "AB")
    target = world.target(Server)
    a.service("web", target.address)
    with dial(b.forward("web")) as near:
        near.sendall(b"!")
        far = target.connection()
        assert hear_exactly(far, 1) == b"!"
        router.kill()
        assert is_reset(near) and is_reset(far)
