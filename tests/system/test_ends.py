"""How connections end, when there is no room for what was said before, or when the other side has not heard all of it."""
import contextlib
import os
import select
import socket

from harness import Echo, Server, dial, eventually, exchange, hear, hear_exactly, reset, settled
from test_stalls import Link, small
from traffic import BLOB


def over(connection):
    """It has heard an end or a reset, though nobody has read what came before."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def stuff(connection):
    """All that goes in for now. Returns how much."""
    said = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            said += connection.send(BLOB[: 1 << 16])
    return said


def test_ends_are_heard_with_a_full_budget(world, router):
    """Nobody reads, and the queues have used up what they may: who breaks off is heard, new ones are served, and what was
    said before an orderly end is there for whoever comes to read it."""
    a, b = (world.mount(router, "budget=1M", name=name) for name in "AB")
    link, echo = Link(world, a, b), world.target(Echo)
    a.service("echo", echo.address)
    port = b.forward("echo")
    ends = [link.target.ends(link.port, 80) for _ in range(16)]
    said = dict.fromkeys(ends, 0)
    for near, far in ends:
        small(far)
        near.setblocking(False)

    def full():
        for near, far in ends:
            said[near, far] += stuff(near)
        return int(a.values("status")["queued"]) > 1 << 20

    eventually(full, what="more waits than the budget is")
    assert exchange(port, BLOB[: 1 << 20]) == BLOB[: 1 << 20]
    for near, _ in ends[:4]:
        reset(near)
    eventually(lambda: all(over(far) for _, far in ends[:4]), what="the target hears resets")
    for _, far in ends[4:8]:
        reset(far)
    eventually(lambda: all(over(near) for near, _ in ends[4:8]), what="the applications hear resets")
    eventually(lambda: len(b.listing("connections")) == 8, what="nothing of those is left")
    for number in b.listing("connections")[:3]:
        os.unlink(b / f"connections/{number}")
    eventually(lambda: sum(over(far) for _, far in ends[8:]) == 3, what="the target hears of cuts")
    assert len(a.listing("connections")) == 5
    near, far = next(pair for pair in ends[8:] if not over(pair[1]))
    near.shutdown(socket.SHUT_WR)
    assert len(hear(far)) == said[near, far]
    b.stop()
    eventually(lambda: all(over(far) for _, far in ends[8:]), what="the target hears of the program's end")
    settled(a)


class Strict(Server):
    """Answers before it has heard all, and closes: what it has not read resets the connection."""

    ANSWER = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbig!"

    def serve(self, connection):
        with connection:
            connection.recv(1000)
            connection.sendall(self.ANSWER)


def upload(port):
    """Says more than will be heard, and hears what is answered."""
    with dial(port) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(BLOB[: 4 << 20])
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1000):
                heard += data
        return heard


def test_what_was_said_before_an_end_is_heard(world, a, b):
    """An answer that comes early, before the reset that comes with it; urgent bytes, where they stand."""
    strict = world.target(Strict)
    a.service("strict", strict.address)
    port = b.forward("strict")
    for _ in range(60):
        assert upload(port) == Strict.ANSWER
    near, far = Link(world, a, b).ends()
    for speaker, hearer in ((near, far), (far, near)):
        speaker.sendall(b"RETR big\r\n")
        speaker.send(b"\xf2", socket.MSG_OOB)
        speaker.sendall(b"ABOR\r\n")
        assert hear_exactly(hearer, 17) == b"RETR big\r\n\xf2ABOR\r\n"
