"""What it costs that connections outlive their streams: mindmeld beside itself, built so that nothing is kept to be sent again.

The option MM_NO_RETENTION of the build makes the other one, which is looked for in MM_UNRETAINED."""
import contextlib
import os
import pathlib

import processes
from bench import load
from goals import Goal
from scale import hold
from ways import HERE, Mindmeld

CONNECTIONS, FIRST = 2000, 64
COLUMNS = (
    ("out1", "1 stream", "MB/s"),
    ("in1", "reverse", "MB/s"),
    ("out8", "8 streams", "MB/s"),
    ("cpu1", "1 stream", "CPU s/GB", "less"),
    ("ping50", "64 B p50", "µs", "less"),
    ("S", "idle, at S", "KiB", "less"),
    ("R", "at R", "KiB", "less"),
    ("F", "at F", "KiB", "less"),
)


class Unretained(Mindmeld):
    name = "without retention"
    build = pathlib.Path(os.environ.get("MM_UNRETAINED", "/nonexistent"))


GOALS = tuple(
    Goal(f"{words} / without retention", (key,), least=0.95, over=(Unretained.name,))
    for words, key in (("1 stream", "out1"), ("reverse", "in1"), ("8 streams", "out8"))
)
TITLE = (
    "Retention: mindmeld as it is, and built so that it keeps nothing of what it has sent, on loopback. Idle: what each program needs for one of "
    f"{CONNECTIONS} connections that do nothing."
)


def idle(one):
    """KiB for each connection; the first few are not counted, as they make what is there once."""
    with hold(one, FIRST, FIRST)[0]:
        before = processes.memory_of(one)
        client, stand, _, _ = hold(one, CONNECTIONS, FIRST)
        with client:
            after = processes.memory_of(one)
    processes.wait_for_quiet(one)
    return {at: (after[at] - before[at]) / stand / 1024 for at in before}


def measure(bench):
    table = bench.table("retention", TITLE, COLUMNS, goals=GOALS)
    seconds = bench.choose(2, 0.5)
    with contextlib.ExitStack() as stack:
        server, target = stack.enter_context(bench.server(HERE[0]))
        running = [stack.enter_context(bench.way(kind, HERE, target, table)) for kind in (Mindmeld, Unretained)]
        running = list(filter(None, running))
        for one in running:
            with bench.noting(one, table):
                for key, value in idle(one).items():
                    table.add(one.name, key, value)

        def bulk(one, way, streams, *keys):
            rate, used = bench.bulk(one, server, way, streams, seconds)
            return dict(zip(keys, (rate / 1e6, used * 1e9)))

        measures = (
            ("1 stream", lambda one: bulk(one, "sink", 1, "out1", "cpu1")),
            ("1 stream, reverse", lambda one: bulk(one, "source", 1, "in1")),
            ("8 streams", lambda one: bulk(one, "sink", 8, "out8")),
            ("64 bytes there and back", lambda one: {"ping50": load(one.f, "ping", one.entry, seconds, 0)[0][1]}),
        )
        bench.in_turn(running, bench.rounds(10, 2), measures, table)
