"""What runs out does not take the rest with it: descriptors, room for unread bytes."""
import contextlib
import errno
import os
import resource
import socket
import threading
import time

import pytest

import mindmeld_pb2 as pb
import original
from harness import PATIENCE, SANITIZED, Echo, Silent, dial, eventually, exchange, free_port, hear_exactly, is_reset, refused, run, settled
from traffic import Flow, Meeting


def fill(connection, limit):
    """Sends until nothing more is taken, or `limit` bytes; says how many were."""
    connection.setblocking(False)
    block, sent, idle = b"x" * 65536, 0, time.monotonic()
    while sent < limit and time.monotonic() - idle < 1.5:
        try:
            sent += connection.send(block)
            idle = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    return sent


def test_a_stalled_receiver_bounds_memory_and_delays_nobody(world, router, a, b):
    silent, echo = world.target(Silent), world.target(Echo)
    a.service("silent", silent.address)
    a.service("echo", echo.address)
    stalled, lively = b.forward("silent"), b.forward("echo")
    assert exchange(lively, b"warm") == b"warm"
    before = [program.rss() for program in (router, a, b)]
    with contextlib.ExitStack() as stack:
        taken = []
        for _ in range(4):
            connection = stack.enter_context(dial(stalled))
            taken.append(fill(connection, 256 << 20))
        assert max(taken) < 64 << 20, f"a stalled stream took {taken} bytes"
        grown = [program.rss() - size for program, size in zip((router, a, b), before)]
        assert max(grown) < 100 << 20, f"grown by {grown}"
        assert exchange(lively, b"still here" * 50000) == b"still here" * 50000


@pytest.mark.parametrize("starved", ["forward", "service", "router"])
def test_descriptors_run_out_and_come_back(world, router, a, b, starved):
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    assert exchange(port, b"x") == b"x"
    program = {"forward": b, "service": a, "router": router}[starved]
    limit = resource.prlimit(program.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (program.descriptors() + 8, limit[1]))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial(port)) for _ in range(40)]
        for connection in connections:
            connection.sendall(b"x")
        if starved == "router":
            for _ in range(40):
                with contextlib.suppress(ConnectionResetError):  # those that it has no descriptor for
                    stack.enter_context(dial(router.port))
        cpu = program.cpu()
        start = time.monotonic()
        eventually(lambda: time.monotonic() - start > 2)
        used = program.cpu() - cpu
        assert used < 1, f"{used} s of processor in 2 s: it spins"
        assert program.alive()
        if starved != "router":
            assert program.values("status")["state"] == "connected"
    resource.prlimit(program.pid, resource.RLIMIT_NOFILE, limit)
    eventually(lambda: attempt(port), what="it recovers")
    if starved == "router":
        world.mount(router, name="late")


def attempt(port):
    with dial(port, 3) as connection:
        connection.sendall(b"again")
        return hear_exactly(connection, 5) == b"again"


def test_many_services_and_forwards(world, router, a, b):
    target = world.target(Echo)
    for number in range(100):
        a.service(f"s{number}", target.address, state=None)
    for number in range(100):
        b.sees(f"s{number}")
        b.write(f"forwards/s{number}", "0\n")
    assert len(a.listing("services")) == len(b.listing("forwards")) == 100
    assert exchange(b.ports("s99")[0], b"x") == b"x"
    for number in range(100):
        os.rmdir(a / f"services/s{number}")
        os.unlink(b / f"forwards/s{number}")
    eventually(lambda: not b.listing("services") or b.listing("services"), what="listing answers")


def test_limits_of_one_mount(a):
    """One too many is refused, and changes nothing."""
    for number in range(1024):
        os.mkdir(a / f"services/s{number}")
    with refused(errno.ENOSPC):
        os.mkdir(a / "services/more")
    a.refuses(errno.ENOSPC, "services/more", "localhost:80\n")
    assert len(a.listing("services")) == 1024 and a.values("status")["services"] == "1024"
    os.rmdir(a / "services/s0")
    os.mkdir(a / "services/more")


def test_limits_of_one_forward(a):
    a.service("web", "localhost:80")
    ports = []
    while len(ports) < 64:
        port = free_port()
        if port not in ports:
            ports.append(port)
            a.write("forwards/web", f"{port}\n", os.O_APPEND)
    a.refuses(errno.ENOSPC, "forwards/web", "0\n", os.O_APPEND)
    assert a.ports("web") == ports
    a.write("forwards/web", f"{ports[0]}\n")
    a.write("forwards/web", "0\n", os.O_APPEND)
    assert len(a.ports("web")) == 2


def test_1000_services(world, router, a, b):
    """As many as one machine may have, nearly; each is told to the other, and each can be dialled."""
    target, names = world.target(Echo), [f"s{number}" for number in range(1000)]
    for name in names:
        a.service(name, target.address, state=None)
    eventually(lambda: b.listing("services") == sorted(names), what="all are listed")
    assert all(a.state(name) == "online" for name in names[::50])
    c = world.mount(router, name="C")
    eventually(lambda: c.listing("services") == sorted(names), what="all are listed for who comes later")
    for name in names[::100]:
        assert exchange(b.forward(name), name.encode()) == name.encode()
    a.stop()
    eventually(lambda: not b.listing("services"), what="all are gone")


@pytest.mark.threads
def test_the_tree_answers_while_bulk_streams_run(world, a, b):
    """Eight of them, in both directions; both machines' trees."""
    target = world.target(Meeting)
    a.service("bulk", target.address)
    port = b.forward("bulk")
    flows = [Flow(number, 1 << 60, pauses=False) for number in range(8)]
    with contextlib.ExitStack() as stack:
        for number, flow in enumerate(flows):
            stack.enter_context(running(target.ends(port)[:: (-1) ** number], flow))
        for _ in range(20):
            before = [flow.heard for flow in flows]
            for mount in (a, b):
                run("ls", "-l", mount / "services", mount / "services/bulk")
                assert mount.values("status")["live"] == "8"
                assert len(mount.connections()) == 8
                os.mkdir(mount / "services/new")
                os.rmdir(mount / "services/new")
            eventually(lambda: all(flow.heard > size for flow, size in zip(flows, before)), what="they all run on")


@contextlib.contextmanager
def running(ends, flow):
    """Bulk from the first end to the second, meanwhile."""

    def say():
        with contextlib.suppress(OSError):
            flow.say(ends[0])

    def hear():
        with contextlib.suppress(OSError):
            while flow.take(ends[1]):
                pass

    threads = [threading.Thread(target=work) for work in (say, hear)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)


def test_events_and_errors_are_bounded(a):
    line = "nonsense " * 100
    for _ in range(600):
        with contextlib.suppress(OSError):
            a.write("services/web/target", line)
        with contextlib.suppress(OSError):
            a.write("forwards/web", line)
    assert os.stat(a / "errors").st_size < 4 << 20
    assert a.rss() < 300 << 20


class Small:
    """This machine, but for what it says of memory: all that its programs may use."""

    address = "127.0.0.1"

    def __init__(self, memory):
        self.memory = memory

    def command(self, *command):
        says = f"mount -t tmpfs none /sys/fs/cgroup && echo {self.memory} > /sys/fs/cgroup/memory.max && exec \"$@\""
        return ["unshare", "--mount", "sh", "-c", says, "sh", *command]


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs: needs root")
def test_who_fails_does_not_fill_the_log(a, b):
    """Whoever can reach a forward, or dial a service, causes a line for each connection that fails."""
    a.service("closed", f"127.0.0.1:{free_port()}")
    port = b.forward("closed")
    others = a.errors()
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            crowd = []
            for _ in range(40):
                with contextlib.suppress(ConnectionResetError):  # it may come before it is seen that the connection is there
                    crowd.append(stack.enter_context(dial(port)))
            assert all(is_reset(connection) for connection in crowd)
    settled(a, b)
    for mount in (a, b):
        said = mount.errors()
        assert said[: len(others)] == others or mount is b
        lines = [line for line in said if "closed" in line]
        assert 200 < len(lines) < 300, len(lines)
        assert any("some are left out" in line for line in said)
        assert mount.text().count("closed") < 350


def test_originals_that_do_not_read_do_not_fill_the_memory(world):
    """They know no windows, and gRPC takes in tens of megabytes for each. As half of the memory fills, it takes in less, and cuts off
    streams of theirs, whichever: their service may be among them. A sanitizer keeps what is freed for a while."""
    bound = (1024 if SANITIZED else 512) << 20
    router = world.router(host=Small(256 << 20))
    reader, writer = (world.target(original.Client, router.address) for _ in range(2))
    tokens = reader.stubs.create(pb.CreateServiceRequest(name="web"))
    eventually(lambda: writer.names() == ["web"])
    before, block, handed, unread, written = router.rss(), b"x" * 65536, [0] * 40, [], []
    all_are_open = threading.Event()

    def says(number, token):
        yield pb.Payload(data=original.token_bytes(token))
        assert all_are_open.wait(PATIENCE)
        for _ in range(1024):
            handed[number] += len(block)
            yield pb.Payload(data=block)

    for number in range(40):
        token = writer.stubs.forward(pb.ForwardToServiceRequest(name="web"), timeout=PATIENCE).token
        written.append(writer.stubs.proxy(says(number, token)))
        unread.append(reader.open(next(tokens).token))
    all_are_open.set()
    most, idle = 0, time.monotonic()
    while time.monotonic() - idle < 1.5:
        now = sum(handed)
        assert router.rss() - before < bound, f"{router.rss() - before} bytes for {now}"
        if now > most:
            most, idle = now, time.monotonic()
        time.sleep(0.01)
    late = world.target(original.Client, router.address)
    assert late.names() in (["web"], [])
    for call in [tokens, *written]:
        call.cancel()
    late.serve("late", 9)
    eventually(lambda: late.names() == ["late"])
