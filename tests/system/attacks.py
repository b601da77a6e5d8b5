"""What comes to where raw streams are taken, and must not get in: thousands of connections, each with bytes that are no fresh
preamble of a watch that is there, or with one to which a byte was done."""
import collections
import dataclasses
import random
import selectors
import socket
import time

from harness import Echo, eventually, exchange, reset
from preambles import FIRST_MAX, HEAD, MAGIC, QUESTION, TAG, Rights, all_of
from traffic import any_size
from wire import LIMIT, Peer, header, new_id

WIDTH, PATIENCE = 200, 20
STRANGERS = 1024  # of whom the router knows nothing yet: how many it has at most


@dataclasses.dataclass
class Attack:
    name: str
    data: bytes
    ends: bool = True  # says its end behind it; else it waits until it is thrown out


class Armoury:
    """Makes them. `rights` are good; `gone` were those of a watch that has ended. `dial` is a first message that would reach a service."""

    def __init__(self, seed, rights, others, gone, dial):
        self.draw, self.rights, self.others, self.gone, self.dial = random.Random(seed), rights, others, gone, dial
        self.used, self.flip = [], 0
        self.kinds = [self.random_bytes, self.random_behind_magic, self.flipped, self.replayed, self.of_another, self.of_one_gone, self.cut, self.numbers, self.behind_greeting]

    def use(self, count):
        """Preambles that were good once."""
        for _ in range(count):
            counter = self.rights.counter()
            self.used.append(self.rights.preamble(QUESTION, counter))
            with socket.create_connection(self.rights.address, PATIENCE) as connection:
                connection.sendall(self.used[-1])
                heard = connection.recv(1 << 12)
                assert self.rights.word(heard, counter), f"a good question was not answered: {heard!r}"

    def next(self):
        kind = self.draw.choice(self.kinds)
        return Attack(kind.__name__.replace("_", " "), kind())

    def plain(self):
        return self.draw.choice((b"", QUESTION, self.dial))

    def random_bytes(self):
        return self.draw.randbytes(any_size(self.draw, 4096))

    def random_behind_magic(self):
        return MAGIC + self.draw.randbytes(any_size(self.draw, 4096))

    def flipped(self):
        """Byte after byte, each in its turn."""
        data = bytearray(self.rights.preamble(self.plain()))
        self.flip += 1
        data[self.flip % len(data)] ^= self.draw.randrange(1, 256)
        return bytes(data)

    def replayed(self):
        return self.draw.choice(self.used)

    def of_another(self):
        """A key that is good, and a watch that is, but not its own."""
        return self.rights.preamble(self.plain(), watch=self.others.watch)

    def of_one_gone(self):
        return self.gone.preamble(self.plain())

    def cut(self):
        data = self.rights.preamble(self.plain())
        return data[: self.draw.randrange(len(data))]

    def numbers(self):
        """Sealed well, behind numbers that are not allowed: no counter, sizes that cannot be."""
        if self.draw.random() < 0.5:
            return self.rights.preamble(self.plain(), counter=0)
        size = self.draw.choice((0, TAG - 1, FIRST_MAX + TAG + 1, 0xFFFF))
        return HEAD.pack(MAGIC, size, self.rights.watch, self.rights.counter()) + self.draw.randbytes(min(size, 2000))

    def behind_greeting(self):
        """A connection that is welcome, and says what is not."""
        others = (self.random_behind_magic, self.flipped, self.replayed, self.of_another, self.of_one_gone, self.numbers)
        return self.rights.preamble(b"") + self.draw.choice(others)()


class Siege:
    """Sends them, WIDTH at a time, and counts how each ended."""

    def __init__(self, address):
        self.address, self.selector, self.open = address, selectors.DefaultSelector(), {}
        self.counts, self.breaches, self.late = collections.Counter(), [], []

    def send(self, attacks, watch=lambda: None):
        """`watch` is called now and then."""
        for attack in attacks:
            while len(self.open) >= WIDTH:
                self.look()
            self.begin(attack)
            if sum(self.counts.values()) % 500 == 0:
                watch()
        while self.open:
            self.look()
        watch()
        assert not self.breaches, self.breaches[:10]
        assert not self.late, f"{len(self.late)} of {sum(self.counts.values())} were not thrown out within {PATIENCE} s: {self.late[:10]}"

    def begin(self, attack):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(self.address)
        self.open[connection] = (attack, time.monotonic() + PATIENCE)
        self.selector.register(connection, selectors.EVENT_WRITE)

    def look(self):
        for key, events in self.selector.select(0.5):
            connection = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    connection.send(self.open[connection][0].data)
                    if self.open[connection][0].ends:
                        connection.shutdown(socket.SHUT_WR)
                    self.selector.modify(connection, selectors.EVENT_READ)
                else:
                    self.hears(connection, connection.recv(1 << 12))
            except BlockingIOError:
                continue
            except OSError:
                self.over(connection)
        now = time.monotonic()
        for connection in [each for each, (_, end) in self.open.items() if now > end]:
            self.late.append(self.open[connection][0].name)
            self.over(connection)

    def hears(self, connection, data):
        """gRPC says something to everybody who does not begin as a raw stream does; the router nothing at all."""
        attack = self.open[connection][0]
        if not data:
            self.over(connection)
        elif attack.data.startswith(MAGIC):
            self.breaches.append((attack.name, attack.data.hex(), data.hex()))
            self.over(connection)

    def over(self, connection):
        self.selector.unregister(connection)
        self.counts[self.open.pop(connection)[0].name] += 1
        reset(connection)


class Place:
    """A service that works, and three who watch: one with the rights that are misused, another, and one that is gone."""

    def __init__(self, world, router, a, b, seed):
        self.router, self.target = router, world.target(Echo)
        a.service("web", self.target.address)
        self.port = b.forward("web")
        peers = [world.target(Peer, router.address) for _ in range(3)]
        self.rights, self.others, self.gone = (Rights(peer.watch.first(), router.address) for peer in peers)
        assert all(rights.asks() for rights in (self.rights, self.others, self.gone))
        peers[2].close()
        eventually(lambda: not self.gone.asks(), what="the rights of a watch end with it")
        dial = header(service="web", connection=new_id(), limit=LIMIT, **peers[0].member.fields).SerializeToString()
        self.armoury = Armoury(seed, self.rights, self.others, self.gone, dial)
        self.armoury.use(50)
        self.worked = 0
        self.works()
        self.memory = router.rss()
        self.before = self.most = router.descriptors()

    def works(self):
        assert self.rights.asks() and exchange(self.port, b"hello") == b"hello"
        self.worked += 1
        assert self.target.accepted == self.worked, "somebody else reached the service"

    def look(self):
        self.most = max(self.most, self.router.descriptors())

    def besiege(self, count):
        """How many there were of each kind."""
        siege = Siege(self.rights.address)
        siege.send((self.armoury.next() for _ in range(count)), self.look)
        return siege.counts

    def crowd(self, more):
        """Those who say half of it, more than the router has patience for. Whoever knows what to say is answered meanwhile."""
        half, strangers = self.rights.preamble(QUESTION)[:40], []
        for number in range(STRANGERS + more):
            strangers.append(socket.create_connection(self.rights.address, PATIENCE))
            strangers[-1].sendall((b"", MAGIC[:3], half[:31], half)[number % 4])
            if number % 200 == 0:
                self.works()
                self.look()
        self.works()
        self.look()
        heard = [all_of(stranger) for stranger in strangers]
        for stranger in strangers:
            reset(stranger)
        assert not any(heard), "a stranger was answered"

    def is_as_before(self):
        """But for raw streams that are parked and warm, which come and go by themselves."""
        assert self.most <= self.before + STRANGERS + 64, f"{self.most} descriptors, {self.before} before"
        eventually(lambda: self.router.descriptors() <= self.before + 16, what="the strangers are gone")
        self.works()
