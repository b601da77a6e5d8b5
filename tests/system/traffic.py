"""Random traffic, all of it from a seed, so that what failed can be had again: pieces of any size, pauses, ends at any
point. What is heard is compared byte by byte with what was said; for that, everybody says parts of one known blob."""
import itertools
import random
import socket
import struct
import threading
import time

from harness import PATIENCE, Server, dial, eventually

# Longer than what can be under way, so that what is lost or twice is seen.
BLOB = random.Random(0).randbytes((64 << 20) + 4099)


def part(at, size):
    """So many bytes of the blob, which goes round."""
    at %= len(BLOB)
    data = BLOB[at : at + size]
    return data if len(data) == size else data + part(0, size - len(data))


def any_size(source, most):
    """1 to `most`, each order of magnitude as likely as another."""
    return min(int(2 ** source.uniform(0, most.bit_length())), most)


class Flow:
    """One direction of one connection: so many bytes from somewhere in the blob."""

    def __init__(self, seed, size, piece=1 << 20, pauses=True):
        self.seed, self.size, self.piece, self.pauses = seed, size, piece, pauses
        self.start = random.Random(f"{seed} start").randrange(len(BLOB))
        self.said = self.heard = 0

    def pause(self, source):
        if self.pauses and source.random() < 1 / 20:
            time.sleep(source.choice([0, 0.001, 0.02]))

    def say(self, connection, end=True):
        source = random.Random(f"{self.seed} says")
        while self.said < self.size:
            data = part(self.start + self.said, min(any_size(source, self.piece), self.size - self.said))
            connection.sendall(data)
            self.said += len(data)
            self.pause(source)
        if end:
            connection.shutdown(socket.SHUT_WR)

    def hear(self, connection, end=True):
        source = random.Random(f"{self.seed} hears")
        while self.heard < self.size or end:
            if not self.take(connection, any_size(source, self.piece)):
                break
            self.pause(source)
        assert self.heard == self.size, f"{self}: it ended there"

    def take(self, connection, most=1 << 16):
        """What comes next; how much that was."""
        data = connection.recv(most)
        self.check(data)
        self.heard += len(data)
        return len(data)

    def check(self, data):
        expected = part(self.start + self.heard, len(data))
        if data != expected:
            at = self.heard + next(i for i, pair in enumerate(zip(data, expected)) if pair[0] != pair[1])
            raise AssertionError(f"{self}: byte {at} is not what was said")
        assert self.heard + len(data) <= self.size, f"{self}: more came than was said"

    def __str__(self):
        return f"seed {self.seed}: {self.heard} of {self.size} bytes heard, {self.said} said"


def together(*works, timeout=90):
    """Calls all at once, each on a thread of its own; fails with what failed in them."""
    troubles = []

    def guarded(work):
        try:
            work()
        except Exception as trouble:
            troubles.append(f"{type(trouble).__name__}: {trouble}")

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    end = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    assert not troubles, "\n".join(troubles)
    left = sum(thread.is_alive() for thread in threads)
    assert not left, f"{left} of {len(threads)} are not done after {timeout} s"


class Conversation:
    """Both directions of a connection at once, for as long as the test likes; then each ends in order.

        with Conversation("seed", near, far) as talk:
            talk.goes_on()
    """

    MORE = 1 << 20

    def __init__(self, seed, near, far, pauses=True):
        self.flows = [Flow(f"{seed} {way}", 1 << 60, pauses=pauses) for way in ("up", "down")]
        up, down = self.flows
        self.ends, self.troubles = (near, far), []
        works = [(up.say, near), (up.hear, far), (down.say, far), (down.hear, near)]
        self.threads = [threading.Thread(target=self.guarded, args=work, daemon=True) for work in works]

    def guarded(self, work, end):
        try:
            work(end)
        except Exception as trouble:
            self.troubles.append(f"{type(trouble).__name__}: {trouble}")

    def goes_on(self, more=MORE):
        """Waits until so much more was heard in each direction."""
        wanted = [flow.heard + more for flow in self.flows]
        eventually(lambda: self.troubles or all(flow.heard >= size for flow, size in zip(self.flows, wanted)), what="both directions go on")
        assert not self.troubles, self.troubles

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        for flow in self.flows:
            flow.size = flow.said + 4 * flow.piece  # more than who speaks has in hand just now
        for thread in self.threads:
            thread.join(0 if kind else 60)
        alive = any(thread.is_alive() for thread in self.threads)
        for end in self.ends:
            end.close()
        if not kind:
            assert not self.troubles, self.troubles
            assert not alive, [str(flow) for flow in self.flows]


class Meeting(Server):
    """A target at which each connection says first which one it is, so that a test has both ends of it."""

    NUMBER = struct.Struct("<Q")

    def __init__(self, *arguments, **more):
        self.lock, self.count, self.came = threading.Lock(), 0, {}
        super().__init__(*arguments, **more)

    def serve(self, connection):
        self.came[self.NUMBER.unpack(connection.recv(8, socket.MSG_WAITALL))[0]] = connection

    def begin(self, port, timeout=PATIENCE):
        """A new connection: the application's end, and its number."""
        with self.lock:
            number = self.count = self.count + 1
        near = self.closed_at_the_end(dial(port, timeout))
        near.sendall(self.NUMBER.pack(number))
        return near, number

    def ends(self, port, timeout=PATIENCE):
        """A new connection: the application's end, and the target's. Both give up after `timeout`."""
        near, number = self.begin(port, timeout)
        far = eventually(lambda: self.came.get(number), what=f"connection {number} arrives")
        far.settimeout(timeout)
        return near, far

    def forget(self, far):
        far.close()
        with self.lock:
            self.connections = [end for end in self.connections if end.fileno() >= 0]

    def closed_at_the_end(self, near):
        with self.lock:
            self.connections.append(near)
        return near


class Volume:
    """So many bytes in all, over connections of any size, some of them in one direction only or in none, in pieces of any size. Each
    direction ends when it likes. It fails with the seed of what failed."""

    def __init__(self, target, port, seed, total, most, small=1 << 20):
        self.target, self.port, self.seed, self.left, self.most, self.small = target, port, seed, total, most, small
        self.lock, self.numbers, self.connections = threading.Lock(), itertools.count(), 0

    def sizes(self, source):
        """Up and down: rather large parts of what is left, and now and then small ones, or none."""
        with self.lock:
            up, down = (source.choice([0, any_size(source, self.small), *3 * [source.randrange(self.most)]]) for _ in range(2))
            left, self.left = self.left, max(0, self.left - up - down)
            self.connections += left > 0
            return left and (min(up, left), min(down, max(0, left - up)))

    def converse(self, timeout):
        number = next(self.numbers)
        source = random.Random(f"{self.seed} {number}")
        for turn in itertools.count():
            if not (pair := self.sizes(source)):
                return
            up, down = (Flow(f"{self.seed} {number} {turn} {way}", size) for way, size in zip(("up", "down"), pair))
            near, far = self.target.ends(self.port, timeout)
            together(lambda: up.say(near), lambda: up.hear(far), lambda: down.say(far), lambda: down.hear(near), timeout=timeout)
            near.close()
            self.target.forget(far)

    def passes(self, workers, timeout=90):
        together(*[lambda: self.converse(timeout)] * workers, timeout=timeout)
