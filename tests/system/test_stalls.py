"""Who does not read holds up nobody else, is told everything once it reads, and does not fill the memory meanwhile."""
import contextlib
import os
import socket
import threading
import time
import types

import pytest

from harness import Echo, PATIENCE, eventually, exchange, hear, reset, settled
from traffic import BLOB, Flow, Meeting, together

pytestmark = pytest.mark.threads

# More than all windows, queues and sockets on the way can hold.
MUCH = 96 << 20
WAYS = ["down", "up"]


def small(connection):
    """Little room for what is not read: not the kernel is to be filled."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


class Link:
    """Connections between B's port and a target of A, with both ends in hand; `way` says who speaks."""

    def __init__(self, world, a, b, name="web"):
        self.target = world.target(Meeting)
        a.service(name, self.target.address)
        self.port = b.forward(name)

    def ends(self, way="down"):
        """Who speaks, and who is to hear."""
        near, far = self.target.ends(self.port, 80)
        return (far, near) if way == "down" else (near, far)


@pytest.fixture
def link(world, a, b):
    return Link(world, a, b)


@contextlib.contextmanager
def saying(flow, connection):
    """Meanwhile on a thread of its own, which may end with the connection."""

    def say():
        with contextlib.suppress(OSError):
            flow.say(connection)

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"{flow}: not all was said"


@pytest.mark.parametrize("way", WAYS)
def test_a_stalled_receiver_beside_a_fast_one(link, way):
    stalled_speaker, stalled = link.ends(way)
    speaker, hearer = link.ends(way)
    small(stalled)
    slow, fast = (Flow(name, MUCH, pauses=False) for name in ("slow", "fast"))
    with saying(slow, stalled_speaker) as unfinished:
        eventually(lambda: slow.said > 1 << 20, what="the slow one is on its way")
        together(lambda: fast.say(speaker), lambda: fast.hear(hearer))
        assert unfinished.is_alive(), f"{slow}: that much was taken for somebody who reads nothing"
        slow.hear(stalled)


@pytest.mark.parametrize("way", WAYS)
def test_what_nobody_reads_does_not_hold_up_the_other_direction(link, way):
    """All of one direction arrives while its own speaker ignores what comes."""
    speaker, hearer = link.ends(way)
    small(speaker)
    ignored, wanted = (Flow(name, MUCH, pauses=False) for name in ("ignored", "wanted"))
    with saying(ignored, hearer) as unfinished:
        eventually(lambda: ignored.said > 1 << 20, what="there is something to ignore")
        together(lambda: wanted.say(speaker), lambda: wanted.hear(hearer))
        assert unfinished.is_alive(), f"{ignored}: that much was taken for somebody who reads nothing"
        ignored.hear(speaker)


def test_a_receiver_that_stalls_again_and_again(link):
    """For longer than a window is kept open, each time; it opens again, and nothing is lost by it."""
    speaker, hearer = link.ends()
    small(hearer)
    flow = Flow("on and off", MUCH // 2, pauses=False)
    with saying(flow, speaker):
        for burst in range(1, 4):
            while flow.heard < burst * MUCH // 8:
                flow.take(hearer)
            time.sleep(1.5)
        flow.hear(hearer)


def test_many_stalled_receivers_and_a_small_budget(world, router):
    """The budget is used up; who is new still gets what everybody starts with."""
    a, b = (world.mount(router, "budget=1M", name=name) for name in "AB")
    link, echo = Link(world, a, b), world.target(Echo)
    a.service("echo", echo.address)
    port = b.forward("echo")
    with contextlib.ExitStack() as stack:
        flows = []
        for number in range(24):
            speaker, hearer = link.ends(WAYS[number % 2])
            small(hearer)
            flow = Flow(number, 8 << 20, pauses=False)
            stack.enter_context(saying(flow, speaker))
            flows.append((flow, hearer))
        for _ in range(5):
            assert exchange(port, BLOB[: 2 << 20]) == BLOB[: 2 << 20]
        assert any(flow.said < flow.size for flow, _ in flows)
        together(*(lambda f=flow, h=hearer: f.hear(h) for flow, hearer in flows))
    assert exchange(port, b"afterwards") == b"afterwards"


BREAKS = {
    "the application resets": lambda w: [reset(near) for near, _ in w.ends],
    "the target resets": lambda w: [reset(far) for _, far in w.ends],
    "the forward's machine cuts": lambda w: cut(w.b),
    "the service's machine cuts": lambda w: cut(w.a),
    "the forward's machine dies": lambda w: w.b.kill(),
    "the service's machine dies": lambda w: w.a.kill(),
    "the router dies": lambda w: w.router.kill(),
}


def cut(mount):
    for number in mount.listing("connections"):
        os.unlink(mount / f"connections/{number}")


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS.keys())
def test_what_breaks_under_slow_readers_leaves_nothing(world, router, break_it):
    """Both directions full, one end gone, and it does not come back: the other end is told, and everything is given back."""
    a, b = (world.mount(router, "hold=1", name=name) for name in "AB")
    link = Link(world, a, b)
    for end in link.ends():
        end.close()
    settled(a, b)
    before = {program: program.descriptors() for program in (router, a, b)}
    w = types.SimpleNamespace(router=router, a=a, b=b, ends=[link.target.ends(link.port, 80) for _ in range(4)])
    with contextlib.ExitStack() as stack:
        for number, (near, far) in enumerate(w.ends):
            for way, speaker, hearer in (("up", near, far), ("down", far, near)):
                small(hearer)
                flow = Flow(f"{way} {number}", MUCH, pauses=False)
                stack.enter_context(saying(flow, speaker))
                eventually(lambda f=flow: f.said > 1 << 20, what="it is full")
        break_it(w)
        for near, far in w.ends:
            for end in (near, far):
                with contextlib.suppress(OSError):
                    hear(end)
                end.close()
    alive = [program for program in (router, a, b) if program.alive()]
    settled(*(program for program in alive if program is not router))
    eventually(lambda: all(program.descriptors() <= before[program] for program in alive), what="descriptors as before")
