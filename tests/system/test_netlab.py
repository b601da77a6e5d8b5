"""The lab that other tests stand in: a link delays, limits, loses and goes dead as it was asked to, and nothing of it stays behind."""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import eventually

NETLAB = pathlib.Path(__file__).resolve().parents[1] / "netlab"
sys.path.insert(0, str(NETLAB))

from netlab import Lab, Link

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not os.path.exists("/dev/net/tun"), reason="network namespaces and tun devices: needs root, and /dev/net/tun"
)


@contextlib.contextmanager
def datagrams(lab):
    """A socket of F, joined with one of S."""
    with contextlib.ExitStack() as stack:
        ends = []
        for host in (lab.f, lab.s):
            with host.inside():
                ends.append(stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            ends[-1].bind((host.address, 5000))
            ends[-1].settimeout(15)
        ends[0].connect((lab.s.address, 5000))
        ends[1].connect((lab.f.address, 5000))
        yield ends


def test_a_packet_is_under_way_for_the_delay_of_both_links():
    with Lab(Link(100e6, 0.03), Link(100e6, 0.05)) as lab, datagrams(lab) as (near, far):
        start = time.monotonic()
        near.send(b"there")
        assert far.recv(100) == b"there"
        assert time.monotonic() - start >= 0.04
        far.send(b"back")
        assert near.recv(100) == b"back"
        assert time.monotonic() - start >= 0.08


def test_no_more_passes_than_the_rate():
    size = 1 << 20
    with Lab(Link(50e6, 0.002), Link(20e6, 0.002)) as lab, contextlib.ExitStack() as stack:
        with lab.s.inside():
            listener = stack.enter_context(socket.create_server((lab.s.address, 5000)))
        with lab.f.inside():
            near = stack.enter_context(socket.create_connection((lab.s.address, 5000), 15))
        far = stack.enter_context(listener.accept()[0])
        start = time.monotonic()
        sender = threading.Thread(target=near.sendall, args=(bytes(size),))
        sender.start()
        left = size
        while left:
            left -= len(far.recv(left))
        assert size * 8 / (time.monotonic() - start) <= 20e6
        sender.join()
        assert lab.rf.counts()[1]["bytes"] > size


def test_loss_loses():
    count = 2000
    with Lab(Link(0, 0.002), Link(0, 0.002, loss=0.1)) as lab, datagrams(lab) as (near, _):
        for _ in range(count):
            near.send(b"1")
        eventually(lambda: (seen := lab.rf.counts()[1])["packets"] + seen["lost"] == count)
        passed = lab.rf.counts()
        assert 100 < passed[1]["lost"] < 300
        assert passed[0]["lost"] == 0
        eventually(lambda: lab.sr.counts()[1]["packets"] == passed[1]["packets"])


def test_a_full_queue_refuses():
    with Lab(Link(0, 0.002), Link(1e6, 0.002, queue=0)) as lab, datagrams(lab) as (near, _):
        for _ in range(200):
            near.send(bytes(1400))
        eventually(lambda: lab.rf.counts()[1]["refused"] > 0)


def test_a_hole_swallows_until_it_is_filled():
    with Lab(Link(0, 0.002), Link(0, 0.002)) as lab, datagrams(lab) as (near, far):
        lab.sr.hole()
        near.send(b"lost")
        eventually(lambda: lab.sr.counts()[1]["swallowed"] == 1)
        lab.sr.unhole()
        near.send(b"there")
        assert far.recv(100) == b"there"
        lab.sr.hole(0)
        near.send(b"again")
        assert far.recv(100) == b"again"
        far.send(b"lost")
        eventually(lambda: lab.sr.counts()[0]["swallowed"] == 1)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind(sign):
    script = """
import netlab, subprocess, time
with netlab.Lab(netlab.Link(0, 0.01), netlab.Link(0, 0.01)) as lab:
    left = lab.s.popen("sh", "-c", "echo there; exec sleep 100", stdout=subprocess.PIPE)
    left.stdout.readline()  # before that it may not be in the namespace yet
    print(lab.guard.pid, lab.sr.process.pid, lab.rf.process.pid, left.pid, flush=True)
    time.sleep(100)
"""
    user = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(NETLAB)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pids = [int(word) for word in user.stdout.readline().split()]
    assert len(pids) == 4
    user.send_signal(sign)
    user.wait(15)
    user.stdout.close()
    for pid in pids:
        eventually(lambda: gone(pid), what=f"{pid} is gone")


def gone(pid):
    """Also of a process that nobody has waited for yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
