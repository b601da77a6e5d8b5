"""Lines on which an answer takes longer than elsewhere: thin ones, and those with an upload in the modem's queue."""
import contextlib
import socket
import threading

import pytest

from harness import PATIENCE, Server, eventually
from test_netlab import Lab, Link, pytestmark

FAST = Link(50e6, 0.01)


class Endless(Server):
    def serve(self, connection):
        while True:
            connection.sendall(bytes(1 << 16))


@pytest.fixture
def lab():
    with Lab(FAST, Link(64e3, 0.1, queue=6)) as lab:
        yield lab


def test_a_thin_line_is_not_a_dead_one(lab, world):
    """The second answer is behind what the first download has under way, for longer than anybody waits on a fast line."""
    router = world.router("--open", listen="0.0.0.0:7000", host=lab.r)
    service, forward = (world.mount(router, "insecure,dial_timeout=1", name=name, host=host) for name, host in (("A", lab.s), ("B", lab.f)))
    with lab.s.inside():
        target = world.target(Endless)
    service.service("bulk", target.address)
    port = forward.forward("bulk")
    with contextlib.ExitStack() as stack, lab.f.inside():
        first = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        threading.Thread(target=drink, args=(first,), daemon=True).start()
        eventually(lambda: int(forward.connections()[0]["bytes_in"]) > 20000, 60)
        assert congestion_control(lab.s, target.address) == {"reno"}
        assert listeners_congestion_control(lab.f, port) == listeners_congestion_control(lab.r, 7000) == {"reno"}
        for host in (lab.s, lab.f):
            assert congestion_control(host, lab.r.address) in ({"bbr"}, {usual(host)})
        second = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
        assert second.recv(1)
    assert forward.values("status")["connects"] == "1"
    assert forward.values("status")["failed"] == "0"
    router.kill()  # or all that is under way would have to get through, before the mounts end


def drink(connection):
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


def congestion_control(host, peer):
    """What the connections of a host with this peer use."""
    lines = host.run("ss", "-Htin", "dst", peer).splitlines()
    return {line.split()[0] for line in lines if line[0].isspace()}


def listeners_congestion_control(host, port):
    """What a connection has from before it is known how far its peer is."""
    lines = host.run("ss", "-Htlin", "sport", f":{port}").splitlines()
    return {line.split()[0] for line in lines if line[0].isspace()}


def usual(host):
    return host.run("cat", "/proc/sys/net/ipv4/tcp_congestion_control").strip()
