"""Peers that speak our wire and do not keep to it: their own connection ends, in bounds, and nobody else's."""
import socket

import grpc
import pytest

import mindmeld_pb2 as pb
import mindmeld_pb2_grpc as stubs
from harness import Echo, Greeter, Server, dial, ends_somehow, eventually, exchange, hear, is_reset, settled
from wire import Member, Raw, header

pytestmark = pytest.mark.threads

MEMBER = Member(b"k" * 32).fields
ID, MUCH = b"c" * 16, 24 << 20
WINDOW = "window=8M"  # of the mounts: that what goes beyond it is soon said


def data(size, **more):
    return pb.Payload(data=b"x" * size, **more)


# What is said after the first message. This ends the stream:
BROKEN = {
    "a second header": [header(connection=ID, limit=1 << 20)],
    "no message at all": [b"\xff" * 100],
    "an ack of what was never sent": [pb.Payload(ack=pb.Ack(taken=1 << 40, messages=1 << 30))],
    "more than it may": [data(1 << 20)] * (MUCH >> 20),
    "more messages than it may": [*[data(1 << 20)] * 7, *[data(1)] * 32000],
}
# This is not worth it, or makes no sense to those who hear it:
ODD = {
    "nothing, and it ends": [],
    "empty messages": [pb.Payload()] * 5000,
    "acks that go backwards": [pb.Payload(ack=pb.Ack(taken=1, messages=1)), pb.Payload(ack=pb.Ack())],
    "data after the end": [data(10, eof=True), data(10), data(10, eof=True)],
    "two ends": [pb.Payload(eof=True), pb.Payload(eof=True)],
    "a reset that is too long": [pb.Payload(reset=pb.Reset(code="E" * 9999, reason="\u2620" * 9999))],
    "a reset after the end": [pb.Payload(eof=True), pb.Payload(reset=pb.Reset(code="EPIPE", reason="no"))],
    "data after a reset": [pb.Payload(reset=pb.Reset(code="EPIPE", reason="no")), data(10)],
}
ME = MEMBER["member"]
HEADERS = {
    "none": lambda _: pb.Payload(),
    "without a connection": lambda _: header(member=ME, limit=1 << 20),
    "of another connection": lambda _: header(connection=ID, member=ME, limit=1 << 20),
    "with a short connection": lambda it: header(connection=it[:15], member=ME, limit=1 << 20),
    "without a member": lambda it: header(connection=it, limit=1 << 20),
    "with a short member": lambda it: header(connection=it, member=ME[:15], limit=1 << 20),
    "of another epoch": lambda it: header(connection=it, member=ME, epoch=1 << 40, limit=1 << 20),
    "with more received than was sent": lambda it: header(connection=it, member=ME, received=1 << 40, limit=1 << 20),
    "for the router": lambda it: header(connection=it, member=ME, token="x", service="web", park=True, limit=1 << 20),
    "with no limit": lambda it: header(connection=it, member=ME),
    "with the greatest limit": lambda it: header(connection=it, member=ME, limit=(1 << 64) - 1),
    "with the least limit": lambda it: header(connection=it, member=ME, limit=1),
}


@pytest.fixture
def a(world, router):
    """Who is left without a word is not waited for."""
    return world.mount(router, f"hold=1,{WINDOW}", name="A")


@pytest.fixture
def b(world, router):
    return world.mount(router, f"hold=1,dial_timeout=3,{WINDOW}", name="B")


@pytest.fixture
def channel(router):
    with grpc.insecure_channel(router.address) as channel:
        yield channel


@pytest.fixture
def bystander(world, a, b):
    """Another service works on."""
    a.service("echo", world.target(Echo).address)
    port = b.forward("echo")
    yield
    assert exchange(port, b"still here") == b"still here"
    settled(a, b)


@pytest.fixture
def dialled(world, channel, b):
    """A service of ours that was dialled through B's tree: the application's end, the stream of who answers, and what
    came as its first message."""
    control = stubs.ControlServiceStub(channel)
    call = control.CreateService(pb.CreateServiceRequest(name="web", **MEMBER), metadata=[("mindmeld-version", "2")])
    with dial(b.forward("web")) as near:
        near.sendall(b"early")
        raw = world.add(Raw(channel, header(token=next(call).token, **MEMBER)))
        yield near, raw, raw.first().header
        raw.close()
    call.cancel()


def answer(theirs):
    return header(connection=theirs.connection, epoch=theirs.epoch, member=ME, limit=1 << 20)


def test_a_service_that_keeps_to_it(dialled, bystander):
    """So that what follows fails for what is wrong with it."""
    near, raw, theirs = dialled
    assert len(theirs.connection) == 16 and theirs.limit and theirs.service == "web"
    assert not theirs.member_key and not theirs.token
    raw.say(answer(theirs), data(10, eof=True))
    assert hear(near) == b"x" * 10
    near.shutdown(socket.SHUT_WR)
    eventually(lambda: any(message.eof for message in raw.heard), what="the end is said")
    assert b"".join(message.data for message in raw.heard) == b"early"
    raw.end()
    eventually(raw.call.done, what="the stream ends")
    assert raw.call.code() == grpc.StatusCode.OK


def test_a_service_that_is_silent(dialled, bystander):
    """It is told that its answer was heard, though there is nothing to acknowledge; and only once."""
    near, raw, theirs = dialled
    eventually(lambda: raw.data() == b"early", what="what was said early")
    assert not raw.said("ack")
    raw.say(answer(theirs))
    ack = eventually(lambda: raw.said("ack"), what="an ack").ack
    assert ack.taken == 0 and ack.messages == 0
    near.sendall(b" and late")
    eventually(lambda: raw.data() == b"early and late", what="what was said late")
    assert len([message for message in raw.heard if message.HasField("ack")]) == 1
    raw.say(data(10, eof=True))
    assert hear(near) == b"x" * 10
    near.shutdown(socket.SHUT_WR)
    eventually(lambda: any(message.eof for message in raw.heard), what="the end is said")
    raw.end()


@pytest.mark.parametrize("messages", BROKEN.values(), ids=BROKEN.keys())
def test_a_service_that_breaks_it(dialled, b, bystander, messages):
    """While the application reads nothing. It sees a reset, and the reason is told."""
    near, raw, theirs = dialled
    raw.say(answer(theirs), *messages)
    raw.is_ended()
    assert is_reset(near)
    eventually(lambda: any("web" in line for line in b.errors()), what="B says why")


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD.keys())
def test_a_service_that_says_odd_things(dialled, bystander, messages):
    near, raw, theirs = dialled
    raw.say(answer(theirs), *messages)
    raw.is_said()
    raw.close()
    ends_somehow(near)


@pytest.mark.parametrize("first", HEADERS.values(), ids=HEADERS.keys())
def test_a_service_that_answers_wrongly(dialled, bystander, first):
    near, raw, theirs = dialled
    raw.say(first(theirs.connection), data(100), pb.Payload(eof=True))
    raw.is_said()
    raw.close()
    ends_somehow(near)


@pytest.fixture
def forward(world, a, channel):
    """A forward that dialled a service of A's tree: its stream, and the target's end."""
    target = world.target(Server)
    a.service("web", target.address)
    raw = world.add(Raw(channel, header(service="web", connection=ID, limit=1 << 20, **MEMBER)))
    yield raw, target.connection()
    raw.close()


@pytest.mark.parametrize("messages", BROKEN.values(), ids=BROKEN.keys())
def test_a_forward_that_breaks_it(forward, a, bystander, messages):
    """While the target reads nothing."""
    raw, far = forward
    raw.first()
    raw.say(*messages)
    raw.is_ended()
    assert is_reset(far)
    eventually(lambda: any("web" in line for line in a.errors()), what="A says why")


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD.keys())
def test_a_forward_that_says_odd_things(forward, bystander, messages):
    raw, far = forward
    raw.say(*messages)
    raw.is_said()
    raw.close()
    ends_somehow(far)
    far.close()


def test_many_forwards_of_one_connection(world, a, channel, bystander):
    """The target is dialled once; who says the same again is refused, and hurts nobody."""
    target = world.target(Greeter)
    a.service("web", target.address)
    raws = [world.add(Raw(channel, header(service="web", connection=ID, limit=1 << 20, **MEMBER))) for _ in range(20)]
    served = eventually(lambda: [raw for raw in raws if raw.data() == Greeter.greeting], what="one is served")
    assert len(served) == 1
    for raw in raws:
        if raw not in served:
            eventually(lambda r=raw: r.said("refused"), what="the others are refused")
            assert not raw.data()
    assert target.accepted == 1
    for raw in raws:
        raw.close()
