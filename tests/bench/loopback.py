"""Everything on this machine: what the programs cost when the network costs nothing. TCP's congestion control decides there, since
what paces needs timers: so there is a second table, of a network namespace in which everybody has Reno, which does not pace."""
import contextlib
import pathlib
import sys

from bench import load
from goals import Goal, no_worse
from ways import HERE

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netlab"))

from netlab import Alone

COLUMNS = (
    ("out1", "1 stream", "MB/s"),
    ("in1", "reverse", "MB/s"),
    ("out8", "8 streams", "MB/s"),
    ("cpu1", "1 stream", "CPU s/GB", "less"),
    ("cpu8", "8 streams", "CPU s/GB", "less"),
    ("ping50", "64 B p50", "µs", "less"),
    ("ping99", "64 B p99", "µs", "less"),
    ("first", "first byte", "µs", "less"),
    ("rate1", "1 client", "conn/s"),
    ("rate16", "16 clients", "conn/s"),
)
GOALS = (
    *(Goal(f"{words} / haproxy", (key,), least=least, over=("haproxy",)) for words, key, least in
      (("1 stream", "out1", 1.5), ("reverse", "in1", 1.5), ("8 streams", "out8", 1.4))),
    *(Goal(f"{words} / rathole", (key,), least=1.4, over=("rathole",)) for words, key in (("1 stream", "out1"), ("8 streams", "out8"))),
    *(Goal(f"CPU per GB, {words} / haproxy", (key,), most=most, over=("haproxy",)) for words, key, most in
      (("1 stream", "cpu1", 0.8), ("8 streams", "cpu8", 0.75))),
    *(Goal(f"{words} / {other}", (key,), most=most, over=(other,)) for words, key, other, most in
      (("64 B there and back p50", "ping50", "rathole", 1.05), ("64 B there and back p50", "ping50", "haproxy", 0.85),
       ("first byte", "first", "rathole", 1.0), ("first byte", "first", "haproxy", 0.7))),
    *(Goal(f"connections/s, {words} / {other}", (key,), least=least, over=(other,)) for words, key, other, least in
      (("1 client", "rate1", "rathole", 1.0), ("16 clients", "rate16", "rathole", 0.95),
       ("1 client", "rate1", "haproxy", 1.3), ("16 clients", "rate16", "haproxy", 1.0))),
    no_worse(COLUMNS),
)
GOALS_RENO = (
    *(Goal(f"{words} / haproxy", (key,), least=least, over=("haproxy",)) for words, key, least in
      (("1 stream", "out1", 0.95), ("reverse", "in1", 0.95), ("8 streams", "out8", 1.0))),
    no_worse(COLUMNS),
)
TITLE = (
    "Loopback. Bulk: 64 KiB written at a time, out of 16 MiB of random bytes, 256 KiB of room to read. CPU: seconds that all processes of the way "
    "and the load at both ends used for one GB (1e9 bytes). First byte: a new connection, one byte, until it is back; a connection is that, and its end."
)


TITLE_RENO = "Loopback, everybody on Reno: the same, in a network namespace whose TCP has no other congestion control by itself."


def measure(bench):
    measure_on(bench, HERE, bench.table("loopback", TITLE, COLUMNS, goals=GOALS))


def measure_reno(bench):
    with Alone({"ipv4/tcp_congestion_control": "reno"}) as host:
        measure_on(bench, (host,) * 3, bench.table("reno", TITLE_RENO, COLUMNS, goals=GOALS_RENO))


def measure_on(bench, hosts, table):
    seconds, warm_up = bench.choose(1.2, 0.4), bench.choose(0.5, 0.3)
    with contextlib.ExitStack() as stack:
        server, target = stack.enter_context(bench.server(hosts[0]))
        running = []
        for kind in bench.kinds():
            bench.tell(f"{table.name}: {kind.name}")
            running.append(stack.enter_context(bench.way(kind, hosts, target, table)))
        running = list(filter(None, running))

        def bulk(one, way, streams, *keys):
            rate, used = bench.bulk(one, server, way, streams, seconds, warm_up)
            return dict(zip(keys, (rate / 1e6, used * 1e9)))

        def ping(one):
            _, p50, p99 = load(one.f, "ping", one.entry, seconds, 0)[0]
            return {"ping50": p50, "ping99": p99}

        def first(one):
            return {"first": load(one.f, "first", one.entry, seconds)[0][1]}

        def rate(one, clients, key):
            done, failed = load(one.f, "connect", one.entry, seconds, clients)[0]
            if failed:
                table.notes.append(f"{one.name}: {failed:.0f} connections of {clients} clients failed")
            return {key: done}

        measures = (
            ("1 stream", lambda one: bulk(one, "sink", 1, "out1", "cpu1")),
            ("1 stream, reverse", lambda one: bulk(one, "source", 1, "in1")),
            ("8 streams", lambda one: bulk(one, "sink", 8, "out8", "cpu8")),
            ("64 bytes there and back", ping),
            ("time to the first byte", first),
            ("connections, 1 client", lambda one: rate(one, 1, "rate1")),
            ("connections, 16 clients", lambda one: rate(one, 16, "rate16")),
        )
        bench.in_turn(running, bench.rounds(5, 2), measures, table)
