"""Peers that do not keep to it, in their thousands: by hand, over the wire."""
import contextlib
import resource
import threading
import time

from stage import mib, place, speak, works
from harness import dial, eventually
from soak import echoing
from traffic import Conversation, Meeting, together


def flood(report):
    """Dials that are dropped at once, in their thousands: what S holds for them is bounded."""
    from wire import Peer, new_id

    count, workers = 6000, 6
    with echoing() as port, place() as (world, router, a, b):
        a.service("echo", f"127.0.0.1:{port}")
        calm = dial(b.forward("echo"), 60)
        speak(calm)
        limit = resource.prlimit(a.pid, resource.RLIMIT_NOFILE)[0]
        before, most = (mib(a), a.descriptors()), {"detached": 0, "live": 0, "descriptors": 0, "MiB": 0.0}
        done, stopped = [], threading.Event()

        def look():
            while not stopped.is_set():
                values = a.values("status")
                for name, value in (("detached", int(values["detached"])), ("live", int(values["live"])), ("descriptors", a.descriptors()), ("MiB", mib(a))):
                    most[name] = max(most[name], value)
                time.sleep(0.05)

        def dial_and_drop(number):
            peer = world.target(Peer, router.address)
            for index in range(number, count, workers):
                raw = peer.dial("echo", new_id())
                raw.say(data_of(1 << 16))
                with contextlib.suppress(AssertionError):
                    eventually(lambda: raw.heard or raw.call.done(), 20)
                done.append(bool(raw.heard))
                raw.close()

        watcher = threading.Thread(target=look)
        watcher.start()
        begin = time.monotonic()
        try:
            together(*(lambda n=number: dial_and_drop(n) for number in range(workers)), timeout=600)
        finally:
            stopped.set()
            watcher.join()
        report.tell("dials that were dropped at once", f"{len(done)} in {time.monotonic() - begin:.0f} s, {sum(done)} answered")
        report.judge("a bystander's connection lives", works(calm))
        report.judge("new connections are served", works(dial(b.ports("echo")[0])))
        report.judge("descriptors of S stay under its limit", most["descriptors"] < limit, f"{before[1]}, most {most['descriptors']} of {limit}")
        report.judge("detached connections of S are bounded", most["detached"] < count, f"most {most['detached']} of {count}")
        report.judge("S does not grow without bound", most["MiB"] - before[0] < 128, f"{before[0]:.0f}, most {most['MiB']:.0f} MiB")


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
