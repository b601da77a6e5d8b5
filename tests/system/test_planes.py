"""A connection goes on, byte for byte, when its streams change from one kind to the other: raw ones are shut out, the router
goes, what passes is cut."""
import contextlib
import random

import pytest

from gate import GRPC, RAW, Gate
from harness import eventually, settled
from traffic import Conversation, Meeting, Volume, together

MOST = 4 << 20


@pytest.fixture
def gate(world, router):
    return world.target(Gate, router.address)


@pytest.fixture
def ends(world, gate):
    """Two mounts behind the gate, and a target that each connection tells who it is, with the port of its forward."""
    a, b = (world.mount(gate.address, "hold=20", name=name) for name in "AB")
    target = world.target(Meeting)
    a.service("web", target.address)
    return a, b, target, b.forward("web")


def goes_by(gate, kind, talks):
    """Each conversation goes on, and most of it by this kind of stream."""
    before = gate.bytes()
    together(*(lambda talk=talk: talk.goes_on(MOST) for talk in talks))
    after = gate.bytes()
    grown = {each: after[each] - before[each] for each in after}
    return grown[kind] > sum(grown.values()) / 2


def test_conversations_change_between_the_kinds(world, router, gate, ends):
    a, b, target, port = ends
    with contextlib.ExitStack() as stack:
        talks = [stack.enter_context(Conversation(f"talk {number}", *target.ends(port, 60))) for number in range(3)]
        assert goes_by(gate, RAW, talks)
        gate.shuts()
        eventually(lambda: goes_by(gate, GRPC, talks), what="they go on by gRPC")
        gate.opens()
        router.kill()
        router = world.router(listen=router.address)
        eventually(lambda: goes_by(gate, RAW, talks), what="they go on by raw streams again")
        gate.cut(RAW, GRPC)
        eventually(lambda: goes_by(gate, RAW, talks), what="they go on where they were cut")
        gate.shuts()
        router.kill()
        router = world.router(listen=router.address)
        eventually(lambda: goes_by(gate, GRPC, talks), what="they go on by gRPC, by another router")
    settled(a, b)


@pytest.mark.parametrize("kind", [RAW, GRPC])
def test_any_sizes_and_ends_by_each_kind(gate, ends, kind):
    a, b, target, port = ends
    if kind == GRPC:
        gate.shuts()
    before = gate.bytes()
    Volume(target, port, random.randrange(1 << 32), 64 << 20, MOST, 4096).passes(6)
    assert gate.bytes()[kind] - before[kind] > 2 * (64 << 20)
    settled(a, b)


@pytest.mark.threads
def test_any_sizes_and_ends_while_raw_streams_come_and_go(gate, ends):
    a, b, target, port = ends
    volume = Volume(target, port, random.randrange(1 << 32), 96 << 20, MOST, 4096)

    def changes():
        for act in (gate.shuts, gate.opens, lambda: gate.cut(RAW), gate.shuts, gate.opens, lambda: gate.cut(RAW, GRPC)) * 3:
            before = volume.left
            eventually(lambda: volume.left < before or volume.left == 0, timeout=60, what="bytes go on")
            act()

    together(lambda: volume.passes(6), changes)
    settled(a, b)
