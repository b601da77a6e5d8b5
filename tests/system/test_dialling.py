"""From a dial to its target: what is said before anybody has answered, targets that refuse, crowds, and names that
change hands while streams stand ready for them."""
import contextlib
import errno
import os
import re
import signal
import socket
import threading

import pytest

from harness import Echo, Greeter, PATIENCE, READY, Server, descriptors_stay, dial, eventually, exchange, free_port, hear, hear_exactly, reset, settled
from traffic import Flow, together

pytestmark = pytest.mark.threads


class Late(Server):
    """A target whose queue is full: who dials is left without an answer until `relent`, or is refused at `close`."""

    def __init__(self):
        super().__init__(backlog=0, start=False)
        self.fillers = [dial(self.port)]

    def relent(self):
        self.start()
        self.connection(0)

    def close(self):
        super().close()
        for filler in self.fillers:
            filler.close()


@contextlib.contextmanager
def frozen(program):
    """It does not run meanwhile."""
    os.kill(program.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(program.pid, signal.SIGCONT)


@pytest.fixture
def late(world):
    return world.target(Late)


@pytest.fixture
def port(a, b, late):
    a.service("web", late.address)
    return b.forward("web")


def dialled(mount):
    """Somebody's dial has come as far as the machine of the service."""
    eventually(lambda: mount.connections(), what=f"{mount.name} dials")


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
@pytest.mark.parametrize("size", [0, 1, 5000, 8 << 20], ids=str)
def test_early_data_waits_for_a_late_target(late, a, port, size, ends):
    """All of it, in order, with its end: also more than may be under way before anybody has answered."""
    up, down = Flow("up", size, pauses=False), Flow("down", 1 << 20)
    with dial(port, 60) as near:
        def speak():
            up.say(near, ends)
            down.hear(near)

        def answer():
            dialled(a)
            late.relent()
            far = late.connection(1)
            far.settimeout(60)
            up.hear(far, ends)
            down.say(far)

        together(speak, answer)


def test_early_data_waits_for_a_frozen_machine(world, a, b):
    """The other machine does not run when the connection is opened, and when its application has said all and left."""
    target = world.target(Server)
    a.service("web", target.address)
    port = b.forward("web")
    up = Flow("up", 100000, pauses=False)
    with frozen(a):
        near = dial(port)
        up.say(near)
        eventually(lambda: b.connections()[0]["bytes_out"] == "100000", what="all was taken")
    far = target.connection()
    up.hear(far)
    far.sendall(b"thanks")
    far.close()
    assert hear(near) == b"thanks"
    near.close()
    settled(a, b)


def test_a_late_target_speaks_first(late, a, port):
    with dial(port) as near:
        dialled(a)
        late.relent()
        far = late.connection(1)
        far.sendall(b"220 hello\r\n")
        assert hear_exactly(near, 11) == b"220 hello\r\n"


@pytest.mark.parametrize("says", [0, 100, 1 << 20], ids=str)
def test_who_gives_up_before_the_target_answers(world, router, a, b, late, port, says):
    """What was said may or may not arrive; nothing of it stays."""
    stay = descriptors_stay(router, a, b)
    for _ in range(READY + 1):
        near = dial(port)
        speaker = threading.Thread(target=lambda n=near: suppressed(lambda: n.sendall(b"x" * says)))
        speaker.start()
        dialled(a)
        near.shutdown(socket.SHUT_RD)
        reset(near)
        speaker.join(PATIENCE)
    settled(b)
    late.relent()
    settled(a)
    eventually(stay, what="descriptors as before")


def suppressed(work):
    with contextlib.suppress(OSError):
        work()


REFUSALS = {
    "a closed port": lambda: f"127.0.0.1:{free_port()}",
    "no socket there": lambda: "unix:/tmp/no-such-directory/socket",
}
EARLY = {"nothing": (0, False), "a word": (10, False), "a lot": (3 << 20, False), "a word and an end": (10, True), "an end": (0, True)}


def early_is_reset(port, size, ends):
    """Says so much at once, and then hears a reset and no data: as an error of whatever it does next."""
    try:
        with dial(port) as near:
            near.sendall(b"x" * size)
            if ends:
                near.shutdown(socket.SHUT_WR)
            assert not near.recv(1)
    except OSError as error:
        return error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
    return False


@pytest.mark.parametrize("size,ends", EARLY.values(), ids=EARLY.keys())
@pytest.mark.parametrize("target", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_target_that_refuses_after_early_data(router, a, b, target, size, ends):
    """A reset for who dialled, a reason on both machines, and nothing left."""
    a.service("web", target())
    port = b.forward("web")
    assert early_is_reset(port, 1, False)
    settled(a, b)
    stay = descriptors_stay(router, a, b)
    for _ in range(5):
        assert early_is_reset(port, size, ends)
    together(*[lambda: early_is_reset(port, size, ends)] * 20)
    for mount in (a, b):
        eventually(lambda m=mount: len([line for line in m.errors() if "web" in line]) >= 26, what=f"{mount.name} says why")
    settled(a, b)
    eventually(stay, what="descriptors as before")


def refused_while_speaking(port, meanwhile):
    """Says a lot at once, and hears a reset after `meanwhile`."""
    answers = []
    speaker = threading.Thread(target=lambda: answers.append(early_is_reset(port, 3 << 20, False)))
    speaker.start()
    meanwhile()
    speaker.join(PATIENCE)
    return answers == [True]


def test_a_target_that_refuses_late(late, a, b, port):
    """It does not answer for a while, and then refuses."""

    def refuse():
        dialled(a)
        late.close()

    assert refused_while_speaking(port, refuse)
    for mount, which in (a, "to services/web"), (b, r"from 127\.0\.0\.1:\d+ through forwards/web"):
        sentence = rf"connection {which}: .*refused"
        eventually(lambda m=mount, s=sentence: any(re.search(s, line) for line in m.errors()), what=f"{mount.name} says why")
    settled(a, b)


def test_a_target_whose_name_is_not_found(a, b):
    """Looking for it takes a while."""
    a.service("web", "no-such-host.invalid:80")
    assert refused_while_speaking(b.forward("web"), lambda: None)
    for mount in (a, b):
        eventually(lambda m=mount: any("no-such-host.invalid" in line for line in m.errors()), what=f"{mount.name} says why")
    settled(a, b)


class Named(Greeter):
    """Says which one it is."""

    def __init__(self, name):
        self.greeting = name.encode()
        super().__init__()


def test_200_dials_at_the_same_moment(world, a, b):
    """Far more than there are streams that stand ready, for several services of one machine."""
    ports = []
    for number in range(5):
        a.service(f"s{number}", world.target(Named, f"s{number}").address)
        ports.append((f"s{number}".encode(), b.forward(f"s{number}")))
    for _ in range(2):
        start = threading.Barrier(200)

        def ask(name, port):
            start.wait(PATIENCE)
            with dial(port) as near:
                near.sendall(name)
                assert hear(near) == name

        together(*(lambda n=name, p=port: ask(n, p) for name, port in ports * 40))
    settled(a, b)


def test_dials_of_two_machines_do_not_mix(world, router, a, b):
    """Each has streams that stand ready; each dial gets one of the machine that has the name."""
    c = world.mount(router, name="C")
    a.service("one", world.target(Named, "one").address)
    c.service("two", world.target(Named, "two").address)
    ports = [(name, b.forward(name)) for name in ("one", "two")]
    together(*[lambda n=name, p=port: says(p, n) for name, port in ports * 40])


def says(port, name):
    with dial(port) as near:
        assert hear(near) == name.encode()


def test_a_withdrawn_service_is_not_dialled(world, a, b):
    """Streams of that machine still stand ready: the name decides."""
    a.service("web", world.target(Named, "first").address)
    a.service("other", world.target(Named, "other").address)
    port, other = b.forward("web"), b.forward("other")
    says(port, "first")
    os.rmdir(a / "services/web")
    b.misses("web")
    assert early_is_reset(port, 10, False)
    assert any("web" in line for line in b.errors())
    says(other, "other")
    a.service("web", world.target(Named, "second").address)
    b.sees("web")
    together(*[lambda: says(port, "second")] * 30)


def test_a_name_that_moves_to_another_machine(world, router, a, b):
    c = world.mount(router, name="C")
    a.service("web", world.target(Named, "on a").address)
    a.service("other", world.target(Named, "other").address)
    port = b.forward("web")
    says(port, "on a")
    os.rmdir(a / "services/web")
    c.misses("web")
    c.service("web", world.target(Named, "on c").address)
    together(*[lambda: says(port, "on c")] * 30)


def test_each_dial_goes_to_the_newest_target(world, a, b):
    targets = [world.target(Named, f"target {number}") for number in range(3)]
    a.service("web", targets[0].address)
    port = b.forward("web")
    for number in range(30):
        a.write("services/web/target", f"{targets[number % 3].address}\n")
        says(port, f"target {number % 3}")


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_machine_that_is_started_anew(world, router, a, b, how):
    """What its former self had ready is of no use to anybody."""
    a.service("web", world.target(Named, "before").address)
    port = b.forward("web")
    together(*[lambda: says(port, "before")] * 20)
    a.kill() if how == "killed" else a.stop()
    b.misses("web")
    again = world.mount(router, name="again")
    again.service("web", world.target(Named, "after").address)
    together(*[lambda: says(port, "after")] * 40)


def test_a_router_that_comes_back_serves_a_crowd(world, router, a, b):
    """What stood ready was lost with it."""
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    assert exchange(port, b"before") == b"before"
    router.kill()
    for mount in (a, b):
        mount.connected("connecting")
    world.router(listen=router.address)
    for mount in (a, b):
        mount.connected()
    a.awaits("web", "online")
    b.sees("web")

    def ask():
        assert exchange(port, b"after") == b"after"

    eventually(lambda: exchange(port, b"x") == b"x", what="traffic again")
    together(*[ask] * 60)
