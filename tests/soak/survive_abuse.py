"""Peers that do not keep to it, in their thousands: by hand, over the wire."""
import contextlib
import resource
import threading
import time

from stage import mib, place, speak, works
from harness import dial, eventually
from soak import echoing
from traffic import Conversation, Meeting, together


class Most:
    """The most that was seen of a daemon meanwhile."""

    def __init__(self, mount):
        self.mount, self.seen, self.over = mount, {}, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def now(self):
        return {"detached": int(self.mount.values("status")["detached"]), "descriptors": self.mount.descriptors(), "MiB": mib(self.mount)}

    def look(self):
        while not self.over.wait(0.05):
            self.seen = {name: max(value, self.seen.get(name, 0)) for name, value in self.now().items()}

    def __enter__(self):
        self.before = self.now()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


# As carry/tunnel/detached.h has them.
PER_PEER, HELD_MIB = 2048, 256


def flood(report):
    """Dials that are dropped at once, in their thousands, of one peer: what S holds for it is bounded."""
    from wire import Peer, new_id

    workers = 4
    with echoing() as port:
        for count, size in ((6000, 100), (2000, 256 << 10)):
            with place() as (world, router, a, b):
                a.service("echo", f"127.0.0.1:{port}")
                calm = dial(b.forward("echo"), 60)
                speak(calm)
                limit, done = resource.prlimit(a.pid, resource.RLIMIT_NOFILE)[0], []
                peer = world.target(Peer, router.address)

                def dial_and_drop(number):
                    for _ in range(number, count, workers):
                        raw = peer.dial("echo", new_id())
                        raw.say(data_of(size))
                        with contextlib.suppress(AssertionError):
                            eventually(lambda: raw.heard or raw.call.done(), 20)
                        done.append(bool(raw.heard))
                        raw.close()

                begin = time.monotonic()
                with Most(a) as most:
                    together(*(lambda n=number: dial_and_drop(n) for number in range(workers)), timeout=600)
                words = f"{count} dials with {size >> 10} KiB that are dropped"
                report.tell(words, f"in {time.monotonic() - begin:.0f} s, {sum(done)} answered")
                report.judge(f"{words}: a bystander's connection lives", works(calm))
                report.judge(f"{words}: new connections are served", works(dial(b.ports("echo")[0], 60)))
                for name, goal in (("detached", PER_PEER), ("descriptors", min(limit, PER_PEER + 200)), ("MiB", most.before["MiB"] + HELD_MIB + 128)):
                    report.judge(f"{words}: {name}", most.seen[name] <= goal, f"{most.before[name]:.0f}, most {most.seen[name]:.0f} of {goal:.0f}")
                calm.close()


def data_of(size):
    import mindmeld_pb2 as pb

    return pb.Payload(data=bytes(size))


def attacks(report):
    """Attempts to take part in somebody's connection, in their thousands, beside that connection."""
    import mindmeld_pb2 as pb
    from test_survival import ATTACKS
    from wire import Peer, new_id

    count, workers = 6000, 6
    kinds = [name for name in ATTACKS if name != "an unknown process"]
    with echoing() as port, place() as (world, router, a, b):
        target = world.target(Meeting)
        a.service("web", f"127.0.0.1:{port}")
        a.service("bulk", target.address)
        owner, connection = world.target(Peer, router.address), new_id()
        live = owner.dial("web", connection, epoch=7)
        assert live.answers(b"alive")
        victim = type("Victim", (), {"owner": owner, "connection": connection, "service": live.first().header.member})
        accepted, disturbed, answers = [], [], {}

        def attack(number):
            stranger = world.target(Peer, router.address)
            for index in range(number, count, workers):
                kind = kinds[index % len(kinds)]
                raw = ATTACKS[kind](victim, stranger)
                raw.say(pb.Payload(data=b"intruder"))
                with contextlib.suppress(AssertionError):
                    eventually(lambda: raw.said("refused") or raw.said("reset") or raw.call.done(), 30)
                how = "refused" if raw.said("refused") else "reset" if raw.said("reset") else raw.call.code().name if raw.call.done() else "nothing"
                answers.setdefault(kind, {}).setdefault(how, []).append(index)
                if raw.data() or raw.said("header") or how == "nothing":
                    accepted.append(kind)
                raw.close()
                if index % 50 == 0:
                    with lock:
                        try:
                            live.answers(b"%08d" % index)
                        except AssertionError:
                            disturbed.append(kind)

        lock = threading.Lock()
        with Conversation("bystander", *target.ends(b.forward("bulk"), 60)) as talk:
            together(*(lambda n=number: attack(n) for number in range(workers)), timeout=900)
            talk.goes_on()
        for kind, found in answers.items():
            print(f"    {kind}: {', '.join(f'{how} {len(which)}' for how, which in found.items())}", flush=True)
        report.judge("attacks", True, sum(len(which) for found in answers.values() for which in found.values()))
        report.judge("attacks that were accepted", not accepted, len(accepted))
        report.judge("live connections that were disturbed", not disturbed and live.answers(b"at last"), len(disturbed))
        live.close()
