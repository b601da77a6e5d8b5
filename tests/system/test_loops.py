"""A service whose target is a forward that leads back to it: refused where it is written, and ended where it shows."""
import contextlib
import errno
import os
import socket

import pytest

from harness import PATIENCE, Echo, dial, ends_somehow, exchange, free_port, settled

FEW = 1000  # 20 to 300, however late the router answers; a loop that goes on makes 20,000


def connections(*mounts):
    """So far, each at both of its ends."""
    return sum(int(mount.values("status")["connections"]) for mount in mounts)


# Where A and B have services, with what their targets lead to: a forward's place, and its kind of address.
LOOPS = {
    "two mounts": [("web", "A", "B", "port")],
    "a unix socket": [("web", "A", "B", "unix")],
    "a v6 address": [("web", "A", "B", "v6")],
    "two services of one mount": [("web", "A", "A", "port"), ("ssh", "A", "A", "unix")],
    "two services of two mounts": [("web", "A", "B", "port"), ("ssh", "B", "A", "port")],
    "two services that do not see each other": [("web", "A", "B", "port"), ("ssh", "B", "B", "port")],
    "two services whose forwards are elsewhere": [("web", "A", "B", "port"), ("ssh", "A", "B", "port")],
}


def lay(mounts, directory, loop):
    """Each target is the listener of the next service's forward, so that one port leads to all of them, and round."""
    places = []
    for name, _, where, kind in loop:
        port = free_port()
        places.append({"port": f"127.0.0.1:{port}", "v6": f"[::1]:{port}", "unix": f"unix:{directory}/{name}-{len(places)}.sock"}[kind])
    for i, (name, service, _, _) in enumerate(loop):
        mounts[service].service(name, places[(i + 1) % len(loop)])
    for i, (name, _, forward, _) in enumerate(loop):
        mounts[forward].sees(name)
        mounts[forward].write(f"forwards/{name}", places[i] + "\n")
    return places[0]


def connect(place):
    if place.startswith("unix:"):
        return dial(place.removeprefix("unix:"))
    host, port = place.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), PATIENCE)


@pytest.mark.parametrize("shape", LOOPS)
def test_a_loop_ends(world, router, a, b, directory, shape):
    place = lay({"A": a, "B": b}, directory, LOOPS[shape])
    with contextlib.suppress(ConnectionResetError), connect(place) as caller:
        ends_somehow(caller)
    settled(a, b)
    assert connections(a, b) < FEW
    for mount in a, b:
        if int(mount.values("status")["failed"]):
            assert "came through" in mount.read("errors")


REFUSED = [
    ("{port}", "localhost:{port}"),
    ("0.0.0.0:{port}", "127.0.0.2:{port}"),
    ("[::1]:{port}", "localhost:{port}"),
    ("localhost:{port}", "0.0.0.0:{port}"),
    ("unix:{directory}/s", "unix:{directory}/s"),
]


def test_what_leads_back_at_once_is_not_written(a, directory):
    """In whichever order the two are written; what was there stays."""
    os.mkdir(a / "services/web")
    for listener, target in REFUSED:
        port = free_port()
        listener, target = (text.format(port=port, directory=directory) for text in (listener, target))
        a.write("services/web/target", "127.0.0.1:1\n")
        a.write("forwards/web", listener + "\n")
        a.refuses(errno.EINVAL, "services/web/target", target + "\n")
        assert a.read("services/web/target") == "127.0.0.1:1\n" and "leads back to this service" in a.errors()[-1]
        a.write("forwards/web", "0\n")
        a.write("services/web/target", target + "\n")
        a.refuses(errno.EINVAL, "forwards/web", listener + "\n")
        assert "the target of the service of the same name" in a.errors()[-1]


def test_tunnels_in_a_row_are_no_loop(a, b):
    """Eight of them, there and back."""
    with contextlib.closing(Echo()) as echo:
        target = echo.address
        for i in range(8):
            a.service(f"hop{i}", target)
            target = f"127.0.0.1:{b.forward(f'hop{i}')}"
        a.service("last", target)
        assert exchange(b.forward("last"), b"there and back") == b"there and back"
