"""Many connections, many services, and whether the tree stays quick meanwhile."""
import processes
from bench import Load, load
from goals import OURS, Goal, no_worse
from ways import HERE, Direct, Mindmeld

SERVICES, AT_ONCE, CLIENTS = 1000, 500, 64
COLUMNS = (
    ("S", "idle, at S", "KiB", "less"),
    ("R", "at R", "KiB", "less"),
    ("F", "at F", "KiB", "less"),
    ("all", "all", "KiB", "less"),
    ("held", "idle", "held"),
    ("unheld", "of those", "failed", "less"),
    ("burst", f"{AT_ONCE} at once", "ms", "less"),
    ("unburst", "of those", "failed", "less"),
    ("rate", f"{CLIENTS} clients", "conn/s"),
    ("unrated", "of those", "failed", "less"),
)
TITLE = (
    f"Scale. Idle: what each program needs for one connection that does nothing, with as many as the column tells. At once: until the last of {AT_ONCE} "
    f"connections had its first byte back. mindmeld has {SERVICES} services registered all the time."
)
GOALS = (
    Goal("idle connection, own pages, three processes, KiB", ("all",), most=8),
    Goal(f"{AT_ONCE} at once: failed in any round", ("unburst",), most=0, each=True),
    Goal(f"{CLIENTS} clients: failed in any round", ("unrated",), most=0, each=True),
    no_worse(COLUMNS),
)

TREE_COLUMNS = tuple(
    (key + part, title, f"{part} ms", "less")
    for key, title in (("many", f"{SERVICES} services"), ("busy", "8 bulk streams"), ("both", "both")) for part in ("p50", "p99")
)
TREE_TITLE = (
    f"`ls services`: how long the program takes, in the tree and in a plain folder with as many names: with {SERVICES} services; with one, while eight bulk "
    f"streams run through mindmeld; with {SERVICES} and the streams."
)
TREE_GOALS = tuple(Goal(f"ls services p99, {title}, ms", (f"{key}p99",), most=20) for key, title in
                   (("many", f"{SERVICES} services"), ("busy", "8 bulk streams"), ("both", "both")))


def register(one, count):
    """Half on each mount: what one declares, the other sees."""
    for number in range(count):
        one.programs["SF"[number % 2]].service(f"name-{number}", one.target, state=None)
    for number in range(count):
        one.programs["SF"[number % 2]].awaits(f"name-{number}", "online")
    for at in "SF":
        for number in range(count):
            one.programs[at].sees(f"name-{number}")


def hold(one, count, width):
    """The client, with its connections, and how many stand, failed, and after how long all were there."""
    client = Load(one.f, "hold", one.entry, count, width)
    stand, failed, seconds = map(float, client.line())
    client.line()
    return client, stand, failed, seconds


def crowd(one, bench):
    """Idle connections; the first few are not counted, as they make what is there once."""
    seconds, count = bench.choose(1.5, 0.6), one.crowd
    if bench.quick and one.name != OURS:
        count = min(count, 1000)
    with hold(one, 64, 64)[0]:
        before = processes.memory_of(one)
        client, stand, failed, _ = hold(one, count, 64)
        with client:
            after = processes.memory_of(one)
    if not stand:
        raise AssertionError("no connection stands")
    each = {at: (after[at] - before[at]) / stand / 1024 for at in before}
    processes.wait_for_quiet(one)
    client, _, failed_at_once, burst = hold(one, AT_ONCE, AT_ONCE)
    with client:
        pass
    processes.wait_for_quiet(one)
    rate, failed_small = load(one.f, "connect", one.entry, seconds, CLIENTS)[0]
    return {**each, "all": sum(each.values()), "held": stand, "unheld": failed, "burst": burst * 1e3, "unburst": failed_at_once,
            "rate": rate, "unrated": failed_small}


def list_both(table, one, plain, bench, key):
    seconds = bench.choose(4, 1.5)
    for name, path in ((OURS, one.programs["F"].path / "services"), ("plain folder", plain)):
        _, p50, p99 = load(one.f, "spawn", seconds, 0.005, "ls", path)[0]
        table.add(name, f"{key}p50", p50 / 1e3)
        table.add(name, f"{key}p99", p99 / 1e3)


def tree(table, one, bench):
    """First with one service, then with all of them."""
    plain = bench.directory / f"plain-{bench.started}"
    plain.mkdir()
    (plain / "bench").touch()

    def under_bulk(key):
        with Load(one.f, "flood", one.entry, "sink", 8) as client:
            client.line()
            list_both(table, one, plain, bench, key)

    under_bulk("busy")
    register(one, SERVICES)
    for number in range(SERVICES):
        (plain / f"name-{number}").touch()
    list_both(table, one, plain, bench, "many")
    under_bulk("both")


def measure(bench):
    table = bench.table("scale", TITLE, COLUMNS, compare=False, goals=GOALS)
    listing = bench.table("tree", TREE_TITLE, TREE_COLUMNS, compare=False, goals=TREE_GOALS)
    rounds = bench.rounds(5, 1)
    with bench.server(HERE[0]) as (_, target):
        kinds = [kind for kind in bench.kinds() if kind is not Direct]
        for number in range(rounds):
            for kind in kinds:
                bench.tell(f"scale, round {number + 1} of {rounds}: {kind.name}")
                with bench.way(kind, HERE, target, table) as one:
                    if not one:
                        continue
                    with bench.noting(one, table):
                        if kind is Mindmeld:
                            tree(listing, one, bench)
                        for key, value in crowd(one, bench).items():
                            table.add(one.name, key, value)
