"""Volume: connections in their thousands, bytes in their gigabytes, and what is left of them afterwards."""
import contextlib
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from crash import crash
from harness import Echo, World, dial, eventually, hear_exactly, make_stubs, reset
from storm import OPTIONS, storm
from traffic import Flow, Meeting, together


def use_of(programs):
    return [(program.name, program.descriptors(), program.rss() >> 10) for program in programs]


def rest(a, b):
    eventually(lambda: not a.listing("connections") and not b.listing("connections"), 60)


def in_a_row(port, count, workers=16):
    """`count` connections, some ended well, some abruptly."""
    troubles = []

    def work(number):
        for index in range(number, count, workers):
            try:
                connection = dial(port)
                word = b"%08d" % index
                connection.sendall(word)
                assert hear_exactly(connection, 8) == word
                if index % 3 == 0:
                    reset(connection)
                elif index % 3 == 1:
                    connection.shutdown(socket.SHUT_WR)
                    assert connection.recv(1) == b""
                connection.close()
            except (OSError, AssertionError) as trouble:
                troubles.append(f"{index}: {trouble!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return troubles


@contextlib.contextmanager
def echoing():
    """The port of a target in a process of its own, which has the descriptors for it."""
    target = subprocess.Popen([sys.executable, __file__, "echo"], stdout=subprocess.PIPE, text=True)
    try:
        yield int(target.stdout.readline())
    finally:
        target.kill()
        target.wait()


def connections(world, router, a, b):
    with echoing() as port:
        a.service("echo", f"127.0.0.1:{port}")
        forward = b.forward("echo")
        programs = (router, a, b)
        assert not in_a_row(forward, 1000)
        rest(a, b)
        before = use_of(programs)
        print("before", before, flush=True)
        start = time.monotonic()
        for _ in range(10):
            troubles = in_a_row(forward, 1000)
            assert not troubles, troubles[:5]
        print(f"10000 connections in {time.monotonic() - start:.1f} s", flush=True)
        rest(a, b)
        after = use_of(programs)
        print("after ", after, flush=True)
        for (name, descriptors, rss), (_, descriptors_after, rss_after) in zip(before, after):
            assert descriptors_after <= descriptors, f"{name} holds descriptors"
            assert rss_after < rss * 1.3 + 4096, f"{name} grew from {rss} to {rss_after} KiB"
        # The allocator keeps what a crowd needed; a second crowd must do with it.
        rests = []
        for count in (1000, 5000, 5000, 5000):
            at_once(forward, count, lambda: print(f"{count} at once", use_of(programs), flush=True))
            rest(a, b)
            print("over", use_of(programs), flush=True)
            time.sleep(3)  # the last of a crowd's memory is given back a second after it
            rests.append(use_of(programs))
            print("at rest", rests[-1], flush=True)
        for (name, descriptors, _), (_, _, rss), (_, descriptors_after, rss_after) in zip(before, rests[1], rests[-1]):
            assert descriptors_after <= descriptors, f"{name} holds descriptors"
            assert rss_after < rss * 1.2 + 4096, f"{name} grew from {rss} to {rss_after} KiB"


def at_once(port, count, tell):
    with contextlib.ExitStack() as stack:
        held = []
        for number in range(count):
            connection = stack.enter_context(dial(port, 60))
            connection.sendall(b"%08d" % number)
            held.append(connection)
        for number, connection in enumerate(held):
            assert hear_exactly(connection, 8) == b"%08d" % number
        tell()


def scale(world, router, a, b):
    """1,000 services, and 5,000 connections to them, dialled by 64 at once; an original dials some of them."""
    make_stubs(world.directory / "stubs")
    import original

    names = [f"s{number}" for number in range(1000)]
    with echoing() as port:
        programs = (router, a, b)
        print("at first", use_of(programs), flush=True)
        for name in names:
            a.service(name, f"127.0.0.1:{port}", state=None)
        eventually(lambda: len(b.listing("services")) == len(names), 60)
        ports = [b.forward(name) for name in names]
        theirs = world.target(original.Client, router.address)
        ports += [theirs.forward(name) for name in names[:10]]
        print(f"{len(names)} services", use_of(programs), flush=True)
        for _ in range(2):
            with contextlib.ExitStack() as stack:
                lock, held, numbers = threading.Lock(), [], iter(range(5000))

                def work():
                    while (number := next_of(lock, numbers)) is not None:
                        connection = dial(ports[number % len(ports)], 60)
                        with lock:
                            held.append((number, stack.enter_context(connection)))
                        connection.sendall(b"%08d" % number)
                        assert hear_exactly(connection, 8) == b"%08d" % number

                start = time.monotonic()
                together(*[work] * 64, timeout=300)
                print(f"{len(held)} connections in {time.monotonic() - start:.1f} s", use_of(programs), flush=True)
                assert len(a.listing("connections")) == 5000
                for number, connection in held:
                    connection.sendall(b"%08d" % number)
                for number, connection in held:
                    assert hear_exactly(connection, 8) == b"%08d" % number
            rest(a, b)
            print("at rest", use_of(programs), flush=True)


def next_of(lock, numbers):
    with lock:
        return next(numbers, None)


def memory(world, router, a, b):
    """40 receivers that stall, half of them in each direction: no program grows by more than 64 MiB."""
    target = world.target(Meeting)
    a.service("bulk", target.address)
    port = b.forward("bulk")
    programs = (router, a, b)
    with contextlib.ExitStack() as stack:
        before = use_of(programs)
        flows = []
        for number in range(40):
            near, far = target.ends(port, 600)
            speaker, hearer = (far, near) if number % 2 else (near, far)
            hearer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            flow = Flow(number, 256 << 20, pauses=False)
            speaking = threading.Thread(target=flow.say, args=(speaker,))
            speaking.start()
            stack.callback(speaking.join)
            flows.append((flow, hearer))
        # All are stuck when nothing more is taken for a while.
        said = None
        while said != (said := [flow.said for flow, _ in flows]):
            time.sleep(1)
        stuck = use_of(programs)
        for (name, _, rss), (_, _, rss_stuck) in zip(before, stuck):
            print(f"{name}: {rss} KiB, with 40 stalled {rss_stuck} KiB", flush=True)
            assert rss_stuck - rss < 64 << 10, f"{name} grew from {rss} to {rss_stuck} KiB"
        together(*(lambda f=flow, h=hearer: f.hear(h) for flow, hearer in flows), timeout=300)
    print("all was heard", use_of(programs), flush=True)


def echo():
    server = Echo()
    print(server.port, flush=True)
    threading.Event().wait()


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, limit), limit))
    if sys.argv[1] == "echo":
        echo()
    work = {"connections": connections, "scale": scale, "memory": memory, "crash": crash, "storm": storm}[sys.argv[1]]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    world = World(directory)
    try:
        router = world.router()
        options = OPTIONS if work is storm else ""
        work(world, router, world.mount(router, options, name="A"), world.mount(router, options, name="B"))
    finally:
        world.close()
        subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)
    print(f"{sys.argv[1]}: fine")


if __name__ == "__main__":
    main()
