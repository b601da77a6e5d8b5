"""S - R - F over two links with a rate and a delay (tests/netlab): does one connection fill them, how long is a keystroke under
way, and how long when others fill them? A measure begins when the links are quiet again after the one before."""
import contextlib
import dataclasses
import pathlib
import sys
import time

from bench import Load, Trouble, load
from goals import Goal, no_worse
from ways import Socat

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netlab"))

from netlab import Lab, Link

LINKS = {
    "long-100": Link(100e6, 0.020),
    "long-500": Link(500e6, 0.050),
    "long-10": Link(10e6, 0.040),
    "long-lossy": Link(100e6, 0.020, loss=0.01),
    "long-lossy-reno": Link(100e6, 0.020, loss=0.01),
}
CONGESTION = {"long-lossy-reno": "reno"}  # takes each loss for congestion, as most machines' TCP does; else the kernel's default
COLUMNS = (
    ("out1", "1 stream", "Mbit/s"),
    ("in1", "reverse", "Mbit/s"),
    ("out8", "8 streams", "Mbit/s"),
    ("key50", "64 B p50", "ms", "less"),
    ("key99", "64 B p99", "ms", "less"),
    ("busy50", "under bulk p50", "ms", "less"),
    ("busy99", "under bulk p99", "ms", "less"),
    ("busy", "that bulk", "Mbit/s"),
)
KEY_INTERVAL = 0.02


@dataclasses.dataclass(frozen=True)
class Times:
    """In seconds. A stream needs a while to find out what a long link carries."""

    warm_up: float
    bulk: float
    keys: float


KEYSTROKE = {"long-100": 1.1, "long-500": 1.15}  # of what it takes on an idle link, while four streams fill it


def goals(name, link):
    under = "64 B under bulk / idle"
    if name == "long-lossy":
        return (Goal("that bulk / no tunnel", ("busy",), least=0.97, over=("no tunnel",)), Goal(under, ("busy50",), most=1.2, column="key50"))
    if link.loss:
        return (Goal("1 stream / no tunnel", ("out1",), least=1.2, over=("no tunnel",)),)
    carries = link.carries() * 8 / 1e6
    streams = (("1 stream", "out1"), ("reverse", "in1"), ("8 streams", "out8"))
    return (
        *(Goal(f"{words} / what the link can carry", (key,), least=0.98, value=carries) for words, key in streams),
        *(Goal(under, ("busy50",), most=most, column="key50") for most in filter(None, [KEYSTROKE.get(name)])),
        Goal("that bulk / what the link can carry", ("busy",), least=0.95, value=carries),
    )


def title(link, congestion):
    loss = f", {link.loss:.0%} of the packets lost each way" if link.loss else ""
    return (
        f"Two links of {link.rate / 1e6:.0f} Mbit/s and {link.rtt * 1e3:.0f} ms there and back each{loss}; packets of {link.mtu} bytes, a queue of "
        f"{link.queue_bytes() / 1e3:.0f} KB{f'; TCP {congestion}' if congestion else ''}; {link.carries() * 8 / 1e6:.1f} Mbit/s can be carried. "
        f"Under bulk: while four streams run the same way."
    )


def quiet(lab):
    """Until nothing to speak of passes any more."""

    def passed():
        return sum(direction["packets"] for relay in (lab.sr, lab.rf) for direction in relay.counts())

    end, before = time.monotonic() + 120, passed()
    while time.sleep(0.25) or (after := passed()) - before >= 50:
        before = after
        if time.monotonic() > end:
            raise Trouble("what was sent does not come to an end")


def keys(one, seconds):
    """Milliseconds, p50 and p99."""
    _, middle, late = load(one.f, "ping", one.entry, seconds, KEY_INTERVAL)[0]
    return middle / 1e3, late / 1e3


def under_bulk(one, server, times):
    with Load(one.f, "flood", one.entry, "sink", 4) as client:
        client.line()
        time.sleep(times.warm_up)
        before, _, start = server.mark()
        middle, late = keys(one, times.keys)
        after, _, end = server.mark()
    return {"busy50": middle, "busy99": late, "busy": (after - before) * 8 / (end - start) / 1e6}


def measure_link(bench, name, link, within):
    congestion = CONGESTION.get(name)
    settings = {"ipv4/tcp_congestion_control": congestion} if congestion else {}
    table = bench.table(name, title(link, congestion), COLUMNS, goals=(*goals(name, link), no_worse(COLUMNS)))
    times = bench.choose(Times(max(1, 40 * link.rtt), 2, 1.5), Times(1, 0.8, 0.8))
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(link, link, settings=settings))
        server, target = stack.enter_context(bench.server(lab.s))
        running = []
        for kind in bench.kinds():
            if kind is Socat:
                continue  # as haproxy: a TCP connection on each link
            bench.tell(f"{name}: {kind.name}")
            running.append(stack.enter_context(bench.way(kind, lab.hosts, target, table)))

        def bulk(one, way, streams, key):
            quiet(lab)
            rate, _ = bench.bulk(one, server, way, streams, times.bulk, times.warm_up)
            return {key: rate * 8 / 1e6}

        def idle(one):
            quiet(lab)
            return dict(zip(("key50", "key99"), keys(one, times.keys)))

        def busy(one):
            quiet(lab)
            return under_bulk(one, server, times)

        measures = (
            ("1 stream", lambda one: bulk(one, "sink", 1, "out1")),
            ("1 stream, reverse", lambda one: bulk(one, "source", 1, "in1")),
            ("8 streams", lambda one: bulk(one, "sink", 8, "out8")),
            ("64 bytes there and back", idle),
            ("64 bytes there and back under bulk", busy),
        )
        bench.in_turn(list(filter(None, running)), bench.rounds(5, 1), measures, table, within)


def measure(bench):
    links = list(LINKS.items())[: 1 if bench.quick else None]
    for number, (name, link) in enumerate(links):
        measure_link(bench, name, link, bench.left() / (len(links) - number))


def measure_one(bench, name):
    measure_link(bench, name, LINKS[name], bench.left())
