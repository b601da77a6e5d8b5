"""Data in bulk that passes through a mount in pipes, without a copy, where both ends of the way are near."""
import pytest

from harness import eventually, settled
from test_raw import go_by
from test_stalls import Link
from test_survival import killed, speak
from traffic import Conversation, Flow, together

pytestmark = pytest.mark.threads


@pytest.fixture
def link(world, a, b):
    return Link(world, a, b)


def spliced(*mounts):
    """Of the one connection."""
    return [int(connection["spliced"]) for mount in mounts for connection in mount.connections()]


def splice_more(*mounts):
    """Each of them, from now on."""
    before = spliced(*mounts)
    assert len(before) == len(mounts)
    eventually(lambda: all(now > then for now, then in zip(spliced(*mounts), before)), what="each splices")


def ends_when_spliced(flow, *mounts):
    try:
        splice_more(*mounts)
    finally:
        flow.size = flow.said + 4 * flow.piece  # more than who speaks has in hand just now


def test_each_direction_and_its_end(a, b, link):
    """One after the other, so that it is known which of them was spliced."""
    near, far = link.ends("up")
    for speaker, hearer in ((near, far), (far, near)):
        flow = Flow("bulk", 1 << 60, pauses=False)
        together(lambda: flow.say(speaker), lambda: flow.hear(hearer), lambda: ends_when_spliced(flow, a, b))
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]


def test_little_is_copied(a, b, link):
    near, far = link.ends("up")
    for _ in range(100):
        speak(near, far, bytes(1000))
    assert spliced(a, b) == [0, 0]


def test_the_router_dies_while_both_directions_are_spliced(world, router, a, b, link):
    with Conversation("killed", *link.ends("up"), pauses=False) as talk:
        for _ in range(3):
            splice_more(a, b)
            router = killed(world, router)
            talk.goes_on()
        splice_more(a, b)
        go_by("raw", a, b)
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]
