"""Connections that outlive their router, the path to it, and planned cuts; names and connections of daemons that come
back. Both ends see a pause; nothing is lost, and nothing comes twice."""
import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import threading
import types

import pytest

import mindmeld_pb2 as pb
import original
from harness import (PATIENCE, Echo, Server, dial, dial_is_reset, ends_somehow, eventually, exchange, free_port, hear, hear_exactly,
                     is_reset, refused, reset, settled)
from test_dialling import frozen
from test_stalls import Link, saying, small
from traffic import Conversation, Flow, together
from wire import Peer, new_id

pytestmark = pytest.mark.threads


@pytest.fixture
def link(world, a, b):
    return Link(world, a, b)


def killed(world, router):
    """Its successor, at the same address."""
    router.kill()
    return world.router(listen=router.address)


def succeeded(world, router, *options):
    """The same, while the former one drains."""
    router.process.send_signal(signal.SIGTERM)
    return eventually(lambda: world.router(*options, listen=router.address), what="a successor has the address")


def detached(*mounts):
    """Each tells of one connection that it has no stream."""
    for mount in mounts:
        eventually(lambda m=mount: [c["state"].split()[0] for c in m.connections()] == ["detached"], what=f"{mount.name} is cut off")


def speak(near, far, word=b"there and back"):
    """Each hears the other."""
    for speaker, hearer in ((near, far), (far, near)):
        speaker.sendall(word)
        assert hear_exactly(hearer, len(word)) == word


def goes_on(near, far, a, b):
    """They hear each other, and end in order."""
    speak(near, far)
    near.shutdown(socket.SHUT_WR)
    assert hear(far) == b""
    far.close()
    assert hear(near) == b""
    near.close()
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]


# --- the router ---


def test_the_router_dies_under_a_transfer(world, router, a, b, link):
    with Conversation("killed", *link.ends("up")) as talk:
        for _ in range(3):
            talk.goes_on()
            router = killed(world, router)
        talk.goes_on()
    settled(a, b)
    assert b.values("status")["failed"] == "0"


@pytest.mark.parametrize("options", ["", "window=256K,budget=1M"], ids=["as it is", "small windows"])
def test_the_router_dies_under_a_crowd(world, router, options):
    """Of connections of all sizes, some of which have ended at one side already. When the news that both have ended is lost on its
    way to the service's side alone, that one waits for the other, which is done: not for 10 minutes here."""
    a, b = (world.mount(router, ",".join(filter(None, ("hold=30", options))), name=name) for name in "AB")
    link = Link(world, a, b)
    flows, works, ends = [], [], [link.ends("up") for _ in range(12)]
    for number, (near, far) in enumerate(ends):
        up, down = Flow(f"up {number}", number << 20), Flow(f"down {number}", (11 - number) << 20)
        works += [lambda f=up, e=near: f.say(e), lambda f=up, e=far: f.hear(e), lambda f=down, e=far: f.say(e), lambda f=down, e=near: f.hear(e)]
        flows += [up, down]

    def kill():
        nonlocal router
        for part in (1, 4, 8):
            eventually(lambda p=part: sum(flow.heard for flow in flows) >= p * sum(flow.size for flow in flows) // 12, what="it goes on")
            router = killed(world, router)

    together(*works, kill)
    for pair in ends:
        for end in pair:
            end.close()
    settled(a, b)


def test_a_successor_takes_over(world, router, a, b, link):
    """The former one drains: streams move before they are cut."""
    with Conversation("drained", *link.ends("up")) as talk:
        for _ in range(2):
            talk.goes_on()
            former, router = router, succeeded(world, router)
            talk.goes_on()
            assert former.process.wait(PATIENCE) == 0
        talk.goes_on()
    settled(a, b)
    assert b.values("status")["failed"] == "0"


def test_streams_are_replaced_before_they_are_too_old(world):
    router = world.router("--max-stream-age", "2")
    a, b = (world.mount(router, name=name) for name in "AB")
    with Conversation("old", *Link(world, a, b).ends("up")) as talk:
        for mount in (a, b):
            eventually(lambda m=mount: m.links() >= 4, what="the link is replaced")
            talk.goes_on()
        a.service("new", world.target(Echo).address)
        assert exchange(b.forward("new"), b"new") == b"new"
    settled(a, b)
    assert b.values("status")["failed"] == "0"


def test_a_router_that_stays_away_for_a_while(world, router, a, b, link):
    """It is told everywhere, and what was idle goes on."""
    near, far = link.ends("up")
    speak(near, far)
    router.kill()
    detached(a, b)
    for mount in (a, b):
        (connection,) = mount.connections()
        assert re.fullmatch(r"detached \d+s", connection["state"])
        assert mount.values("status")["detached"] == "1"
        assert mount.values("status")["live"] == "1"
        assert "detached" in mount.read("events")
    world.router(listen=router.address)
    for mount in (a, b):
        eventually(lambda m=mount: m.connections()[0]["state"] == "open", what="it is attached again")
        assert mount.values("status")["detached"] == "0"
    goes_on(near, far, a, b)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("first", ["application", "target"])
def test_an_end_and_a_cut(world, router, a, b, link, first, when):
    """One direction ends before the router goes, or while it is away; the other lives on."""
    near, far = link.ends("up") if first == "application" else link.ends("down")
    speak(near, far)
    if when == "meanwhile":
        router.kill()
        detached(a, b)
    near.sendall(b"last words")
    near.shutdown(socket.SHUT_WR)
    if when == "before":
        assert hear(far) == b"last words"
        router.kill()
        detached(a, b)
    world.router(listen=router.address)
    if when == "meanwhile":
        assert hear(far) == b"last words"
    for _ in range(3):
        far.sendall(b"and more")
        assert hear_exactly(near, 8) == b"and more"
    far.shutdown(socket.SHUT_WR)
    assert hear(near) == b""
    settled(a, b)


def test_both_ends_while_nobody_listens(world, router, a, b, link):
    near, far = link.ends("up")
    speak(near, far)
    router.kill()
    detached(a, b)
    for end in (near, far):
        end.sendall(b"farewell")
        end.shutdown(socket.SHUT_WR)
    world.router(listen=router.address)
    assert hear(near) == hear(far) == b"farewell"
    settled(a, b)


def cut(mount):
    (number,) = mount.listing("connections")
    os.unlink(mount / f"connections/{number}")


@pytest.mark.parametrize("who", ["application", "target", "forward's machine", "service's machine"])
def test_a_reset_while_detached_reaches_the_other_side(world, router, a, b, link, who):
    near, far = link.ends("up")
    speak(near, far)
    router.kill()
    detached(a, b)
    {"application": lambda: reset(near), "target": lambda: reset(far), "forward's machine": lambda: cut(b),
     "service's machine": lambda: cut(a)}[who]()
    world.router(listen=router.address)
    for end in {"application": [far], "target": [near]}.get(who, [near, far]):
        assert is_reset(end)
    settled(a, b)


def test_what_is_stuck_stays_stuck_and_is_bounded(world, router, a, b, link):
    """Both directions full, and nobody reads: a cut neither loses nor lets through."""
    ends = link.ends("up")
    flows = [Flow(way, 96 << 20, pauses=False) for way in ("up", "down")]
    with contextlib.ExitStack() as stack:
        for end, flow in zip(ends, flows):
            small(end)
            stack.enter_context(saying(flow, end))
        eventually(lambda: all(flow.said > 1 << 20 for flow in flows), what="both are on their way")
        router = killed(world, router)
        for mount in (a, b):
            eventually(lambda m=mount: m.connections()[0]["state"] == "open", what="it is attached again")
        assert all(flow.said < flow.size for flow in flows)
        together(*(lambda f=flow, e=end: f.hear(e) for flow, end in zip(flows, ends[::-1])))
    settled(a, b)


# --- dials ---


def test_who_dials_meanwhile_waits(world, router, a, b):
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    assert exchange(port, b"before") == b"before"
    settled(a, b)
    router.kill()
    b.connected("connecting")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(exchange(port, b"meanwhile"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(b.listing("connections")) == 20, what="all wait")
    world.router(listen=router.address)
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [b"meanwhile"] * 20
    settled(a, b)


def test_who_dials_does_not_wait_for_ever(world, router, a):
    b = world.mount(router, "dial_timeout=1", name="B")
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    router.kill()
    b.connected("connecting")
    assert dial_is_reset(port)
    eventually(lambda: any("web" in line and "no router for 1 s" in line for line in b.errors()), what="B says why")


def test_a_target_that_refuses_after_an_outage(world, router, a, b):
    a.service("web", f"127.0.0.1:{free_port()}")
    port = b.forward("web")
    router.kill()
    b.connected("connecting")
    with dial(port) as near:
        near.sendall(b"early")
        world.router(listen=router.address)
        assert is_reset(near)
    for mount in (a, b):
        eventually(lambda m=mount: any("refused" in line for line in m.errors()), what=f"{mount.name} says why")
    settled(a, b)


def test_a_name_outlives_its_daemons_restart(world, router, a, b):
    """Who dials a service whose daemon is away for a moment waits for it."""
    target = world.target(Echo)
    a.service("web", target.address)
    port = b.forward("web")
    assert exchange(port, b"before") == b"before"
    a.kill()
    with dial(port) as near:
        near.sendall(b"early")
        again = world.mount(router, name="A")
        again.service("web", target.address)
        assert hear_exactly(near, 5) == b"early"
    settled(again, b)


# --- what is given up ---


@pytest.mark.parametrize("options", [("hold=1", ""), ("hold=2", "hold=1")], ids=["service first", "forward first"])
def test_nobody_is_held_for_ever(world, router, options):
    """Who has waited long enough gives up. The forward's machine asks once there is a way again, and is told; the service's
    cannot ask."""
    a, b = (world.mount(router, option, name=name) for option, name in zip(options, "AB"))
    near, far = Link(world, a, b).ends("up")
    speak(near, far)
    router.kill()
    first, last = (far, near) if options[0] == "hold=1" else (near, far)
    assert is_reset(first)
    world.router(listen=router.address)
    assert is_reset(last)
    settled(a, b)
    for mount in (a, b):
        eventually(lambda m=mount: any("web" in line for line in m.errors()), what=f"{mount.name} says why")


def test_a_daemon_that_comes_back_ends_what_its_former_self_had(world, router, a, b, link):
    """It cannot go on with them, and it says so: at the service's machine, then at the forward's."""
    near, far = link.ends("up")
    speak(near, far)
    a.kill()
    ends_somehow(far)
    detached(b)
    again = world.mount(router, name="A")
    assert is_reset(near)
    settled(b)
    again.service("web", link.target.address)
    near, far = link.ends("up")
    speak(near, far)
    b.kill()
    detached(again)
    world.mount(router, name="B")
    assert is_reset(far)
    settled(again)


def test_the_target_of_a_forward_that_is_gone_is_let_go(world, router, b):
    a = world.mount(router, "hold=1", name="A")
    near, far = Link(world, a, b).ends("up")
    speak(near, far)
    b.kill()
    assert is_reset(far)
    settled(a)


# --- names ---


def test_a_daemon_that_comes_back_has_its_names_at_once(world, router, a, b):
    a.service("web", "localhost:80")
    for _ in range(3):
        b.sees("web")
        a.kill()
        a = world.mount(router, name="A")
        a.service("web", "localhost:80")
        assert "taken" not in a.read("events")


@pytest.fixture
def double(world, router, directory):
    """Starts a daemon, and another one that takes itself for its next process: somebody has copied what says who it is."""
    file, copy = directory / "identity", directory / "copy"

    def start(name):
        if name == "first":
            return world.mount(router, f"identity={file}", name=name)
        shutil.copy(file, copy)
        return world.mount(router, f"identity={copy}", name=name)

    return start


def hears_of_it(former):
    eventually(lambda: [line for line in former.read("events").splitlines() if "newer" in line], what="the former one is told")


def test_a_name_of_a_process_that_hangs_goes_to_the_next(world, router, b, double):
    """The router has not noticed anything: the former process has its streams as before."""
    target = world.target(Server)
    former = double("first")
    former.service("web", "localhost:80")
    port = b.forward("web")
    with frozen(former):
        again = double("second")
        again.service("web", target.address)
        assert "taken" not in again.read("events")
        with dial(port) as near:
            near.sendall(b"to whom?")
            assert hear_exactly(target.connection(), 8) == b"to whom?"
    hears_of_it(former)
    assert again.state("web") == "online"


def test_two_of_one_identity_do_not_fight(world, router, b, double):
    """The older one is told, once, and registers nothing any more; also with a router that has not seen them before."""
    older = double("first")
    older.service("web", "localhost:80")
    newer = double("second")
    newer.service("web", "localhost:81")
    newer.service("other", "localhost:82")
    hears_of_it(older)
    assert older.state("web") != "online" and newer.state("web") == "online"
    killed(world, router)
    newer.connected()
    newer.awaits("web", "online")
    for _ in range(2):
        b.sees("other")
        assert older.state("web") != "online" and newer.state("web") == "online"
    assert len([line for line in older.read("events").splitlines() if "a newer mmfs with this identity" in line]) == 1


def test_another_identity_does_not_take_a_name(world, router, a, b):
    """Not even while the owner hangs."""
    a.service("web", "localhost:80")
    b.sees("web")
    with frozen(a), refused(errno.EEXIST):
        os.mkdir(b / "services/web")
    assert a.state("web") == "online"


# --- the first version ---


def test_an_original_router_in_between(world, router, a, b, link):
    """It cannot go on with a connection, and knows none of ours; it is used for new ones, and then ours is back."""
    near, far = link.ends("up")
    speak(near, far)
    router.kill()
    detached(a, b)
    theirs = original.Router(router.port)
    try:
        for mount in (a, b):
            mount.connected()
        eventually(lambda: a.state("web") == "online", what="it is registered there")
        speak(*link.ends("up"))
        detached_among(b)
    finally:
        theirs.close()
    world.router(listen=router.address)
    speak(near, far)
    assert not theirs.violations


def detached_among(mount):
    assert any(connection["state"].startswith("detached") for connection in mount.connections())


# --- attacks ---


@pytest.fixture
def victim(world, router, a):
    """A connection by hand to a service that says again what it hears, and how to attack it."""
    a.service("web", world.target(Echo).address)
    owner, connection = world.target(Peer, router.address), new_id()
    live = world.target(lambda: owner.dial("web", connection, epoch=7))
    assert live.answers(b"alive")
    v = types.SimpleNamespace(owner=owner, live=live, connection=connection, service=live.first().header.member)
    yield v
    assert v.live.answers(b"still alive")
    (found,) = a.connections()
    assert found["state"] == "open"


def is_refused(raw):
    """It gets a word that says so, or an error, and never data; its end is the peer's own business."""
    eventually(lambda: raw.said("refused") or raw.said("reset") or raw.call.done(), what="it is refused")
    assert not raw.data() and not raw.said("header"), raw.heard
    raw.close()


ATTACKS = {
    "a guessed connection": lambda v, me: me.attach(v.service, new_id(), 8),
    "a stolen connection": lambda v, me: me.attach(v.service, v.connection, 8),
    "a stolen connection, not established": lambda v, me: me.attach(v.service, v.connection, 8, established=False),
    "a stolen connection, with a great epoch": lambda v, me: me.attach(v.service, v.connection, (1 << 64) - 1),
    "a stolen connection, by name": lambda v, me: me.dial("web", v.connection, epoch=8),
    "the owner's member, with another key": lambda v, me: me.attach(v.service, v.connection, 8, member=v.owner.member.name),
    "the owner's member, without a key": lambda v, me: me.attach(v.service, v.connection, 8, member=v.owner.member.name, member_key=b""),
    "the same epoch": lambda v, me: v.owner.attach(v.service, v.connection, 7),
    "an older epoch": lambda v, me: v.owner.attach(v.service, v.connection, 0),
    "the first dial again": lambda v, me: v.owner.dial("web", v.connection, epoch=7),
    "what cannot have been received": lambda v, me: v.owner.attach(v.service, v.connection, 8, received=1 << 40),
    "the service's member, parked": lambda v, me: me.stream(park=True, member=v.service),
    "an unknown process": lambda v, me: me.attach(new_id(), v.connection, 8, member_key=b""),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_who_may_not_take_part(world, router, victim, attack):
    stranger = world.target(Peer, router.address)
    for _ in range(3):
        is_refused(attack(victim, stranger))
        assert victim.live.answers(b"alive")


def test_the_owner_goes_on(victim):
    """So that what is refused above is refused for what is wrong with it."""
    heard = len(victim.live.data())
    again = victim.owner.attach(victim.service, victim.connection, 8, received=heard)
    theirs = again.first().header
    assert (theirs.epoch, theirs.received, theirs.connection) == (8, heard, victim.connection)
    again.say(pb.Payload(data=b"more", offset=heard))
    eventually(lambda: again.data() == b"more", what="it goes on")
    eventually(victim.live.call.done, what="the former stream ends")
    victim.live = again


def test_what_came_already_is_dropped(victim):
    assert victim.live.data() == b"alive"
    heard = len(victim.live.data())
    again = victim.owner.attach(victim.service, victim.connection, 8, received=heard)
    again.first()
    again.say(pb.Payload(data=b"alivemore", offset=0))
    eventually(lambda: again.data() == b"more", what="only what is new is taken")
    victim.live = again


def test_a_gap_is_not_taken(victim):
    """It ends the stream; the next one may do better."""
    heard = len(victim.live.data())
    victim.live.say(pb.Payload(data=b"too far", offset=heard + 1))
    victim.live.is_ended()
    assert len(victim.live.data()) == heard
    victim.live = victim.owner.attach(victim.service, victim.connection, 8, received=heard)
    assert victim.live.first().header.received == heard
    victim.live.say(pb.Payload(data=b"more", offset=heard))
    eventually(lambda: victim.live.data() == b"more", what="it goes on")


def test_a_crowd_that_dials_and_leaves(world, router):
    """What is held for somebody who does not come back is bounded, and the oldest goes first."""
    a = world.mount(router, "hold=2", name="A")
    a.service("web", world.target(Echo).address)
    owner = world.target(Peer, router.address)
    before = a.descriptors()
    for _ in range(100):
        raw = owner.dial("web", new_id())
        raw.first()
        raw.call.cancel()
    assert int(a.values("status")["detached"]) <= 100
    settled(a)
    eventually(lambda: a.descriptors() <= before, what="descriptors as before")
