"""All pairings with the first version's wire: its clients at our router, ours at its router, one on each leg."""
import errno
import os
import socket
import threading

import grpc
import pytest

import original
from harness import Echo, Greeter, Server, dial, eventually, exchange, free_port, hear, hear_exactly, is_reset, reset
from traffic import Flow, Meeting, together

DATA = bytes(range(256)) * 300


class Ours:
    """A mount, with the same words as an original client."""

    def __init__(self, world, router):
        self.mount = world.mount(router)

    def serve(self, name, port):
        self.mount.service(name, f"127.0.0.1:{port}")

    def forward(self, name):
        return self.mount.forward(name)


class Theirs:
    def __init__(self, world, router, **more):
        self.client = world.target(original.Client, router.address, **more)

    def serve(self, name, port):
        self.client.serve(name, port)
        eventually(lambda: name in self.client.names())

    def forward(self, name):
        eventually(lambda: name in self.client.names())
        return self.client.forward(name)


PAIRS = [(Ours, Ours), (Ours, Theirs), (Theirs, Ours), (Theirs, Theirs)]


@pytest.fixture(params=["our router", "original router"])
def any_router(request, world):
    if request.param == "our router":
        yield world.router()
        return
    router = world.target(original.Router)
    yield router
    assert not router.violations, router.violations


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
def pair(request, world, any_router):
    serving, forwarding = request.param
    return serving(world, any_router), forwarding(world, any_router)


def test_bytes_pass_both_ways(world, pair):
    serving, forwarding = pair
    serving.serve("echo", world.target(Echo).port)
    port = forwarding.forward("echo")
    for _ in range(5):
        with dial(port) as connection:
            connection.sendall(DATA)
            assert hear_exactly(connection, len(DATA)) == DATA


def test_a_target_speaks_first_and_ends(world, pair):
    serving, forwarding = pair
    serving.serve("greeter", world.target(Greeter).port)
    with dial(forwarding.forward("greeter")) as connection:
        assert hear(connection) == Greeter.greeting


def test_what_is_queued_is_delivered_before_the_end(world, pair):
    serving, forwarding = pair

    class Burst(Server):
        def serve(self, connection):
            with connection:
                connection.sendall(DATA * 20)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

    serving.serve("burst", world.target(Burst).port)
    with dial(forwarding.forward("burst")) as connection:
        assert hear(connection) == DATA * 20


@pytest.mark.parametrize("pair", [(Ours, Theirs)], ids=["Ours-Theirs"], indirect=True)
def test_what_is_queued_outlives_what_nobody_reads(world, pair):
    """The target still speaks when the application has ended: that must not reset the target's connection under what
    it has not heard yet."""
    serving, forwarding = pair
    target = world.target(Server)
    serving.serve("web", target.port)
    data = DATA * 10  # what the kernel holds of it
    with dial(forwarding.forward("web")) as near:
        near.sendall(b"!")
        far = target.connection()
        assert hear_exactly(far, 1) == b"!"
        near.sendall(data)
        near.shutdown(socket.SHUT_WR)
        mount = serving.mount
        eventually(lambda: all(mount.values(f"connections/{i}")["state"] == "closing" for i in mount.listing("connections")))
        far.sendall(b"nobody hears this" * 10)
        assert hear(far) == data
        far.close()
    eventually(lambda: not mount.listing("connections"))


def test_the_application_leaves(world, pair):
    serving, forwarding = pair
    target = world.target(Server)
    serving.serve("web", target.port)
    connection = dial(forwarding.forward("web"))
    connection.sendall(b"bye")
    connection.close()
    assert hear(target.connection()) == b"bye"


def test_an_early_end_brings_all_that_was_said_early(world, pair):
    """Everything is said, and ended, before anybody has answered; more than may be under way until then."""
    serving, forwarding = pair
    target, data = world.target(Server), DATA * 20
    serving.serve("web", target.port)
    with dial(forwarding.forward("web")) as connection:
        together(lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        far = target.connection()
        assert hear(far) == data
        far.close()
        assert hear(connection) == b""


def test_random_traffic_both_ways(world, pair):
    """Several connections at once, until all was heard; then one end ends, first one, then the other."""
    serving, forwarding = pair
    target = world.target(Meeting)
    serving.serve("web", target.port)
    port = forwarding.forward("web")

    def converse(number):
        up, down = (Flow(f"{number} {way}", 2 << 20) for way in ("up", "down"))
        near, far = target.ends(port, 60)
        together(lambda: up.say(near, False), lambda: up.hear(far, False), lambda: down.say(far, False), lambda: down.hear(near, False))
        first, second = (near, far) if number % 2 else (far, near)
        first.shutdown(socket.SHUT_WR)
        assert hear(second) == b""
        second.close()
        assert hear(first) == b""
        first.close()

    together(*(lambda n=number: converse(n) for number in range(4)))


def test_a_stalled_receiver_is_no_hindrance(world, pair):
    """Without acks too: what is not read bounds itself, and nobody else."""
    serving, forwarding = pair
    target = world.target(Meeting)
    serving.serve("web", target.port)
    port = forwarding.forward("web")
    for way in (1, -1):
        speaker, stalled = target.ends(port, 60)[::way]
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow, fast = Flow(f"slow {way}", 48 << 20, pauses=False), Flow(f"fast {way}", 4 << 20)
        say = threading.Thread(target=lambda: slow.say(speaker, False), daemon=True)
        say.start()
        ends = target.ends(port, 60)[::way]
        together(lambda: fast.say(ends[0], False), lambda: fast.hear(ends[1], False))
        assert say.is_alive()
        slow.hear(stalled, False)
        say.join()


def test_a_crowd_of_dials(world, pair):
    """More at the same moment than streams stand ready."""
    serving, forwarding = pair
    serving.serve("echo", world.target(Echo).port)
    port = forwarding.forward("echo")

    def ask(word):
        with dial(port) as connection:
            connection.sendall(word)
            assert hear_exactly(connection, len(word)) == word

    together(*(lambda n=number: ask(b"%08d" % n) for number in range(60)))


def test_one_end_ends_both_with_an_original(world, any_router):
    target = world.target(Server)
    ours, theirs = Ours(world, any_router), Theirs(world, any_router)
    theirs.serve("web", target.port)
    with dial(ours.forward("web")) as connection:
        connection.sendall(b"x")
        assert hear_exactly(target.connection(), 1) == b"x"
        connection.shutdown(socket.SHUT_WR)
        assert hear(connection) == b""
    assert hear(target.connection()) == b""


def test_a_target_of_an_original_that_refuses_ends_the_connection(world, any_router):
    ours, theirs = Ours(world, any_router), Theirs(world, any_router)
    theirs.serve("nobody", free_port())
    with dial(ours.forward("nobody")) as connection:
        connection.settimeout(20)
        is_reset(connection)


def test_a_reset_reaches_an_original_as_an_end(world, any_router):
    target = world.target(Server)
    ours, theirs = Ours(world, any_router), Theirs(world, any_router)
    ours.serve("web", target.port)
    connection = dial(theirs.forward("web"))
    connection.sendall(b"x")
    assert hear_exactly(target.connection(), 1) == b"x"
    reset(target.connection())
    is_reset(connection)


@pytest.mark.parametrize("glue", [False, True], ids=["alone", "glued"])
@pytest.mark.parametrize("role", ["serving", "forwarding"])
def test_the_token_is_cut_at_every_byte(world, router, role, glue):
    """One client for each cut, and one that sends each byte alone."""
    target = world.target(Echo if role == "forwarding" else Greeter)
    ours = Ours(world, router)
    size = len(original.token_bytes("x" * 64)) + 4
    client = world.target(original.Client, router.address, glue=glue)
    if role == "forwarding":
        ours.serve("web", target.port)
        port = client.forward("web")
    else:
        client.serve("web", target.port)
        port = ours.forward("web")
    for cut in [(), *((at,) for at in range(1, size)), tuple(range(size))]:
        client.cut = cut
        if role == "serving":
            with dial(port) as connection:
                assert hear(connection) == Greeter.greeting, cut
        else:
            with dial(port) as connection:
                connection.sendall(b"hello")
                assert hear_exactly(connection, 5) == b"hello", cut


def test_a_token_works_once(world, router):
    client = world.target(original.Client, router.address)
    client.serve("web", world.target(Greeter).port)
    eventually(lambda: client.names() == ["web"])
    token = client.stubs.forward(original.pb.ForwardToServiceRequest(name="web"), timeout=10).token
    assert b"".join(client.open(token).received()) == Greeter.greeting
    for used in (token, "unknown", ""):
        with pytest.raises(grpc.RpcError):
            raise_or_end(client.open(used))


def raise_or_end(stream):
    """An unknown token ends the stream, with a status that says so."""
    list(stream.received())
    assert stream.call.code() != grpc.StatusCode.OK
    raise stream.call


def test_names_are_one_owners(world, router):
    client = world.target(original.Client, router.address)
    mount = world.mount(router)
    client.serve("web", 1)
    mount.sees("web")
    second = client.stubs.create(original.pb.CreateServiceRequest(name="web"), timeout=10)
    with pytest.raises(grpc.RpcError) as refusal:
        next(second)
    assert refusal.value.code() == grpc.StatusCode.ALREADY_EXISTS
    client.close()
    mount.misses("web")


def test_an_original_router_lists_names_that_we_hide(world):
    router = world.target(original.Router)
    client = world.target(original.Client, router.address)
    for name in ("Good Name", "good", "..", "a/b", "x" * 64):
        client.serve(name, 1)
    mount = world.mount(router)
    mount.sees("good")
    eventually(lambda: len(client.names()) == 5)
    assert mount.listing("services") == ["good"]
    assert "Good Name" in mount.read("events")


def test_an_original_router_is_polled(world):
    router = world.target(original.Router)
    mount = world.mount(router)
    client = world.target(original.Client, router.address)
    call = client.serve("late", 1)
    mount.sees("late")
    call.cancel()
    mount.misses("late")


def test_verdicts_of_an_original_router(world):
    """It says no more than its list: that is asked freshly, and taken for the verdict."""
    router = world.target(original.Router)
    client = world.target(original.Client, router.address)
    mount = world.mount(router)
    assert mount.values("status")["protocol"] == "1"
    mount.refuses(errno.ENOENT, "forwards/nothing", "0\n")
    assert mount.listing("forwards") == []
    os.mkdir(mount / "services/web")
    client.serve("web", 1)
    eventually(lambda: client.names() == ["web"])
    mount.refuses(errno.EEXIST, "services/web/target", "localhost:80\n")
    assert mount.state("web") in ("taken", "pending") and mount.read("services/web/target") == ""
    client.serve("new", 1)
    eventually(lambda: sorted(client.names()) == ["new", "web"])
    mount.write("forwards/new", "0\n")
    assert len(mount.ports("new")) == 1


def test_an_original_router_is_not_pinged_to_death(world):
    """A connection that idles longer than three pings would take still works."""
    router = world.target(original.Router)
    serving, forwarding = Ours(world, router), Ours(world, router)
    serving.serve("echo", world.target(Echo).port)
    with dial(forwarding.forward("echo")) as connection:
        for _ in range(2):
            connection.sendall(b"x")
            assert hear_exactly(connection, 1) == b"x"
    assert exchange(forwarding.mount.ports("echo")[0], b"") == b""
    assert forwarding.mount.values("status")["state"] == "connected"
