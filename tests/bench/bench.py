"""How fast mindmeld is, and what it costs, beside others that do the same: one table, from rounds in which all take turns.

    bench.py [PART...] [--rounds N] [--ways NAME,...] [--json FILE] [--markdown | --goals] [--into FOLDER]
    bench.py --show FILE... [--markdown | --goals] [--into FOLDER]

A part is a function of a module here. It makes tables with `bench.table()` and fills them; each figure is kept per
round, so that medians and spreads are made when the table is printed. Whatever was started has ended when this ends.
"""
import argparse
import contextlib
import datetime
import functools
import importlib
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import processes
import ways
from report import Column, Table, goals_text, markdown, summary, text

PARTS = {  # by name: the module, its function, and what that is told besides
    "loopback": ("loopback", "measure"),
    "reno": ("loopback", "measure_reno"),
    "memory": ("memory", "measure"),
    "scale": ("scale", "measure"),
    "long": ("long", "measure"),
}
ASKED = {  # only when they are asked for
    "retention": ("retention", "measure"),
    "profile": ("spent", "measure"),
    **{name: ("long", "measure_one", name) for name in ("long-100", "long-500", "long-10", "long-lossy", "long-lossy-reno")},
}
BEGIN, END = "<!-- bench -->", "<!-- end of bench -->"
PLACES = {"README.md": summary, "tests/bench/FIGURES.md": markdown}  # of a checkout, and what is put there
WHOLE = 80 * 60  # seconds that everything together may take
LOAD = ways.BUILD / "tests" / "load"


class Trouble(Exception):
    """A way could not be measured."""


class Load:
    """A word of the load generator that stays until it is closed: see load.c."""

    def __init__(self, host, *words):
        self.process = subprocess.Popen(
            host.command(LOAD, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Trouble(self.process.stderr.read().strip() or "the load generator ended")
        return line.split()

    def mark(self):
        """Bytes received and sent so far, and the clock."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        received, sent, now = self.line()
        return int(received), int(sent), float(now)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def load(host, *words, timeout=90):
    """A word that ends by itself: its lines, as numbers."""
    try:
        done = subprocess.run(
            host.command(LOAD, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise Trouble(f"load {words[0]}: nothing within {timeout} s") from None
    if done.returncode:
        raise Trouble(done.stderr.strip())
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


class Bench:
    def __init__(self, directory, options):
        self.directory = pathlib.Path(directory)
        self.quick = options.quick
        self.given_rounds = options.rounds
        self.names = set(options.ways.split(",")) if options.ways else None
        self.tables = []
        self.texts = []  # what is printed beside the tables
        self.begin = time.monotonic()
        self.started = 0

    def rounds(self, full, quick):
        return self.given_rounds or self.choose(full, quick)

    def choose(self, full, quick):
        return quick if self.quick else full

    def table(self, name, title, columns, **more):
        table = Table(name, title, [Column(*column) for column in columns], **more)
        self.tables.append(table)
        return table

    def tell(self, words):
        """Progress."""
        print(f"{time.monotonic() - self.begin:5.0f} s  {words}", file=sys.stderr, flush=True)

    def kinds(self):
        """The ways that can be measured here."""
        return [kind for kind in ways.WAYS if self.wanted(kind) and not kind.missing()]

    def not_found(self):
        return sorted({name for kind in ways.WAYS if self.wanted(kind) for name in kind.missing()})

    def wanted(self, kind):
        return not self.names or kind.name in self.names or kind in (ways.Direct, ways.Mindmeld)

    @contextlib.contextmanager
    def server(self, host):
        """Answers whatever the load generator's other words ask; where."""
        target = ways.alone(host)
        with Load(host, "serve", target) as server:
            server.line()
            yield server, target

    @contextlib.contextmanager
    def way(self, kind, hosts, target, table):
        """One way, up and running, or None, and the table says why."""
        self.started += 1
        one = kind(self.directory / str(self.started), hosts, target)
        with contextlib.ExitStack() as stack:
            with self.noting(kind, table):
                one.start()
                stack.callback(one.stop)
            yield one if one.programs or kind is ways.Direct else None

    @contextlib.contextmanager
    def noting(self, kind, table):
        """What goes wrong inside is told of that way, and the others go on."""
        try:
            yield
        except (Trouble, AssertionError, OSError, SystemError, subprocess.SubprocessError) as trouble:
            table.absent[kind.name] = " ".join(str(trouble).split())[:500]
            self.tell(f"{kind.name}: {trouble}")

    def left(self):
        """Seconds."""
        return WHOLE - (time.monotonic() - self.begin)

    def in_turn(self, running, rounds, measures, table, within=WHOLE):
        """Each measure is (name, function of a way that answers figures by column). Ways take turns at each, in another order each round.
        After the first, no round begins that would end after so many seconds."""
        begin = time.monotonic()
        for number in range(rounds):
            if number and (time.monotonic() - begin) * (number + 1) / number > within and not self.given_rounds:
                break
            for name, measure in measures:
                self.tell(f"{table.name}, round {number + 1} of {rounds}: {name}")
                shift = number % len(running)
                for one in running[shift:] + running[:shift]:
                    if one.name in table.absent:
                        continue
                    with self.noting(one, table):
                        for key, value in measure(one).items():
                            table.add(one.name, key, value)

    def bulk(self, one, server, way, streams, seconds, warm_up=0.5):
        """Bytes per second that arrive, and the processor's seconds per byte: of the way's processes, and of the load at both ends."""
        with Load(one.f, "flood", one.entry, way, streams) as client:
            client.line()
            receiver = server if way == "sink" else client
            time.sleep(warm_up)
            known = processes.children()
            pids = [server.pid, client.pid] + [pid for program in one.programs.values() for pid in processes.family(program.pid, known)]
            used, (before, _, start) = processes.processor_seconds(pids), receiver.mark()
            time.sleep(seconds)
            (after, _, end), used = receiver.mark(), processes.processor_seconds(pids) - used
        if after == before:
            raise Trouble(f"nothing passes: {way}, {streams} streams")
        return (after - before) / (end - start), used / (after - before)


def machine():
    model = "?"
    with contextlib.suppress(OSError, StopIteration):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    congestion = "?"
    with contextlib.suppress(OSError):
        congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    busy = f", load {os.getloadavg()[0]:.1f} before" if os.getloadavg()[0] >= 0.5 else ""
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, Linux {platform.release()}, TCP {congestion}{busy}"


def unmount_below(directory):
    """Trees whose daemon had to be killed."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        path = line.split()[4]
        if path.startswith(f"{directory}/"):
            command = ["umount", "-l"] if os.getuid() == 0 else ["fusermount3", "-uz"]
            subprocess.run([*command, path], check=False)


def end_by_exception():
    def end(number, _):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def measure(options):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    processes.adopt()
    end_by_exception()
    directory = tempfile.mkdtemp(prefix="mindmeld-bench.")
    bench = Bench(directory, options)
    here = machine()
    versions = {kind.name: kind.version_text() for kind in bench.kinds() if kind is not ways.Direct}
    stopped = None
    try:
        for part in options.parts or PARTS:
            module, function, *more = {**PARTS, **ASKED}[part]
            getattr(importlib.import_module(module), function)(bench, *more)
    except (KeyboardInterrupt, SystemExit) as end:
        stopped = end
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        processes.end_children()
        unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": here,
        "versions": versions,
        "not_found": bench.not_found(),
        "seconds": round(time.monotonic() - bench.begin),
        "tables": [table.plain() for table in bench.tables],
        "texts": bench.texts,
    }
    return result, stopped


def around(path):
    """What stands before and after the place for tables in a file."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"bench: {path} has no {BEGIN} and {END}")
    return before + begin, end + after


def joined(one, other):
    """What two runs measured; of a table that is in both, the later one."""
    tables = {table["name"]: table for result in (one, other) for table in result["tables"]}
    return {**other, "versions": {**one["versions"], **other["versions"]}, "seconds": one["seconds"] + other["seconds"], "tables": list(tables.values()), "texts": one["texts"] + other["texts"]}


def put_into(folder, result):
    for name, words in PLACES.items():
        before, after = around(folder / name)
        (folder / name).write_text(f"{before}\n{words(result)}\n\n{after}")


def main():
    arguments = argparse.ArgumentParser(description="mindmeld beside its peers.")
    arguments.add_argument("parts", metavar="PART", nargs="*", help=f"{', '.join(PARTS)}; quick: all of them, but short; by themselves: {', '.join(ASKED)}")
    arguments.add_argument("--rounds", type=int)
    arguments.add_argument("--ways", help="only these peers, by name, with commas between them")
    arguments.add_argument("--json", metavar="FILE", help="write everything, each round, to FILE")
    arguments.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    arguments.add_argument(
        "--into", metavar="FOLDER", type=pathlib.Path, help=f"put them into this checkout, between {BEGIN} and {END}: " + ", ".join(PLACES)
    )
    arguments.add_argument("--goals", action="store_true", help="print only which goals are reached")
    arguments.add_argument("--show", metavar="FILE", nargs="+", help="measure nothing: print what --json wrote; of a table that is in several files, the last")
    options = arguments.parse_args()
    options.quick = "quick" in options.parts
    options.parts = [part for part in options.parts if part != "quick"]
    if unknown := set(options.parts) - {*PARTS, *ASKED}:
        arguments.error(f"there is no part {', '.join(unknown)}")
    for name in PLACES if options.into else ():
        around(options.into / name)
    stopped = None
    if options.show:
        result = functools.reduce(joined, (json.loads(pathlib.Path(name).read_text()) for name in options.show))
    else:
        result, stopped = measure(options)
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.into:
        put_into(options.into, result)
    print("\n".join(goals_text(result)[1:]) if options.goals else (markdown if options.markdown else text)(result))
    if stopped:
        sys.exit("bench: interrupted; this is what was measured until then")
    if any("mindmeld" in table["absent"] for table in result["tables"]):
        sys.exit("bench: mindmeld could not be measured")


if __name__ == "__main__":
    main()
