"""Ends that nobody says: a machine that vanishes, and mmfs when it is killed."""
import os
import pathlib
import socket
import sys

import pytest

from harness import PATIENCE, Server, Silent, dial, eventually, hear, hear_exactly, is_reset, settled

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netlab"))

from netlab import Lab, Link

ANSWER = bytes(range(256)) * 2048  # more than a small socket takes, less than its kernel keeps


def small_dial(port):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    return connection


@pytest.fixture
def pair(world):
    router = world.router()
    service, forward = world.mount(router), world.mount(router)
    target = world.target(Silent)
    service.service("web", target.address)
    return service, forward, target, forward.forward("web")


@pytest.mark.parametrize("killed", ["service", "forward"])
def test_what_is_half_done_is_reset_when_mmfs_is_killed(pair, killed):
    service, forward, target, port = pair
    with dial(port) as down:
        far = target.connection(0)
        far.sendall(b"half of")
        assert hear_exactly(down, 7) == b"half of"
        with dial(port) as up:
            up.sendall(b"half of")
            other = target.connection(1)
            assert hear_exactly(other, 7) == b"half of"
            {"service": service, "forward": forward}[killed].kill()
            for end in (down, up) if killed == "forward" else (far, other):
                assert is_reset(end)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_ended_in_order_is_delivered_without_mmfs(pair, how):
    """Both ends were said; what the kernel still has for either side outlives the processes."""
    service, forward, target, port = pair
    with small_dial(port) as near:
        far = target.connection()
        near.sendall(ANSWER)
        near.shutdown(socket.SHUT_WR)
        far.sendall(ANSWER)
        far.shutdown(socket.SHUT_WR)
        settled(service, forward)
        for mount in (service, forward):
            getattr(mount, how)()
        assert hear(near) == ANSWER
        assert hear(far) == ANSWER


def test_an_end_that_was_given_stays_one(pair):
    """An answer was whole before its reader has said all: it outlives mmfs, too."""
    service, forward, target, port = pair
    with small_dial(port) as near:
        far = target.connection()
        far.sendall(ANSWER)
        far.shutdown(socket.SHUT_WR)
        eventually(lambda: [c["bytes_in"] for c in forward.connections()] == [str(len(ANSWER))], what="all was given to the socket")
        eventually(lambda: "queued" not in forward.connections()[0] or forward.connections()[0]["queued"] == "0")
        forward.kill()
        assert hear(near) == ANSWER


@pytest.fixture
def lab():
    """Taken down after the programs in it."""
    with Lab(Link(0, 0.001), Link(0, 0.001)) as lab:
        yield lab


@pytest.mark.skipif(os.getuid() != 0 or not os.path.exists("/dev/net/tun"), reason="network namespaces and tun devices")
def test_a_machine_that_vanishes_is_noticed(lab, world):
    """An application's, and a target's; with nothing under way, and with something."""
    router = world.router(host=lab.r)
    mount = world.mount(f"127.0.0.1:{router.port}", "keepalive=1", host=lab.r)
    with lab.r.inside():
        here = world.target(Server)
    with lab.s.inside():
        there = world.target(Server)
        there.listener = socket.create_server((lab.s.address, 5000))
        there.start()
    mount.service("here", here.address)
    mount.service("there", f"{lab.s.address}:5000")
    doors = {name: mount.forward(name, "0.0.0.0:0") for name in ("here", "there")}
    ends = []
    for target, name in ((here, "here"), (there, "there")):
        host = lab.f if name == "here" else lab.r
        for index in range(2):
            with host.inside():
                ends.append(socket.create_connection((("10.0.2.2", "127.0.0.1")[host is lab.r], doors[name]), PATIENCE))
            target.connection(index)
    eventually(lambda: len(mount.connections()) == 8)
    lab.rf.hole()
    lab.sr.hole()
    here.connection(1).sendall(b"to who is not there")
    ends[3].sendall(b"to who is not there")
    settled(mount)
    assert [is_reset(end) for end in (here.connection(0), here.connection(1), ends[2], ends[3])] == [True] * 4
    for end in ends:
        end.close()
