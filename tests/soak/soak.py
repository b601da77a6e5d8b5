"""Volume: connections in their thousands, bytes in their gigabytes, and what is left of them afterwards."""
import contextlib
import hashlib
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

from harness import Echo, Server, World, dial, eventually, hear_exactly, reset


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


def connections(world, router, a, b):
    target = subprocess.Popen([sys.executable, __file__, "echo"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(target.stdout.readline())
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
            rests.append(use_of(programs))
            print("at rest", rests[-1], flush=True)
        for (name, descriptors, _), (_, _, rss), (_, descriptors_after, rss_after) in zip(before, rests[1], rests[-1]):
            assert descriptors_after <= descriptors, f"{name} holds descriptors"
            assert rss_after < rss * 1.2 + 4096, f"{name} grew from {rss} to {rss_after} KiB"
    finally:
        target.kill()
        target.wait()


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


def bytes_both_ways(world, router, a, b):
    """10 GB each way at once, with a checksum of each."""
    total = int(float(os.environ.get("MM_GIGABYTES", "10")) * 1e9)
    target = world.target(Server)
    a.service("bulk", target.address)
    near = dial(b.forward("bulk"), 600)
    far = target.connection()
    far.settimeout(600)
    block = os.urandom(8 << 20)
    sums = {}

    def send(name, end):
        digest, left = hashlib.blake2b(), total
        while left:
            piece = memoryview(block)[: min(left, len(block))]
            end.sendall(piece)
            digest.update(piece)
            left -= len(piece)
        end.shutdown(socket.SHUT_WR)
        sums[f"{name} sent"] = digest.hexdigest()

    def hear(name, end):
        digest, size, room = hashlib.blake2b(), 0, bytearray(1 << 20)
        while count := end.recv_into(room):
            digest.update(memoryview(room)[:count])
            size += count
        assert size == total, f"{name} heard {size}"
        sums[f"{name} heard"] = digest.hexdigest()

    start = time.monotonic()
    threads = [threading.Thread(target=work, args=(name, end)) for name, end in (("near", near), ("far", far)) for work in (send, hear)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    near.close()
    print(f"{total / 1e9:g} GB each way in {time.monotonic() - start:.1f} s; now", use_of((router, a, b)))
    assert sums["near sent"] == sums["far heard"] and sums["far sent"] == sums["near heard"]


def echo():
    server = Echo()
    print(server.port, flush=True)
    threading.Event().wait()


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, limit), limit))
    if sys.argv[1] == "echo":
        echo()
    work = {"connections": connections, "bytes": bytes_both_ways}[sys.argv[1]]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    world = World(directory)
    try:
        router = world.router()
        work(world, router, world.mount(router, name="A"), world.mount(router, name="B"))
    finally:
        world.close()
        subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)
    print(f"{sys.argv[1]}: fine")


if __name__ == "__main__":
    main()
