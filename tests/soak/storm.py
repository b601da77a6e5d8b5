"""Random applications and targets, one connection after the other, while the router is killed and drained, machines stand still,
connections are cut, forwards and services go and come: `MM_SECONDS=600 MM_SEED=7 soak.py storm`. Each connection is judged by what
its two ends did and saw: bytes, ends, resets. Afterwards nothing may be left of them."""
import asyncio
import collections
import contextlib
import errno
import os
import random
import signal
import socket
import struct
import time

from harness import eventually, reset
from stage import SEED, drained
from traffic import any_size, part

# Not for 10 minutes: when both have ended, the news of it may be lost on its way to the service's side alone, and the other side is
# done. That one cannot know, and waits.
OPTIONS = "hold=60"
SECONDS, AT_ONCE = float(os.environ.get("MM_SECONDS", "300")), 60
SIZES = (0, 0, 1, 1, 64, 2048, 2049, 16384, 70000, 300000, 1 << 20, 3 << 20)
# What the application does, and what the target does.
NEAR = ("both",) * 6 + ("speaks first", "leaves at once", "resets", "waits for the end", "stalls")
FAR = ("both",) * 6 + ("hears first", "resets", "resets at once", "answers and ends", "stalls")
# Who dials and is not answered in time, or finds the service gone when it dials again, gives up; the target may have been reached.
UNANSWERED = ("no answer in", "no router for", "does not exist", "is gone")
BROKEN = (errno.ECONNRESET, errno.EPIPE)
PAUSES = (0, 0.002, 0.05)
DEAF, LATE = 150, 75  # seconds: an end that hears nothing more has lost its connection; the other end is over soon after, or in a minute


class Plan:
    def __init__(self, number):
        draw = random.Random(f"{SEED} {number}")
        self.near, self.far, self.way = draw.choice(NEAR), draw.choice(FAR), draw.choice(("v4", "v6", "name", "unix"))
        self.up, self.down = draw.choice(SIZES), draw.choice(SIZES)
        self.up_at, self.down_at = draw.randrange(1 << 24), draw.randrange(1 << 24)
        if self.far in ("answers and ends", "stalls", "resets"):  # both speak before they hear: it must fit on the way
            self.up = min(self.up, 16384)


class End:
    """One end of a connection: what it does, what it saw."""

    def __init__(self, connection, draw):
        self.connection, self.draw, self.loop, self.peer, self.port = connection, draw, asyncio.get_running_loop(), None, None
        self.heard, self.saw, self.why, self.broken, self.resets, self.over = 0, None, None, False, False, False

    async def say(self, at, size, end=True):
        said = 0
        try:
            while said < size:
                piece = min(any_size(self.draw, 1 << 20), size - said)
                await self.loop.sock_sendall(self.connection, part(at + said, piece))
                said += piece
                await asyncio.sleep(self.draw.choice(PAUSES) if self.draw.random() < 0.05 else 0)
            if end:
                self.connection.shutdown(socket.SHUT_WR)
        except OSError as trouble:
            self.broken |= trouble.errno in BROKEN

    async def hear(self, at, size):
        try:
            while data := await asyncio.wait_for(self.loop.sock_recv(self.connection, any_size(self.draw, 1 << 18)), DEAF):
                if data != part(at + self.heard, len(data)) or self.heard + len(data) > size:
                    self.saw = f"wrong bytes at {self.heard}"
                    return
                self.heard += len(data)
            self.saw = "end"
        except asyncio.TimeoutError:
            self.saw = "silence"
        except OSError as trouble:
            self.saw = "reset"
            self.broken |= trouble.errno in BROKEN

    def reset(self):
        self.resets = True
        reset(self.connection)

    def close(self):
        if self.connection.fileno() >= 0:
            self.connection.close()
        self.over = True


class Storm:
    def __init__(self, world, router, a, b):
        self.world, self.router, self.a, self.b = world, router, a, b
        self.draw, self.until = random.Random(f"{SEED} storm"), time.monotonic() + SECONDS
        self.number, self.plans, self.far = 0, {}, {}
        self.cut, self.gone, self.troubles, self.counts = [], [], [], collections.Counter()

    # --- what stands between them ---

    def prepare(self):
        four, six = socket.create_server(("127.0.0.1", 0), backlog=4096), socket.create_server(("::1", 0), family=socket.AF_INET6, backlog=4096)
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(self.world.directory / "target"))
        unix.listen(4096)
        self.listeners = (four, six, unix)
        port = four.getsockname()[1]
        self.targets = {"v4": f"127.0.0.1:{port}", "v6": f"[::1]:{six.getsockname()[1]}", "name": f"localhost:{port}", "unix": f"unix:{self.world.directory}/target"}
        self.listen = {"v4": "0", "v6": "[::1]:0", "name": "0", "unix": f"unix:{self.world.directory}/listener"}
        for way, target in self.targets.items():
            self.a.service(way, target)
            self.b.forward(way, self.listen[way]) if way != "unix" else self.forward_anew("unix")

    def forward_anew(self, way):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.b / f"forwards/{way}")
        eventually(lambda: self.b.write(f"forwards/{way}", self.listen[way] + "\n") is None, 60, f"forwards/{way} is there")

    def service_anew(self, way):
        with contextlib.suppress(OSError):
            os.rmdir(self.a / f"services/{way}")
        time.sleep(self.draw.choice((0, 0.01, 0.3)))
        # Only one's own has it. A name that the router is not known to have let go of is refused for a while.
        eventually(lambda: os.path.exists(self.a / f"services/{way}/target") or os.mkdir(self.a / f"services/{way}"), 60, f"services/{way} is declared")
        with contextlib.suppress(OSError):
            self.a.write(f"services/{way}/target", self.targets[way] + "\n")
        return 5

    def kill(self):
        self.router.kill()
        time.sleep(self.draw.choice((0, 0.1, 0.5, 2, 4)))
        self.router = self.world.router(listen=self.router.address)
        return 15

    def drain(self):
        self.router = drained(self.world, self.router)
        return 15

    def freeze(self):
        program = self.draw.choice((self.a, self.b, self.router))
        program.process.send_signal(signal.SIGSTOP)
        time.sleep(self.draw.choice((0.01, 0.1, 1, 3, 7)))
        program.process.send_signal(signal.SIGCONT)
        return 15

    def cut_some(self):
        for name in self.draw.sample(names := self.b.listing("connections"), min(3, len(names))):
            with contextlib.suppress(OSError, KeyError):
                peer = self.b.values(f"connections/{name}")["peer"]
                if not peer.startswith("unix:"):  # all of those look alike
                    self.cut.append((peer, time.monotonic()))
                    os.unlink(self.b / f"connections/{name}")

    async def rage(self):
        works = (self.kill, self.kill, self.drain, self.freeze, self.freeze, self.cut_some, self.cut_some,
                 lambda: self.service_anew(self.draw.choice(tuple(self.targets))), lambda: self.forward_anew(self.draw.choice(tuple(self.targets))))
        while time.monotonic() < self.until - 5:
            await asyncio.sleep(self.draw.expovariate(1 / 0.7))
            fault = [time.monotonic(), float("inf")]
            self.gone.append(fault)
            fault[1] = time.monotonic() + (await asyncio.to_thread(self.draw.choice(works)) or 0)

    # --- the two ends ---

    async def accept(self, listener):
        listener.setblocking(False)
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            connection.setblocking(False)
            task = asyncio.ensure_future(self.serve(connection))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def serve(self, connection):
        said = b""
        with contextlib.suppress(OSError):
            while len(said) < 8 and (more := await asyncio.get_running_loop().sock_recv(connection, 8 - len(said))):
                said += more
        if len(said) < 8:
            connection.close()
            return
        number = struct.unpack("<Q", said)[0]
        plan, end = self.plans[number], End(connection, random.Random(f"{SEED} {number} far"))
        if number in self.far:
            self.troubles.append(f"{number} arrived twice")
        self.far[number] = end
        await self.play(end, plan.far, (plan.down_at, plan.down), (plan.up_at, plan.up))

    async def play(self, end, what, says, hears):
        try:
            if what == "resets at once":
                end.reset()
            elif what == "resets":
                await end.say(says[0], says[1] // 2, end=False)
                end.reset()
            elif what in ("speaks first", "answers and ends", "stalls"):
                await end.say(*says)
                await asyncio.sleep(end.draw.uniform(0, 2) if what == "stalls" else 0)
                await end.hear(*hears)
            elif what == "hears first":
                await end.hear(*hears)
                await end.say(*says)
            else:
                await asyncio.gather(end.say(*says), end.hear(*hears))
        finally:
            end.close()

    async def connect(self, plan):
        for _ in range(1200):
            connection = socket.socket({"unix": socket.AF_UNIX, "v6": socket.AF_INET6}.get(plan.way, socket.AF_INET))
            connection.setblocking(False)
            try:
                where = str(self.world.directory / "listener") if plan.way == "unix" else ("::1" if plan.way == "v6" else "127.0.0.1", self.b.ports(plan.way)[0])
                await asyncio.get_running_loop().sock_connect(connection, where)
                return connection
            except (OSError, IndexError):
                connection.close()
                await asyncio.sleep(0.05)
        raise AssertionError(f"forwards/{plan.way} takes no connections")

    async def one(self, number):
        plan = self.plans[number] = Plan(number)
        begin, connection = time.monotonic(), await self.connect(plan)
        peer = None
        if plan.way != "unix":
            host, port = connection.getsockname()[:2]
            peer = f"[{host}]:{port}" if plan.way == "v6" else f"{host}:{port}"
        end = End(connection, random.Random(f"{SEED} {number} near"))
        end.peer = peer
        with contextlib.suppress(OSError):  # it may be broken already
            end.port = connection.getpeername()[1] if peer else None
        if plan.near == "leaves at once":
            end.draw.choice((end.reset, end.close))()
            return
        try:
            await end.loop.sock_sendall(connection, struct.pack("<Q", number))
        except OSError:
            end.saw, end.broken = "reset", True
        waits = plan.near == "waits for the end" and plan.far in ("both", "stalls", "answers and ends")
        if end.saw is None and waits:
            await asyncio.gather(end.say(plan.up_at, plan.up, end=False), end.hear(plan.down_at, plan.down))
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            end.close()
        elif end.saw is None:
            await self.play(end, plan.near, (plan.up_at, plan.up), (plan.down_at, plan.down))
        end.why = await asyncio.to_thread(self.reason, peer) if end.saw == "reset" and peer and not plan.far.startswith("resets") else None
        last = time.monotonic() + LATE
        while number in self.far and not self.far[number].over and time.monotonic() < last:
            await asyncio.sleep(0.02)
        trouble = self.judge(number, plan, end, self.far.get(number), begin)
        if trouble:
            self.troubles.append(f"{number}: {vars(plan)}: {trouble}; from {end.peer} to {end.port}; B said: {end.why}; A said lately: {await asyncio.to_thread(lambda: self.a.errors()[-3:])}")
            print(self.troubles[-1], flush=True)

    def reason(self, peer):
        """What B says of a connection that broke."""
        said = [line for line in self.b.errors() if f" from {peer} " in line]
        return said[-1] if said else None

    def judge(self, number, plan, near, far, begin):
        """What is not as it should be, or None."""
        for end in filter(None, (near, far)):
            if end.saw in ("silence",) or str(end.saw).startswith("wrong"):
                return end.saw
        if far is not None and not far.over:
            return f"the target is not told, {LATE} s after the application saw: {near.saw}"
        self.counts["judged"] += 1
        if any(peer == near.peer and begin <= at for peer, at in self.cut) or near.resets and far is None:
            return None
        disturbed = any(a <= time.monotonic() and begin <= b for a, b in self.gone)
        unanswered = near.why and any(word in near.why for word in UNANSWERED) or plan.way == "unix"
        if disturbed and unanswered and near.heard == 0 and not near.resets:
            self.counts["unanswered"] += 1
            return None
        if far is None:
            return None if disturbed and (near.broken or plan.way == "unix") else f"did not arrive; the application saw: {near.saw}"
        if plan.way == "unix" and (near.resets or far.resets):  # such a socket knows no reset
            return None
        for end, other, size in ((near, far, plan.down), (far, near, plan.up)):
            if other.resets and not end.resets and not end.broken:
                return f"a reset was not seen: {end.heard} bytes, then {end.saw}"
            if not other.resets and not end.resets and (end.saw, end.heard) != ("end", size):
                return f"{end.heard} of {size} bytes, then {end.saw}"
        return None

    async def work(self):
        while time.monotonic() < self.until and len(self.troubles) < 10:
            self.number += 1
            await self.one(self.number)

    async def run(self):
        self.tasks = {asyncio.ensure_future(self.accept(listener)) for listener in self.listeners}
        rage = asyncio.ensure_future(self.rage())
        await asyncio.gather(*(self.work() for _ in range(AT_ONCE)))
        self.until = 0
        await rage
        for task in tuple(self.tasks):
            task.cancel()


def storm(world, router, a, b):
    storm = Storm(world, router, a, b)
    storm.prepare()
    before = a.descriptors(), b.descriptors()
    asyncio.run(storm.run())
    assert not storm.troubles, f"seed {SEED}"
    with contextlib.suppress(AssertionError):
        eventually(lambda: not a.connections() and not b.connections(), 90)
    assert not a.connections() + b.connections(), (a.connections(), b.connections())
    eventually(lambda: a.descriptors() <= before[0] + 2 and b.descriptors() <= before[1] + 2, 30, "descriptors as before")
    print(f"seed {SEED}: {storm.counts['judged']} connections judged ({storm.counts['unanswered']} of those under faults may not have been answered); RSS {a.rss() >> 20} and {b.rss() >> 20} MiB")
