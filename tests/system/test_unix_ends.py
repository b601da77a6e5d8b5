"""Unix sockets have no reset of their own, but for what was sent and not read: so they see one all the same."""
import os
import random
import select
import socket

import pytest

from harness import PATIENCE, Echo, Server, dial, exchange, hear_exactly, is_reset, settled
from traffic import Flow, Meeting, any_size, together


def small_requests(connection):
    """From an application that waits for room before each of its writes, and has as little as can be: of the same size as
    what is left unread."""
    for size in (1, 191, 192, 193, 703, 704, 705, 1500, 4096):
        data, heard = os.urandom(size), b""
        while data or len(heard) < size:
            readable, writable, _ = select.select([connection], [connection] if data else [], [], PATIENCE)
            assert readable or writable, f"there is no room for {len(data)} of {size} bytes, {len(heard)} came back"
            if writable:
                sent = connection.send(data)
                data = data[sent:]
            if readable:
                heard += connection.recv(1 << 16)


@pytest.fixture
def served(world, a, b, directory):
    """A service and a forward, both with unix sockets."""
    target = world.target(Server, directory / "target")
    a.service("web", target.address)
    b.sees("web")
    b.write("forwards/web", f"unix:{directory}/door\n")
    return target, directory / "door"


def test_what_is_broken_is_a_reset(a, b, served):
    target, door = served

    def cut(mount):
        (number,) = mount.listing("connections")
        os.unlink(mount / f"connections/{number}")

    breaks = {"cut at the forward": lambda near, far: cut(b), "cut at the service": lambda near, far: cut(a), "killed": lambda near, far: b.kill()}
    for index, (name, break_it) in enumerate(breaks.items()):
        with dial(door) as near:
            near.sendall(b"half a question")
            far = target.connection(index)
            assert hear_exactly(far, 15) == b"half a question"
            far.sendall(b"half an answer")
            assert hear_exactly(near, 14) == b"half an answer"
            break_it(near, far)
            assert is_reset(near), name
            if name != "killed":
                assert is_reset(far), name
                settled(a, b)


def test_ends_in_order_stay_so(world, a, b, directory):
    echo = world.target(Echo, directory / "target")
    a.service("web", echo.address)
    b.sees("web")
    b.write("forwards/web", f"unix:{directory}/door\n")
    for size in (0, 1, 2, 703, 704, 705, 70000):
        data = os.urandom(size)
        assert exchange(directory / "door", data) == data
    with dial(directory / "door") as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.setblocking(False)
        small_requests(near)
    settled(a, b)


@pytest.mark.threads
def test_both_ways_with_any_sizes_and_ends(world, a, b, directory):
    target = world.target(Meeting, directory / "target")
    a.service("web", target.address)
    b.sees("web")
    b.write("forwards/web", f"unix:{directory}/door\n")
    source = random.Random(1)

    def converse(sizes):
        up, down = (Flow(f"unix {size} {way}", size, piece=piece) for way, (size, piece) in zip(("up", "down"), sizes))
        near, far = target.ends(directory / "door", 60)
        together(lambda: up.say(near), lambda: up.hear(far), lambda: down.say(far), lambda: down.hear(near))
        near.close()
        far.close()

    plan = [[(any_size(source, 1 << 21), 1 << 20) if n % 2 else (source.randrange(40000), 900) for _ in range(2)] for n in range(8)]
    together(*(lambda s=sizes: converse(s) for sizes in plan))
    settled(a, b)
