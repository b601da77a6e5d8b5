"""The router goes: killed, replaced, too old a stream; under a transfer, a ping, a crowd."""
import contextlib
import hashlib
import os
import random
import selectors
import socket
import statistics
import threading
import time

from stage import SEED, drained, mib, place, restarted, speak, works
from harness import Echo, dial, eventually
from soak import echoing
from traffic import BLOB, Meeting, together


class Direction:
    """So many bytes, and when they came."""

    def __init__(self, source, size):
        self.start, self.size = source.randrange(len(BLOB)), size
        self.heard, self.times = 0, []
        self.digests = hashlib.sha256(), hashlib.sha256()

    def say(self, connection):
        view, at, left = memoryview(BLOB), self.start, self.size
        while left:
            data = view[at : at + min(1 << 18, left)]
            self.digests[0].update(data)
            connection.sendall(data)
            left -= len(data)
            at = (at + len(data)) % len(BLOB)
        connection.shutdown(socket.SHUT_WR)

    def hear(self, connection):
        room = memoryview(bytearray(1 << 19))
        while count := connection.recv_into(room):
            self.times.append(time.monotonic())
            self.digests[1].update(room[:count])
            self.heard += count

    def whole(self):
        return self.heard == self.size and self.digests[0].digest() == self.digests[1].digest()

    def longest(self, begin, end):
        """The longest time without progress of those that overlap with this one."""
        gaps = [later - sooner for sooner, later in zip(self.times, self.times[1:]) if later > begin and sooner < end]
        return max(gaps, default=0.0)


def kills(report):
    """kill -9 of the router, 20 times at random moments of a transfer both ways, beside idle connections."""
    count, size = 20, int(float(os.environ.get("MM_GIGABYTES", "2")) * 1e9)
    source = random.Random(f"{SEED} kills")
    with place() as (world, router, a, b):
        target, echo = world.target(Meeting), world.target(Echo)
        a.service("bulk", target.address)
        a.service("echo", echo.address)
        idle = [dial(b.forward("echo"), 60) for _ in range(20)]
        for connection in idle:
            speak(connection)
        near, far = target.ends(b.forward("bulk"), 120)
        up, down = (Direction(source, size) for _ in "ud")
        moments = sorted(source.randrange(2 * size) for _ in range(count))
        cuts = []

        def kill():
            nonlocal router
            for moment in moments:
                while up.heard + down.heard < moment and not (up.whole() and down.whole()):
                    time.sleep(0.0005)
                begin = time.monotonic()
                router, down_for = restarted(world, router, source.uniform(0, 0.5))
                cuts.append((begin, down_for))
                back = begin + down_for
                eventually(lambda: min(up.times[-1], down.times[-1]) > back or up.whole() and down.whole(), 60, "both go on")

        begin, trouble = time.monotonic(), ""
        try:
            together(lambda: up.say(near), lambda: up.hear(far), lambda: down.say(far), lambda: down.hear(near), kill, timeout=600)
        except AssertionError as error:
            trouble = str(error)
        seconds = time.monotonic() - begin
        still = sum(works(connection) for connection in idle)
        ends = [begin for begin, _ in cuts[1:]] + [time.monotonic()]
        seen = [max(up.longest(begin, end), down.longest(begin, end)) for (begin, _), end in zip(cuts, ends)]
        report.tell("kills of the router within the transfer", f"{len(cuts)} in {seconds:.0f} s")
        report.judge("SHA-256 equal both ways", up.whole() and down.whole() and not trouble, trouble or f"2 x {size / 1e9:g} GB")
        report.judge("connections dropped", not trouble and still == len(idle), (len(idle) - still) + (1 if trouble else 0))
        if seen:
            report.seconds("router away", [down_for for _, down_for in cuts])
            report.seconds("stall per kill, the router's absence included", seen)
            report.seconds("stall per kill, beyond the router's absence", [max(0, gap - away) for gap, (_, away) in zip(seen, cuts)], 2, 5)


class Pings:
    """A byte there and back every few milliseconds, through an echo."""

    def __init__(self, connection, pause=0.003):
        self.connection, self.pause = connection, pause
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.trips, self.trouble, self.stopped = [], "", threading.Event()
        self.thread = threading.Thread(target=self.loop)
        self.thread.start()

    def loop(self):
        try:
            while not self.stopped.is_set():
                begin = time.monotonic()
                self.connection.sendall(b"p")
                if not self.connection.recv(1):
                    raise OSError("it ended")
                self.trips.append((begin, time.monotonic()))
                time.sleep(self.pause)
        except OSError as error:
            self.trouble = repr(error)

    def longest(self, begin, end):
        return max((back - there for there, back in list(self.trips) if back > begin and there < end), default=0.0)

    def answered(self, since):
        return self.trips and self.trips[-1][0] > since

    def stop(self):
        self.stopped.set()
        self.thread.join(60)
        self.connection.close()


class Several:
    """Pings of connections that were dialled at different times, so that their streams are of all ages."""

    def __init__(self, port, count=6, apart=0.6):
        self.pings = []
        for number in range(count):
            time.sleep(apart if number else 0)
            self.pings.append(Pings(dial(port, 60), 0.003 if number == 0 else 0.02))

    def trouble(self):
        return next((pings.trouble for pings in self.pings if pings.trouble), "")

    def stalls(self, moments):
        """The longest of each time between two moments."""
        return [max(pings.longest(begin, end) for pings in self.pings) for begin, end in zip(moments, moments[1:])]

    def stop(self):
        since = time.monotonic()
        eventually(lambda: self.trouble() or all(pings.answered(since) for pings in self.pings), 30)
        for pings in self.pings:
            pings.stop()


def broken(*mounts):
    """How often they told that a connection had lost its stream, and not because the other side has another one already."""
    lines = [line for mount in mounts for line in mount.read("events").splitlines() if " detached: " in line]
    return len([line for line in lines if "the other side is gone" not in line])


def cuts(report):
    """24 planned cuts of each kind under steady pings."""
    count, age = 24, 4
    with echoing() as port:
        with place("--max-stream-age", str(age)) as (world, router, a, b):
            a.service("echo", f"127.0.0.1:{port}")
            several = Several(b.forward("echo"))
            moments, before = [time.monotonic()], b.links()
            end = moments[0] + count * age * 2
            while len(moments) <= count and time.monotonic() < end and not several.trouble():
                time.sleep(0.1)
                if (now := b.links()) > before:
                    before = now
                    moments.append(time.monotonic() + 0.5)
            time.sleep(1)
            several.stop()
            report.judge("renewed for their age, and all connections live", not several.trouble() and len(moments) > count, several.trouble() or len(moments) - 1)
            report.seconds("stall when a stream grows old", several.stalls(moments), None, None, 0.1)
            report.tell("of these cut before they were replaced", broken(a, b), "0", not broken(a, b))
        with place() as (world, router, a, b):
            a.service("echo", f"127.0.0.1:{port}")
            several = Several(b.forward("echo"), apart=0)
            time.sleep(3)
            report.at_most("longest of 3 s in which nothing happens", *several.stalls([0, time.monotonic()]))
            moments, ends = [], []
            for _ in range(count):
                moments.append(time.monotonic())
                former, router = router, drained(world, router)
                former.process.wait(30)
                ends.append(time.monotonic() - moments[-1])
                time.sleep(0.3)
            moments.append(time.monotonic())
            several.stop()
            report.judge("drained by SIGTERM with a successor, and all connections live", not several.trouble(), several.trouble() or count)
            report.seconds("stall when the router drains", several.stalls(moments), None, None, 0.1)
            report.tell("of these cut before they were replaced", broken(a, b), "0", not broken(a, b))
            report.seconds("until the draining router had ended", ends)


# --- a crowd over a restart ---


class Crowd:
    """Connections to an echo on one thread: some always have a word under way, the others only when asked."""

    WORD = b"w" * 512

    def __init__(self, port, idle, busy):
        self.selector = selectors.DefaultSelector()
        self.trouble, self.stopped = "", threading.Event()
        self.states = []
        for number in range(idle + busy):
            connection = dial(port, 60)
            speak(connection)
            connection.setblocking(False)
            state = {"connection": connection, "busy": number >= idle, "due": 0, "answered": time.monotonic()}
            self.states.append(state)
            self.selector.register(connection, selectors.EVENT_READ, state)
        self.thread = threading.Thread(target=self.loop)
        self.ask(lambda state: state["busy"])
        self.thread.start()

    def ask(self, whom):
        for state in filter(whom, self.states):
            state["due"] += len(self.WORD)
            state["connection"].send(self.WORD)

    def loop(self):
        while not self.stopped.is_set():
            for key, _ in self.selector.select(0.1):
                state = key.data
                try:
                    data = state["connection"].recv(1 << 16)
                    if not data or len(data) > state["due"]:
                        raise OSError("it ended" if not data else "more than was said")
                except BlockingIOError:
                    continue
                except OSError as error:
                    self.trouble = self.trouble or repr(error)
                    self.selector.unregister(state["connection"])
                    continue
                state["due"] -= len(data)
                if not state["due"]:
                    state["answered"] = time.monotonic()
                    if state["busy"]:
                        time.sleep(0)
                        self.ask(lambda one, this=state: one is this)

    def silent(self, since):
        """Who has not answered after that moment."""
        return [state for state in self.states if state["answered"] < since]

    def stop(self):
        self.stopped.set()
        self.thread.join()
        for state in self.states:
            state["connection"].close()


def crowd(report):
    """1,000 idle and 100 busy connections over one restart."""
    with echoing() as port, place() as (world, router, a, b):
        a.service("echo", f"127.0.0.1:{port}")
        programs = {"router": router, "A": a, "B": b}
        people = Crowd(b.forward("echo"), 1000, 100)
        time.sleep(1)
        before = {name: mib(program) for name, program in programs.items()}
        router.kill()
        eventually(lambda: int(b.values("status")["detached"]) == 1100, 30, "all are detached")
        away = {name: mib(programs[name]) for name in "AB"}
        router = programs["router"] = world.router(listen=router.address)
        begin = time.monotonic()
        people.ask(lambda state: not state["busy"])
        with contextlib.suppress(AssertionError):
            eventually(lambda: people.trouble or not people.silent(begin), 60)
        most = max((state["answered"] for state in people.states), default=begin) - begin
        silent = people.silent(begin)
        back = [state["answered"] - begin for state in people.states if state not in silent]
        after = {name: mib(program) for name, program in programs.items()}
        people.stop()
        eventually(lambda: not a.listing("connections") and not b.listing("connections"), 60)
        rest = {name: mib(program) for name, program in programs.items()}
        report.judge("1,000 idle and 100 busy connections, those that live after a restart", not silent and not people.trouble, people.trouble or 1100 - len(silent))
        if not silent:
            report.at_most("until all had answered again", max(back), 5)
            report.at_most("until half of them had", statistics.median(back))
        for name in programs:
            report.tell(f"RSS of {name} before, away, after, at rest", " ".join(f"{sizes.get(name, 0):.0f}" for sizes in (before, away, after, rest)) + " MiB")
