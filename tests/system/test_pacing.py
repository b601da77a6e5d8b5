"""Bulk streams over one long line share it without a queue: the kernel is told how fast each may send."""
import contextlib
import re
import socket
import threading

import pytest

from harness import PATIENCE, Server, eventually
from test_netlab import Lab, Link, pytestmark
from test_slow_lines import drink

LINK = Link(50e6, 0.02)
STREAMS = 4


class Endless(Server):
    def serve(self, connection):
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(1 << 18))


@pytest.fixture
def lab():
    with Lab(LINK, LINK) as lab:
        yield lab


def paced(host, peer):
    """The rates that the kernel was told for the connections of a host with this peer, in bit/s."""
    return [int(rate) for rate in re.findall(r"pacing_rate \d+bps/(\d+)bps", host.run("ss", "-Htin", "dst", peer))]


def test_bulk_streams_are_paced_to_what_the_line_carries(lab, world):
    """S has the application's data, and the router passes it on: both are before a full line."""
    router = world.router("--open", listen="0.0.0.0:7000", host=lab.r)
    service, forward = (world.mount(router, "insecure", name=name, host=host) for name, host in (("A", lab.s), ("B", lab.f)))
    with lab.s.inside():
        target = world.target(Endless)
    service.service("bulk", target.address)
    port = forward.forward("bulk")
    with contextlib.ExitStack() as stack, lab.f.inside():
        for _ in range(STREAMS):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            threading.Thread(target=drink, args=(one,), daemon=True).start()
        for host, peer in ((lab.s, lab.r), (lab.r, lab.f)):
            eventually(lambda: 0 < sum(paced(host, peer.address)) < 1.5 * LINK.rate, 30)
    router.kill()
