"""What becomes of memory when receivers stall: bytes go on arriving for connections that nobody reads.

Each round starts every way afresh, lets a few connections come and go, and takes what its processes have by then as the start."""
import time

import processes
from bench import Load, load
from goals import Goal, no_worse
from ways import HERE, Direct

STREAMS, PATIENCE = 40, 12.0
WHERE = (("S", "at S"), ("R", "at R"), ("F", "at F"), ("all", "all"))
COLUMNS = tuple(
    (f"{way}-{at}", f"{word}, {title}", "MiB", "less") for way, word in (("ignore", "down"), ("neglect", "up")) for at, title in WHERE
)
GOALS = (
    Goal(f"{STREAMS} stalled receivers, growth of any process, MiB", tuple(f"{way}-{at}" for way in ("ignore", "neglect") for at, _ in WHERE[:3]), most=32),
    no_worse(COLUMNS),
)
TITLE = (
    f"Memory: by how much each program grows (with its children; MiB of its own pages, without what the kernel holds for it) while {STREAMS} connections "
    "stall. Down: the server sends, and the application at F does not read; up: the other way round. The most that was seen until it stood still."
)


def most_seen(one, settled):
    """Watches until nothing has grown for a while."""
    most, grew, end = {}, time.monotonic(), time.monotonic() + PATIENCE
    while time.monotonic() < min(grew + settled, end):
        for at, size in processes.memory_of(one).items():
            if size > most.get(at, 0) * 1.005:
                grew = time.monotonic()
            most[at] = max(size, most.get(at, 0))
        time.sleep(0.25)
    return most


def growth(one, way, settled):
    load(one.f, "hold", one.entry, STREAMS, STREAMS)
    before = processes.memory_of(one)
    with Load(one.f, "flood", one.entry, way, STREAMS) as client:
        client.line()
        after = most_seen(one, settled)
    grown = {at: (after[at] - before[at]) / 2**20 for at in before}
    return {f"{way}-{at}": size for at, size in {**grown, "all": sum(grown.values())}.items()}


def measure(bench):
    table = bench.table("memory", TITLE, COLUMNS, compare=False, goals=GOALS)
    rounds = bench.rounds(5, 1)
    with bench.server(HERE[0]) as (_, target):
        kinds = [kind for kind in bench.kinds() if kind is not Direct]
        for number in range(rounds):
            for kind in kinds:
                bench.tell(f"memory, round {number + 1} of {rounds}: {kind.name}")
                for way in ("ignore", "neglect"):
                    with bench.way(kind, HERE, target, table) as one:
                        if one:
                            with bench.noting(one, table):
                                for key, value in growth(one, way, bench.choose(2.0, 1.0)).items():
                                    table.add(one.name, key, value)
