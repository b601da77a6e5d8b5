"""The path between a machine and the router goes: in namespaces of their own."""
import contextlib
import pathlib
import shutil
import socket
import tempfile
import threading
import time
import traceback

from stage import until
from harness import World
from netlab import Lab, Link
from traffic import Conversation, Meeting


@contextlib.contextmanager
def abroad(link):
    """S, R and F on hosts of their own, with a connection between them that does not rest."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    with Lab(link, link) as lab:
        world = World(directory)
        try:
            router = world.router("--open", listen="0.0.0.0:7000", host=lab.r)
            a, b = (world.mount(router, "insecure", name=name, host=host) for name, host in (("A", lab.s), ("B", lab.f)))
            with lab.s.inside():
                target = world.target(Meeting)
            a.service("bulk", target.address)
            port = b.forward("bulk")
            with lab.f.inside():
                near, far = target.ends(port, 300)
            yield lab, a, b, near, far
        finally:
            world.close()
            shutil.rmtree(directory, ignore_errors=True)


def notices(mount):
    """It has seen that the way it used is gone: it looks for another one, or has it."""
    count = mount.links()
    return lambda: mount.values("status")["state"] == "connecting" or mount.links() > count


def new_address(lab):
    """F's machine has another one, and the old one is gone."""
    lab.r.run("ip", "route", "add", "10.0.2.9/32", "dev", "f")
    lab.f.run("ip", "address", "del", "10.0.2.1", "peer", "10.0.2.2", "dev", "r")
    lab.f.run("ip", "address", "add", "10.0.2.9", "peer", "10.0.2.2", "dev", "r")
    lab.f.run("ip", "route", "replace", "default", "via", "10.0.2.2", "src", "10.0.2.9")


def new_route(lab):
    """F's machine has one more address, and speaks from that; the old one stays good."""
    lab.r.run("ip", "route", "add", "10.0.2.9/32", "dev", "f")
    lab.f.run("ip", "address", "add", "10.0.2.9", "peer", "10.0.2.2", "dev", "r")
    lab.f.run("ip", "route", "replace", "default", "via", "10.0.2.2", "src", "10.0.2.9")


class Pauses:
    """The longest time in which either direction did not go on."""

    def __init__(self, talk):
        self.talk, self.longest, self.over = talk, 0.0, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        heard = [(flow.heard, time.monotonic()) for flow in self.talk.flows]
        while not self.over.wait(0.005):
            now = time.monotonic()
            self.longest = max(self.longest, *(now - since for _, since in heard))
            heard = [(flow.heard, now) if flow.heard > size else (size, since) for flow, (size, since) in zip(self.talk.flows, heard)]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


LINK = Link(50e6, 0.02)


def measured(report, words, change, hold=0, undo=lambda lab: None, at="F"):
    """Under a conversation: `change`, and after so many seconds `undo`."""
    with abroad(LINK) as (lab, a, b, near, far):
        with Conversation(words, near, far, pauses=False) as talk, Pauses(talk) as pauses:
            talk.goes_on()
            notice = notices(b if at == "F" else a)
            begin = time.monotonic()
            change(lab)
            noticed = until(notice, 40)
            report.judge(f"{words}: noticed", noticed is not None)
            if noticed is not None:
                report.at_most(f"{words}: until it is noticed", noticed, 15)
            time.sleep(max(0, begin + hold - time.monotonic()))
            heard = [flow.heard for flow in talk.flows]
            begin = time.monotonic()
            undo(lab)
            back = until(lambda: talk.troubles or all(flow.heard > size for flow, size in zip(talk.flows, heard)))
            report.judge(f"{words}: it goes on", back is not None and not talk.troubles)
            if back is not None:
                report.at_most(f"{words}: until it goes on{' once there is a path' if hold else ''}", back)
                talk.goes_on()
            report.at_most(f"{words}: longest pause", pauses.longest)
        report.judge(f"{words}: what is heard is what was said", b.values("status")["failed"] == "0")


class Upload:
    """What plain TCP sends from F to R, as much as passes: Reno fills whatever queue there is."""

    def __init__(self, lab):
        self.lab = lab
        with lab.r.inside():
            self.listener = socket.create_server((lab.r.address, 9000))
        with lab.f.inside():
            self.connection = socket.socket()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        self.connection.connect((lab.r.address, 9000))
        for work in (self.say, self.hear):
            threading.Thread(target=work, daemon=True).start()

    def say(self):
        with contextlib.suppress(OSError):
            while True:
                self.connection.sendall(bytes(1 << 16))

    def hear(self):
        with contextlib.suppress(OSError):
            taken = self.listener.accept()[0]
            while taken.recv(1 << 16):
                pass

    def round_trip(self):
        """Seconds, as a handshake takes them now."""
        with self.lab.f.inside():
            probe = socket.socket()
        probe.settimeout(60)
        begin = time.monotonic()
        with probe:
            probe.connect((self.lab.r.address, 9000))
        return time.monotonic() - begin

    def close(self):
        self.connection.close()
        self.listener.close()


def bloated(report):
    """The router is started again beside an upload that keeps the modem's queue full. Nobody gives up what is on its way."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    with Lab(LINK, Link(1e6, 0.04, queue=4.5)) as lab:
        world = World(directory)
        try:
            router = world.router("--open", listen="0.0.0.0:7000", host=lab.r)
            mount = world.mount(router, "insecure", host=lab.f)
            upload = world.add(Upload(lab))
            report.judge("an upload: the queue is full", until(lambda: upload.round_trip() > 3, 60) is not None)
            router.kill()
            begin = time.monotonic()
            world.router("--open", listen="0.0.0.0:7000", host=lab.r)
            back = until(lambda: mount.values("status")["connects"] != "1" and mount.values("status")["state"] == "connected", 90)
            report.judge("beside an upload: it finds the router again", back is not None)
            if back is not None:
                report.at_most("beside an upload: until it finds the router again", time.monotonic() - begin, 60)
        finally:
            world.close()
            shutil.rmtree(directory, ignore_errors=True)


def links(report):
    """A path that swallows everything for 20 seconds, at either end; an address that goes; a route that changes."""
    scenes = []
    for at, relay in (("F", "rf"), ("S", "sr")):
        for name, direction in (("", []), (", away from S only", [0]), (", towards S only", [1])):
            scenes.append((f"20 s of nothing at {at}{name}", lambda lab, r=relay, d=direction: getattr(lab, r).hole(*d), 20,
                           lambda lab, r=relay, d=direction: getattr(lab, r).unhole(*d), at))
    scenes += [("another address of F", new_address), ("another route of F", new_route)]
    for scene in scenes:
        try:
            measured(report, *scene)
        except Exception as trouble:
            traceback.print_exc()
            report.judge(f"{scene[0]}: to the end", False, str(trouble) or repr(trouble))
