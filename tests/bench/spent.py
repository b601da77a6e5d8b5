"""Where the time goes: for each program of a way, under one bulk stream, under messages of 64 bytes and under many connections,
what it calls the kernel for, and what its processor time passes in.

System calls are counted by the kernel (perf stat), and time is sampled (perf record) in a run of its own; without the right to
either, strace counts the calls, which slows what it counts."""
import collections
import contextlib
import re
import signal
import subprocess
import textwrap
import time

import processes
from bench import Load, Trouble, load
from report import WIDTH, number
from ways import HERE, Direct, Mindmeld, program

SECONDS, WARM_UP = 2.0, 0.2  # how long a load runs, and what the load generator adds at the beginning
CLIENTS, HERTZ, LISTED = 16, 1997, 9
LOADS = (  # words, a unit of work and many, the load generator's word
    ("1 stream", "GB", "GB", "flood"),
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

    def calls(self, at, work):
        """How much work was done meanwhile; and by program, each a list of processes, how often each call was made."""
        with contextlib.ExitStack() as stack:
            running = {name: stack.enter_context(self.counting(pids)) for name, pids in at.items()}
            done = work()
            return done, {name: (strace_counts if self.no_counts else perf_counts)(one.result()) for name, one in running.items()}

    def counting(self, pids):
        if self.no_counts:
            return Running(["strace", "-c", "-f", "-q", *(word for pid in pids for word in ("-p", str(pid)))], is_perf=False)
        events = ",".join([ALL, *(f"syscalls:sys_enter_{call}" for call in CALLS)])
        return Running([program("perf"), "stat", "-x,", "-e", events, "-p", ",".join(map(str, pids)), *READY])

    def samples(self, at, work):
        """How much work was done meanwhile; and by program how many samples there are, by what they passed in, and by function."""
        if self.no_samples:
            return work(), {}
        pids = ",".join(str(pid) for pids in at.values() for pid in pids)
        with Running([program("perf"), "record", "-q", "-o", self.data, "-e", "cpu-clock", "-F", str(HERTZ), "-g", "-p", pids, *READY]) as recording:
            done = work()
            recording.result()
        found = {name: (collections.Counter(), collections.Counter()) for name in at}
        of = {pid: found[name] for name, pids in at.items() for pid in pids}
        for pid, frames in stacks(perf("script", "--no-inline", "-F", "pid,ip,sym,dso", "-i", self.data).stdout):
            if pid in of and frames:
                of[pid][0][passed_in(frames)] += 1
                of[pid][1][frames[0][0]] += 1
        return done, found


READY = ("sh", "-c", "echo; read -r _")  # perf starts it when it has begun to count, and counts until it ends


class Running:
    """A tool that looks on until it is told to end."""

    def __init__(self, words, is_perf=True):
        self.is_perf = is_perf
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if is_perf:
            self.process.stdout.readline()
        else:
            time.sleep(1)  # strace does not say when

    def result(self):
        if not self.is_perf:
            self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


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


def passes(one, server, word):
    """Loads it, and says how much was done in all."""
    if word == "flood":
        with Load(one.f, word, one.entry, "sink", 1) as client:
            client.line()
            before = server.mark()[0]
            time.sleep(SECONDS)
            done = (server.mark()[0] - before) / 1e9
    else:
        done = load(one.f, word, one.entry, SECONDS, {"ping": 0, "connect": CLIENTS}[word])[0][0]
        done *= (SECONDS + WARM_UP) / (SECONDS if word == "ping" else 1)  # connect says how many in a second
    if not done:
        raise Trouble("nothing passes")
    return done


def listed(counter, whole, each):
    """The greatest ones: `each` makes the words for a part of the whole."""
    return ", ".join(f"{name} {each(count / whole)}" for name, count in counter.most_common(LISTED))


def percent(part):
    return f"{100 * part:.0f} %"


def look(one, server, kind, tools):
    """Lines of words."""
    words, unit, units, word = kind
    known = processes.children()
    at = {name: processes.family(each.pid, known) for name, each in one.programs.items()}
    counted, calls = tools.calls(at, lambda: passes(one, server, word))
    used = {name: processes.used(pids) for name, pids in at.items()}
    sampled, samples = tools.samples(at, lambda: passes(one, server, word))
    out = [f"{one.name}, {words}: {number(sampled / (SECONDS + (word != 'flood') * WARM_UP))} {units} a second"]
    scale, short = (1, "s") if unit == "GB" else (1e6, "µs")
    for name, pids in sorted(at.items()):
        user, system = (scale * (after - before) / sampled for after, before in zip(processes.used(pids), used[name]))
        out += textwrap.wrap(
            f"{name}: {number(user + system)} {short} of the processor per {unit} (user {number(user)}, system {number(system)}); "
            f"{number(calls[name].total() / counted)} system calls: " + listed(calls[name], counted, number),
            WIDTH, initial_indent="  ", subsequent_indent="     ")
        if samples and (total := samples[name][0].total()):
            for title, counter in zip(("its time", "functions"), samples[name]):
                out += textwrap.wrap(f"{title}: {listed(counter, total, percent)}", WIDTH, initial_indent="     ", subsequent_indent="     ")
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
                    with bench.noting(kind, table):
                        bench.texts += ["", *look(one, server, load, tools)]
