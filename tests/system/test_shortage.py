"""Descriptors and pipes run out, of the process or of its user: bytes are copied then, and what cannot be had waits, or is refused."""
import contextlib
import os
import resource
import select
import subprocess
import sys

import pytest

from harness import eventually, is_reset, settled
from test_raw import go_by
from test_splicing import splice_more, spliced
from test_stalls import Link
from traffic import Conversation, Flow, Meeting, together

MEGABYTE = 1 << 20


class Plain:
    """This machine, for a user whom nobody else is, and who may have no more than all may."""

    address, user = "127.0.0.1", 1_000_000 + os.getpid()

    def command(self, *command):
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", "--", *command]


HOARD = """
import fcntl, os, sys
kept = [os.pipe()]
while fcntl.fcntl(kept[-1][0], fcntl.F_GETPIPE_SZ) >= 65536:
    try:
        fcntl.fcntl(kept[-1][1], fcntl.F_SETPIPE_SZ, 1 << 20)
    except PermissionError:
        pass
    kept.append(os.pipe())
print(len(kept), flush=True)
sys.stdin.read()
"""


class Hoard:
    """Has all the room that its user may have in pipes, until it is closed."""

    def __init__(self, host):
        self.process = subprocess.Popen(host.command(sys.executable, "-c", HOARD), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert int(self.process.stdout.readline()) > 1

    def close(self):
        self.process.communicate()


def pipes(program):
    count = 0
    for entry in os.scandir(f"/proc/{program.pid}/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(entry.path).startswith("pipe:")
    return count


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: needs root")
def test_pipes_of_the_router_s_user_run_out_and_come_back(world):
    plain = Plain()
    hoard = world.target(Hoard, plain)
    router = world.router(host=plain)
    a, b = (world.mount(router, name=name) for name in "AB")
    none = pipes(router)
    with Conversation("pipes", *Link(world, a, b).ends("up"), pauses=False) as talk:
        talk.goes_on(8 * MEGABYTE)
        go_by("raw", a, b)
        eventually(lambda: pipes(router) == none, what="it copies")
        hoard.close()
        eventually(lambda: pipes(router) > none, what="it splices")
        talk.goes_on(8 * MEGABYTE)
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]


@contextlib.contextmanager
def no_more_descriptors(mount):
    """What it has stays open; no pipe and nothing else is to be had beside it."""
    limits = resource.prlimit(mount.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    yield
    resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, limits)


def test_a_mount_that_has_no_pipes_copies(world, a, b):
    """And splices once it has; while only one of them does, they understand each other."""
    with contextlib.ExitStack() as starved:
        with Conversation("no pipes", *Link(world, a, b).ends("up"), pauses=False) as talk:
            starved.enter_context(no_more_descriptors(b))
            with no_more_descriptors(a):
                talk.goes_on(8 * MEGABYTE)
                go_by("raw", a, b)
                assert spliced(a, b) == [0, 0]
            splice_more(a)
            talk.goes_on(8 * MEGABYTE)
            assert spliced(b) == [0]
            starved.close()
            splice_more(b)
            talk.goes_on(8 * MEGABYTE)
    settled(a, b)
    assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]


class Few:
    """This machine, for a program that may have so many descriptors."""

    address = "127.0.0.1"

    def __init__(self, descriptors):
        self.descriptors = descriptors

    def command(self, *command):
        return ["prlimit", f"--nofile={self.descriptors}", "--", *command]


CROWD = 40


def converses(target, port, seed):
    """Whether a connection came about, which then must be as any other; it may be refused."""
    try:
        near, number = target.begin(port)
    except ConnectionResetError:
        return False
    eventually(lambda: target.came.get(number) or select.select([near], [], [], 0)[0], what="it arrives, or is refused")
    if number not in target.came:
        assert is_reset(near)
        return False
    far = target.came[number]
    up, down = (Flow(f"{seed} {way}", 4 * MEGABYTE, pauses=False) for way in ("up", "down"))
    together(lambda: up.say(near), lambda: up.hear(far), lambda: down.say(far), lambda: down.hear(near))
    return True


def was_detached(*mounts):
    return [line for mount in mounts for line in mount.read("events").splitlines() if "detached" in line]


@pytest.mark.parametrize("starved", ["router", "forward", "service"])
def test_descriptors_are_few(world, starved):
    """Too few for all connections at once. Those of a crowd wait at the router and before the forward; the service says why it cannot
    dial for some. Nobody else is hurt."""
    few = {starved: Few(64)}
    router = world.router(host=few.get("router"))
    a = world.mount(router, name="A", host=few.get("service"))
    b = world.mount(router, name="B", host=few.get("forward"))
    target = world.target(Meeting)
    a.service("web", target.address)
    port, came = b.forward("web"), []
    together(*(lambda n=number: came.append(converses(target, port, f"{starved} {n}")) for number in range(CROWD)))
    settled(a, b)
    if starved == "service":
        assert len(a.errors()) == CROWD - sum(came)
        assert all(line.endswith("Too many open files") for line in a.errors() + b.errors())
    else:
        assert sum(came) == CROWD
        assert [mount.values("status")["failed"] for mount in (a, b)] == ["0", "0"]
    assert 1 < sum(came)
    assert not was_detached(a, b)
    assert converses(target, port, starved)
