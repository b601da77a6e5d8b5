"""The programs as processes, the tree as files: what every test needs. Whatever is waited for is waited for in bounds,
and a daemon that hangs is killed, so that who looks at its mount gets an error rather than waiting for ever."""
import contextlib
import errno
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

BUILD = pathlib.Path(os.environ.get("MM_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
SANITIZED = "san" in BUILD.name
PATIENCE = 30 if SANITIZED else 15


READY = 8  # connections that are kept for the next dial


def descriptors_stay(*programs):
    """A check that is made later: they have no more than now, but for connections that are kept ready."""
    before = {program: program.descriptors() for program in programs}
    return lambda: all(program.descriptors() <= count + READY for program, count in before.items())


def eventually(check, timeout=PATIENCE, what=None):
    """Calls `check` until it answers something true, and returns that."""
    end = time.monotonic() + timeout
    while True:
        try:
            answer, trouble = check(), None
        except (AssertionError, OSError, KeyError, IndexError, ValueError) as error:
            answer, trouble = None, error
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or check}; last: {trouble or answer!r}")
        time.sleep(0.02)


def run(*command, timeout=PATIENCE, **options):
    """A command's answer; it fails the test unless it ends well."""
    done = run_any(*command, timeout=timeout, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_any(*command, timeout=PATIENCE, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, **options
    )


def bash(script, **options):
    return run_any("bash", "-c", script, **options)


@contextlib.contextmanager
def refused(number):
    """What is inside must fail with this errno."""
    try:
        yield
    except OSError as error:
        assert error.errno == number, f"{errno.errorcode.get(error.errno)} instead of {errno.errorcode[number]}"
    else:
        raise AssertionError(f"was not refused with {errno.errorcode[number]}")


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split()[4] == str(path) for line in table)


def dead(path):
    """A mount that was left behind."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def make_stubs(directory):
    """The messages' Python, from the one .proto file, to be imported from now on."""
    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True)
    proto = pathlib.Path(__file__).resolve().parents[2] / "proto" / "wire"
    run(sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", "-I/usr/include", f"--python_out={directory}",
        f"--grpc_python_out={directory}", proto / "mindmeld.proto", timeout=60)
    sys.path.insert(0, str(directory))


class Program:
    """A process of ours, in front, its words in a file."""

    def __init__(self, directory, name, command, env=None, **options):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.name = directory, name
        self.log = directory / f"{name}.log"
        self.expected_exit = 0
        self.env = {**os.environ, **surroundings(directory), **(env or {})}
        for key in [key for key, value in self.env.items() if value is None]:
            del self.env[key]
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, **options
            )
        self.pid = self.process.pid

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.expected_exit = -signal.SIGKILL
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self, sign=signal.SIGTERM):
        end, said = time.monotonic() + PATIENCE, False
        while time.monotonic() < end:
            if self.alive() and not (said and self.heard_signal()):
                self.process.send_signal(sign)
                said = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(3)
        self.process.kill()
        self.process.wait(PATIENCE)
        raise AssertionError(f"{self.name} did not end at {sign!r}:\n{self.text()[-4000:]}")

    def heard_signal(self):
        return True

    def finish(self):
        status = self.stop()
        assert status == self.expected_exit, f"{self.name} ended with {status}:\n{self.text()[-6000:]}"

    def descriptors(self):
        """But for pipes, which are kept for the next use."""
        count = 0
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                count += not os.readlink(entry.path).startswith("pipe:")
        return count

    def rss(self):
        """Resident bytes."""
        return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024

    def cpu(self):
        """Seconds of processor time so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(*mounts, timeout=3 * PATIENCE):
    """No connection is left in them. One of which nobody may have heard is held for a minute."""
    eventually(lambda: not any(mount.listing("connections") for mount in mounts), timeout=timeout, what="all connections are gone")


def surroundings(directory):
    """Variables of the environment: what is kept, and what sanitizers say, stays in this directory."""

    def add(name, more):
        return ":".join(filter(None, [os.environ.get(name), more]))

    path = f"log_path={directory}/sanitizer"
    suppressions = pathlib.Path(__file__).resolve().parent / "suppressions"
    return {
        "XDG_STATE_HOME": str(pathlib.Path(directory) / "xdg-state"),
        "ASAN_OPTIONS": add("ASAN_OPTIONS", f"{path}:exitcode=99"),
        "UBSAN_OPTIONS": add("UBSAN_OPTIONS", f"{path}:print_stacktrace=1"),
        "LSAN_OPTIONS": add("LSAN_OPTIONS", f"suppressions={suppressions}/lsan"),
        "TSAN_OPTIONS": add("TSAN_OPTIONS", f"{path}:exitcode=98:suppressions={suppressions}/tsan"),
    }


def with_library(name, directory):
    """Variables of the environment: a program's functions are those of this library of the tests, before all others, a sanitizer's
    included."""
    library = BUILD / "tests" / f"{name}.so"
    assert library.exists(), f"{library} is not built"
    options = surroundings(directory)["ASAN_OPTIONS"]
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0"}


def sanitizer_reports(directory):
    reports = [path.read_text(errors="replace") for path in pathlib.Path(directory).rglob("sanitizer.*")]
    for log in pathlib.Path(directory).rglob("*.log"):
        text = log.read_text(errors="replace")
        if re.search(r"(Address|Leak|Thread|UndefinedBehavior)Sanitizer|runtime error:|ASSERTION FAILED|assertion failed", text):
            reports.append(text)
    return reports


class Router(Program):
    def __init__(self, directory, *options, listen="127.0.0.1:0", env=None, name="mmrouter", host=None, **popen):
        """`host` is one of tests/netlab; without it, this machine."""
        command = [BUILD / "mmrouter", *(["--listen", listen] if listen else []), *options]
        super().__init__(directory, name, host.command(*command) if host else command, env={"PORT": None, **(env or {})}, **popen)
        try:
            found = eventually(lambda: self.listening() or not self.alive(), what="the router listens")
            assert found is not True, f"the router ended:\n{self.text()}"
        except BaseException:
            self.process.kill()
            raise
        self.host, self.port = found[1], int(found[2])
        self.address = f"{host.address if host else '127.0.0.1'}:{self.port}"

    def listening(self):
        return re.search(r"listening on (\S+):(\d+)", self.text())


# What a service that is declared here has.
OWN_SERVICE = ["clients", "headers", "http", "inspect", "port", "proxy", "replay", "requests", "stats", "status", "target", "tls", "url"]


class Mount(Program):
    """mmfs in front, and its tree."""

    def __init__(self, directory, router, options="", name="mmfs", wait="connected", host=None, program="mmfs", **popen):
        """Mounts at NAME.mnt, also where a former one died. `host` is one of tests/netlab; without it, this machine."""
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{name}.mnt"
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)
        command = [BUILD / program, "-f", *(["-o", options] if options else []), router, self.path]
        super().__init__(directory, name, host.command(*command) if host else command, **popen)
        try:
            if wait:
                eventually(lambda: is_mounted(self.path) or not self.alive(), what="mounted")
                assert self.alive(), f"mmfs ended:\n{self.text()}"
            if wait == "connected":
                self.connected()
        except BaseException:
            self.end_at_once()
            raise

    def heard_signal(self):
        """ThreadSanitizer loses a signal that the kernel gives to a thread of a library which it does not look into."""
        return "tsan" not in BUILD.name or "mmfs: ends" in self.text()

    def end_at_once(self):
        self.process.kill()
        self.process.wait()
        run_any("umount", "-l", self.path)

    def finish(self):
        super().finish()
        if self.expected_exit == -signal.SIGKILL and dead(self.path):
            run_any("umount" if os.getuid() == 0 else "fusermount3", "-l" if os.getuid() == 0 else "-uz", self.path)

    def __truediv__(self, path):
        return self.path / path

    def read(self, path):
        return (self.path / path).read_text(errors="surrogateescape")

    def write(self, path, text, flags=os.O_TRUNC):
        """As a shell's `>` does it; O_APPEND for `>>`."""
        descriptor = os.open(self.path / path, os.O_WRONLY | os.O_CREAT | flags, 0o666)
        try:
            data = text.encode() if isinstance(text, str) else text
            assert os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)

    def values(self, path):
        """A file of a key and a value per line."""
        return dict((line.split(None, 1) + [""])[:2] for line in self.read(path).splitlines() if line.strip())

    def connected(self, state="connected"):
        return eventually(lambda: self.values("status")["state"] == state, what=f"{self.name} is {state}")

    def links(self):
        """How many ways to the router it has had so far."""
        values = self.values("status")
        return int(values["connects"]) + int(values["renewals"])

    def listing(self, path):
        return sorted(os.listdir(self.path / path))

    def errors(self):
        return self.read("errors").splitlines()

    def refuses(self, number, path, text, flags=os.O_TRUNC):
        """The write fails with this errno, and a sentence says why."""
        before = len(self.errors())
        with refused(number):
            self.write(path, text, flags)
        assert len(self.errors()) > before, f"no sentence for {path}: {text!r}"

    def service(self, name, target, state="online"):
        os.mkdir(self.path / "services" / name)
        self.write(f"services/{name}/target", f"{target}\n")
        if state:
            self.awaits(name, state)

    def state(self, name):
        return self.read(f"services/{name}/status").split()[0]

    def awaits(self, name, state):
        eventually(lambda: self.state(name) == state, what=f"{name} is {state}")

    def sees(self, name):
        eventually(lambda: name in os.listdir(self.path / "services"), what=f"{self.name} sees {name}")

    def misses(self, name):
        eventually(lambda: name not in os.listdir(self.path / "services"), what=f"{self.name} forgets {name}")

    def forward(self, name, listener="0"):
        """Listens for `name`, and returns the port."""
        self.sees(name)
        self.write(f"forwards/{name}", f"{listener}\n")
        return self.ports(name)[0]

    def connections(self):
        """What is known of each live one; one that goes meanwhile is left out."""
        found = []
        for number in self.listing("connections"):
            with contextlib.suppress(FileNotFoundError):
                found.append(self.values(f"connections/{number}"))
        return found

    def ports(self, name):
        return [int(line.rsplit(":", 1)[1]) for line in self.read(f"forwards/{name}").splitlines() if ":" in line and line[:5] != "unix:"]


class World:
    """What one test started. It is all ended, and looked after, when the test is over."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.programs, self.closing = [], []
        self.names = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

    def router(self, *options, **more):
        return self.add(Router(self.directory, *options, name=f"router{len(self.programs)}", **more))

    def mount(self, router, options="", **more):
        address = router if isinstance(router, str) else router.address
        return self.add(Mount(self.directory, address, options, name=more.pop("name", None) or next(self.names), **more))

    def add(self, thing):
        (self.programs if isinstance(thing, Program) else self.closing).append(thing)
        return thing

    def target(self, kind, *arguments, **more):
        return self.add(kind(*arguments, **more))

    def kill_mounts(self):
        for program in self.programs:
            if isinstance(program, Mount) and program.alive():
                program.process.kill()

    def close(self):
        troubles = []
        for thing in reversed(self.closing):
            with contextlib.suppress(OSError):
                thing.close()
        for program in sorted(self.programs, key=lambda p: isinstance(p, Router)):
            try:
                program.finish()
            except AssertionError as trouble:
                troubles.append(str(trouble))
                if isinstance(program, Mount):
                    run_any("umount", "-l", program.path)
        troubles += [f"{p.path} is still mounted" for p in self.programs if isinstance(p, Mount) and is_mounted(p.path)]
        troubles += sanitizer_reports(self.directory)
        assert not troubles, "\n".join(troubles)[-20000:]

    def logs(self):
        return "".join(f"--- {program.name}\n{program.text()[-3000:]}\n" for program in self.programs)


# --- servers, as targets ---


class Server:
    """Listens on loopback (or on a unix socket) and gives each connection to `serve` in a thread of its own."""

    def __init__(self, path=None, family=socket.AF_INET, backlog=1024, start=True):
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            self.address = f"unix:{path}"
        else:
            host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            self.listener = socket.socket(family)
            self.listener.bind((host, 0))
            self.port = self.listener.getsockname()[1]
            self.address = f"[{host}]:{self.port}" if family == socket.AF_INET6 else f"{host}:{self.port}"
        self.listener.listen(backlog)
        self.connections = []
        self.accepted = 0
        if start:
            self.start()

    def start(self):
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.connections.append(connection)
            threading.Thread(target=self.guarded, args=(connection,), daemon=True).start()

    def guarded(self, connection):
        with contextlib.suppress(OSError):
            self.serve(connection)

    def serve(self, connection):
        """Nothing: the test has the connections, in the order in which they came."""

    def connection(self, index=0):
        eventually(lambda: len(self.connections) > index, what=f"connection {index} arrives")
        return self.connections[index]

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Echo(Server):
    """Answers what it hears; ends when the other side did."""

    def serve(self, connection):
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)


class Greeter(Server):
    """Speaks first, and says no more."""

    greeting = b"220 hello\r\n"

    def serve(self, connection):
        with connection:
            connection.sendall(self.greeting)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass


class Silent(Server):
    """Takes connections and hears nothing, with as little room for unread bytes as can be."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


class Web(Server):
    """HTTP, one answer a connection."""

    body = b"It works.\n"

    def serve(self, connection):
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                data = connection.recv(4096)
                if not data:
                    return
                request += data
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(self.body), self.body))


# --- applications ---


def dial(address, timeout=PATIENCE):
    """Connects to a port on loopback, to a host and a port, or to the path of a unix socket."""
    if isinstance(address, int):
        address = ("127.0.0.1", address)
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    connection.connect(str(address))
    return connection


def expect_listener(address):
    """Somebody accepts there. A refusal of the target may reset the connection before connect has returned."""
    with contextlib.suppress(ConnectionResetError):
        dial(address).close()


def exchange(address, data):
    """Says `data`, ends, and hears until the other side ends."""
    with dial(address) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return hear(connection)


def hear(connection):
    connection.settimeout(PATIENCE)
    heard = bytearray()
    while data := connection.recv(1 << 16):
        heard += data
    return bytes(heard)


def hear_exactly(connection, size):
    connection.settimeout(PATIENCE)
    heard = bytearray()
    while len(heard) < size:
        data = connection.recv(size - len(heard))
        assert data, f"ended after {len(heard)} of {size} bytes"
        heard += data
    return bytes(heard)


def reset(connection):
    """Closes so that the other side sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def is_reset(connection):
    """Waits for the end, and says whether it was an abrupt one."""
    try:
        hear(connection)
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def ends_somehow(connection):
    """Waits for the end, abrupt or not."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        hear(connection)


def dial_is_reset(address):
    """The same of a new connection: a reset may come before connect has returned."""
    try:
        connection = dial(address)
    except ConnectionResetError:
        return True
    with connection:
        return is_reset(connection)


def free_port():
    """A port that nobody has, from where the kernel does not take any for others that ask for port 0."""
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            port = random.randrange(10000, 32000)
            s.bind(("127.0.0.1", port))
            return port
