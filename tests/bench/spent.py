"""Where the time goes: for each program of a way, under one bulk stream, under messages of 64 bytes and under many connections,
what it calls the kernel for, and what its processor time passes in.

System calls are counted by the kernel (perf stat), and time is sampled (perf record) in a run of its own; without the right to
either, strace counts the calls, which slows what it counts."""
import collections
import contextlib
import re
import subprocess
import textwrap
import time

import processes
from bench import Load, Trouble
from report import WIDTH, number
from ways import HERE, Direct, Mindmeld, program

SECONDS, BEFORE = 2.0, 0.7  # how long it is looked at, and how long it runs before
LASTS = BEFORE + SECONDS + 1  # of a load that ends by itself
CLIENTS, HERTZ, LISTED = 16, 1997, 9
LOADS = (  # words, a unit of work and many, the load generator's words
    ("1 stream", "GB", "GB", "flood", "sink", 1),
    ("64 bytes there and back", "time there and back", "times", "ping"),
    (f"connections of {CLIENTS} clients", "connection", "connections", "connect"),
)
ALL = "raw_syscalls:sys_enter"
CALLS = (  # to look at each that there is takes perf too long to begin
    "read", "write", "readv", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "sendmmsg", "splice", "tee", "epoll_wait", "epoll_pwait", "epoll_ctl",
    "poll", "futex", "accept4", "connect", "socket", "close", "shutdown", "setsockopt", "getsockopt", "getsockname", "getpeername", "fcntl", "ioctl", "pipe2",
    "mmap", "munmap", "mprotect", "madvise", "brk", "sched_yield", "clock_nanosleep", "getrandom", "timerfd_settime", "rt_sigtimedwait",
)
CALL = re.compile(r"^_*(?:x64_|ia32_|arm64_|do_|se_)?sys_(\w+)")
TRAP = re.compile(r"^(?:asm_)?exc_page_fault|^do_user_addr_fault")


def perf(*words, **options):
    return subprocess.run([program("perf"), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def forbidden(*words):
    """Why perf does not do that here, or nothing."""
    if not program("perf"):
        return "there is no perf"
    done = perf(*words)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[0]


class Tools:
    def __init__(self, directory):
        self.data = directory / "perf.data"
        self.no_counts = forbidden("stat", "-e", "syscalls:sys_enter_read", "-a", "true")
        self.no_samples = forbidden("record", "-q", "-o", self.data, "-e", "cpu-clock", "-g", "true")
        if self.no_counts and not program("strace"):
            raise Trouble(f"system calls cannot be counted: {self.no_counts}, and there is no strace")

    def remarks(self):
        return [f"{what}: {why}." for what, why in (
            ("System calls are counted by strace, which slows them", self.no_counts), ("No samples of the time", self.no_samples)) if why]

    def calls(self, at):
        """By program, each a list of processes: how often in SECONDS, by the name of the call."""
        if self.no_counts:
            words = ["timeout", "-s", "INT", str(SECONDS), "strace", "-c", "-f", "-q"]
        else:
            words = [program("perf"), "stat", "-x,", "-e", ",".join([ALL, *(f"syscalls:sys_enter_{call}" for call in CALLS)])]
        running = {}
        for name, pids in at.items():
            which = [word for pid in pids for word in ("-p", str(pid))] if self.no_counts else ["-p", ",".join(map(str, pids)), "sleep", str(SECONDS)]
            running[name] = subprocess.Popen([*words, *which], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        parse = strace_counts if self.no_counts else perf_counts
        return {name: parse(one.communicate()[1]) for name, one in running.items()}

    def samples(self, at):
        """By program: how many samples, by what they passed in; and by function."""
        if self.no_samples:
            time.sleep(SECONDS)
            return {}
        pids = ",".join(str(pid) for pids in at.values() for pid in pids)
        perf("record", "-q", "-o", self.data, "-e", "cpu-clock", "-F", HERTZ, "-g", "-p", pids, "sleep", SECONDS)
        found = {name: (collections.Counter(), collections.Counter()) for name in at}
        of = {pid: found[name] for name, pids in at.items() for pid in pids}
        for pid, frames in stacks(perf("script", "--no-inline", "-F", "pid,ip,sym,dso", "-i", self.data).stdout):
            if pid in of and frames:
                of[pid][0][passed_in(frames)] += 1
                of[pid][1][frames[0][0]] += 1
        return found


def perf_counts(text):
    """Lines of "count, unit, event, ..."; what is in none of CALLS is "others"."""
    counts = collections.Counter()
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit() and int(fields[0]):
            counts[fields[2].removeprefix("syscalls:sys_enter_")] += int(fields[0])
    counts["others"] = max(0, counts.pop(ALL, 0) - counts.total())
    return +counts


def strace_counts(text):
    """Lines of "% time, seconds, usecs/call, calls, errors or nothing, syscall"."""
    rows = [line.split() for line in text.splitlines()]
    return collections.Counter({row[-1]: int(row[3]) for row in rows if len(row) in (5, 6) and row[3].isdigit() and row[-1] != "total"})


def stacks(text):
    """(process, [(function, object), ...]), the innermost first."""
    for block in text.split("\n\n"):
        head, *lines = block.strip("\n").splitlines() or [""]
        if head.strip().isdigit():
            found = (re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)$", line) for line in lines)
            yield int(head), [(match[1].split("+")[0], match[2].rsplit("/", 1)[-1]) for match in found if match]


def passed_in(frames):
    """A system call, or an object of the program's."""
    if "kernel" not in frames[0][1] and not frames[0][1].startswith("[k"):
        return frames[0][1]
    for function, _ in frames:
        if found := CALL.match(function):
            return f"{found[1]}()"
        if TRAP.match(function):
            return "page faults"
    return "interrupts"


class Work:
    """A load that runs until it is closed; afterwards `rate` has how many units of work it did a second."""

    def __init__(self, one, server, kind):
        self.one, self.server, self.rate = one, server, None
        self.word, *self.words = kind[3:]

    def __enter__(self):
        words = {"flood": self.words, "ping": (LASTS, 0), "connect": (LASTS, CLIENTS)}[self.word]
        self.load = Load(self.one.f, self.word, self.one.entry, *words)
        if self.word == "flood":
            self.load.line()
        time.sleep(BEFORE)
        if self.word == "flood":
            self.before, _, self.start = self.server.mark()
        return self

    def __exit__(self, *failed):
        with self.load:
            if not failed[0] and self.word == "flood":
                after, _, end = self.server.mark()
                self.rate = (after - self.before) / (end - self.start) / 1e9
            elif not failed[0]:
                done = float(self.load.line()[0])
                self.rate = done / LASTS if self.word == "ping" else done
        if not failed[0] and not self.rate:
            raise Trouble("nothing passes")


def listed(counter, whole, each):
    """The greatest ones: `each` makes the words for a part of the whole."""
    return ", ".join(f"{name} {each(count / whole)}" for name, count in counter.most_common(LISTED))


def percent(part):
    return f"{100 * part:.0f} %"


def look(one, server, kind, tools):
    """Lines of words."""
    known = processes.children()
    at = {name: processes.family(each.pid, known) for name, each in one.programs.items()}
    with Work(one, server, kind) as work:
        used = {name: processes.used(pids) for name, pids in at.items()}
        begin, calls = time.monotonic(), tools.calls(at)
        passed = time.monotonic() - begin
        used = {name: [(after - before) / passed for after, before in zip(processes.used(pids), used[name])] for name, pids in at.items()}
    (_, unit, units, *_), rate = kind, work.rate
    with Work(one, server, kind):
        samples = tools.samples(at)
    out = [f"{one.name}, {kind[0]}: {number(rate)} {units} a second"]
    scale, short = (1, "s") if unit == "GB" else (1e6, "µs")
    for name in sorted(at):
        user, system = (scale * part / rate for part in used[name])
        total = sum(calls[name].values())
        out += textwrap.wrap(
            f"{name}: {number(user + system)} {short} of the processor per {unit} (user {number(user)}, system {number(system)}); {number(total / SECONDS / rate)} system calls: "
            + listed(calls[name], SECONDS * rate, number), WIDTH, initial_indent="  ", subsequent_indent="     ")
        if samples and (total := sum(samples[name][0].values())):
            for words, counter in zip(("its time", "functions"), samples[name]):
                out += textwrap.wrap(f"{words}: {listed(counter, total, percent)}", WIDTH, initial_indent="     ", subsequent_indent="     ")
    return out


def measure(bench):
    tools = Tools(bench.directory)
    bench.texts += tools.remarks()
    table = bench.table("profile", "", ())
    with bench.server(HERE[0]) as (server, target):
        for kind in bench.kinds():
            if kind is Direct or not (issubclass(kind, Mindmeld) or bench.names):
                continue  # others only by name
            with bench.way(kind, HERE, target, table) as one:
                for load in LOADS if one else ():
                    bench.tell(f"profile: {kind.name}, {load[0]}")
                    with bench.noting(kind, table), contextlib.suppress(BrokenPipeError):
                        bench.texts += ["", *look(one, server, load, tools)]
