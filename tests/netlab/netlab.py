"""Three hosts on long links, in network namespaces of their own: S, the service's - link - R, the router's - link - F, the forward's.

    with Lab(Link(100e6, 0.020), Link(100e6, 0.020)) as lab:
        lab.r.popen("mmrouter", "--listen", "0.0.0.0:7000")
        lab.f.run("ping", "-c", "1", lab.r.address)
        lab.sr.hole()

    with Alone(settings={"ipv4/tcp_congestion_control": "reno"}) as host:  # one host, with nothing but its own loopback

R passes packets on between the two links, so S and F also reach each other without any tunnel. The namespaces have no names: a
guard process holds them, and when its input ends, be it because the lab is closed or because this process was killed, it ends
what runs in them, and they are gone.

Debian packages: iproute2, util-linux. It needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN, and /dev/net/tun.
"""
import contextlib
import ctypes
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

BUILD = pathlib.Path(os.environ.get("MM_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000

SETTINGS = {
    "ipv4/tcp_rmem": "4096 131072 16777216",  # 500 Mbit/s and 100 ms are 6 MB
    "ipv4/tcp_wmem": "4096 65536 16777216",
    "ipv4/tcp_no_metrics_save": "1",  # no connection learns from a former one
    "ipv4/ip_forward": "1",
    "ipv6/conf/default/disable_ipv6": "1",  # nothing is on the links but what was put there
}


@dataclasses.dataclass(frozen=True)
class Link:
    """Both directions alike. The queue is the time that its last packet waits, and never less than 64 packets; None: twice the round trip, at least 50 ms."""

    rate: float  # bit/s; 0: any
    rtt: float  # seconds, there and back
    loss: float = 0.0  # of each packet, each way
    queue: float | None = None  # seconds
    mtu: int = 1500

    def carries(self):
        """Bytes a second of TCP's at most: a packet has 40 bytes of headers, and 12 of time stamps."""
        return self.rate / 8 * (self.mtu - 52) / self.mtu

    def queue_bytes(self):
        seconds = max(2 * self.rtt, 0.05) if self.queue is None else self.queue
        return max(int(self.rate / 8 * seconds), 64 * self.mtu)

    def arguments(self):
        return [str(int(self.rate)), str(int(self.rtt / 2 * 1e6)), str(self.queue_bytes()), str(int(self.loss * 1e6))]


class Host:
    """A namespace. What runs in it is a process like any other, with the same files."""

    def __init__(self, name, space, address):
        self.name, self.space, self.address = name, space, address

    def command(self, *words):
        return ["nsenter", f"--net={self.space}", "--", *(str(word) for word in words)]

    def popen(self, *words, **options):
        """nsenter becomes the command, so the process is the command's."""
        return subprocess.Popen(self.command(*words), **{"stdin": subprocess.DEVNULL, **options})

    def run(self, *words, timeout=30, **options):
        """The command's answer; it must end well."""
        done = subprocess.run(
            self.command(*words),
            timeout=timeout,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        )
        if done.returncode:
            raise AssertionError(f"{self.name}: {words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the namespace. Sockets that it makes there, and those they accept, stay there for good."""
        with open("/proc/thread-self/ns/net", "rb") as back, open(self.space, "rb") as there:
            enter(there)
            try:
                yield
            finally:
                enter(back)


def enter(space):
    if LIBC.setns(space.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Relay:
    """The link at work."""

    def __init__(self, program, link, seed, *ends):
        where = [word for host, device in ends for word in (host.space, device)]
        self.process = subprocess.Popen(
            [program, str(link.mtu), str(seed), *where, *link.arguments() * 2],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True,
        )
        if self.process.stdout.readline() != "ready\n":
            self.close()
            raise OSError("the relay did not start")

    def tell(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()

    def hole(self, direction=""):
        """Nothing passes, or not in one direction: 0 is away from S, 1 towards it."""
        self.tell(f"hole {direction}".strip())
        self.counts()

    def unhole(self, direction=""):
        self.tell(f"pass {direction}".strip())
        self.counts()

    def counts(self):
        """For each direction: packets and bytes that passed, and how many packets were refused by the queue, lost, swallowed by a hole."""
        self.tell("count")
        names = ("packets", "bytes", "refused", "lost", "swallowed")
        return [dict(zip(names, map(int, self.process.stdout.readline().split()))) for _ in range(2)]

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Hosts:
    """Hosts with nothing but their loopback, and what was joined to them, until it is closed."""

    def __init__(self, named, settings):
        self.closing = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            end_by_exception()
            self.guard = self.hold(len(named))
            spaces = [f"/proc/{self.guard.pid}/fd/{number}" for number in self.guard.stdout.readline().split()]
            if len(spaces) != len(named):
                raise OSError("no network namespaces: it needs root")
            self.hosts = [Host(name, space, address) for (name, address), space in zip(named, spaces)]
            for host in self.hosts:
                self.prepare(host, settings)
            undo.pop_all()

    def hold(self, count):
        guard = subprocess.Popen(
            [sys.executable, "-S", __file__, "guard", str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )

        def end():
            guard.stdin.close()
            guard.wait(30)
            guard.stdout.close()

        self.closing.callback(end)
        return guard

    def prepare(self, host, settings):
        host.run("ip", "link", "set", "lo", "up")
        script = "".join(f"[ ! -e /proc/sys/net/{name} ] || echo '{value}' > /proc/sys/net/{name} || exit 1\n" for name, value in settings.items())
        host.run("sh", "-c", script)

    def close(self):
        """Ends what runs in the namespaces, with SIGTERM first."""
        self.closing.close()

    def __exit__(self, *_):
        self.close()


class Alone(Hosts):
    """One host, whose only address is that of its loopback, with settings of its own and the kernel's for all else."""

    def __init__(self, settings):
        super().__init__([("alone", "127.0.0.1")], settings)

    def __enter__(self):
        return self.hosts[0]


class Lab(Hosts):
    def __init__(self, sr, rf, seed=1, program=None, settings=None):
        program = program or BUILD / "tests" / "netlab_relay"
        super().__init__([("S", "10.0.1.1"), ("R", "10.0.0.1"), ("F", "10.0.2.1")], {**SETTINGS, **(settings or {})})
        self.s, self.r, self.f = self.hosts
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.r.run("ip", "address", "add", "10.0.0.1/32", "dev", "lo")
            self.sr = self.join(program, sr, seed, self.s, "10.0.1.2")
            self.rf = self.join(program, rf, seed + 1000, self.f, "10.0.2.2")
            undo.pop_all()

    def join(self, program, link, seed, outer, towards):
        """The devices are called after the host at the other end."""
        inward, outward = "r", outer.name.lower()
        ends = [(outer, inward), (self.r, outward)]
        relay = Relay(program, link, seed, *(ends if outer is self.s else reversed(ends)))
        self.closing.callback(relay.close)
        for host, device, own, peer in ((outer, inward, outer.address, towards), (self.r, outward, towards, outer.address)):
            host.run("ip", "address", "add", own, "peer", peer, "dev", device)
            host.run("ip", "link", "set", device, "up", "mtu", link.mtu, "txqueuelen", 10000)
        outer.run("ip", "route", "add", "default", "via", towards, "src", outer.address)
        return relay

    def __enter__(self):
        return self


def end_by_exception():
    """SIGTERM unwinds the stack as SIGINT does, unless the program has a handler of its own."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


# --- the guard, a process of its own ---


def make_space():
    if LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def inhabitants(spaces):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}/ns/net").st_ino in spaces and int(pid) != os.getpid():
                found.append(int(pid))
    return found


def end_all(spaces, patience=5):
    start = time.monotonic()
    while pids := inhabitants(spaces):
        late = time.monotonic() > start + patience
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.05)


def guard(count):
    spaces = [make_space() for _ in range(count)]
    print(*spaces, flush=True)
    sys.stdin.read()
    end_all({os.fstat(space).st_ino for space in spaces})


if __name__ == "__main__":
    guard(int(sys.argv[2]))
