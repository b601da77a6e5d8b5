"""Everything on this machine: what the programs cost when the network costs nothing."""
import contextlib

from bench import load
from ways import HERE

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
OTHERS = ("rathole", "frp", "frp mux", "chisel", "ssh")
GOALS = (
    ("1 stream / haproxy", "out1", ("haproxy",), "least", 1.15),
    ("reverse / haproxy", "in1", ("haproxy",), "least", 1.15),
    ("8 streams / haproxy", "out8", ("haproxy",), "least", 1.05),
    ("1 stream / the best of rathole, frp, chisel, ssh", "out1", OTHERS, "least", 1.2),
    ("8 streams / the best of rathole, frp, chisel, ssh", "out8", OTHERS, "least", 1.2),
    ("CPU per GB, 1 stream / haproxy", "cpu1", ("haproxy",), "most", 1.0),
    ("CPU per GB, 8 streams / haproxy", "cpu8", ("haproxy",), "most", 1.0),
    ("64 B round trip / haproxy", "ping50", ("haproxy",), "most", 1.15),
    ("time to first byte / frp", "first", ("frp",), "most", 0.6),
    ("connections, 16 clients / haproxy", "rate16", ("haproxy",), "least", 0.95),
    ("connections, 1 client / haproxy", "rate1", ("haproxy",), "least", 0.8),
)
TITLE = (
    "Loopback. Bulk: 64 KiB written at a time, out of 16 MiB of random bytes, 256 KiB of room to read. CPU: seconds that all processes of the way "
    "and the load at both ends used for one GB (1e9 bytes). First byte: a new connection, one byte, until it is back; a connection is that, and its end."
)


def measure(bench):
    table = bench.table("loopback", TITLE, COLUMNS, goals=GOALS)
    seconds, warm_up = bench.choose(1.2, 0.4), bench.choose(0.5, 0.3)
    with contextlib.ExitStack() as stack:
        server, target = stack.enter_context(bench.server(HERE[0]))
        running = []
        for kind in bench.kinds():
            bench.tell(f"loopback: {kind.name}")
            running.append(stack.enter_context(bench.way(kind, HERE, target, table)))
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
