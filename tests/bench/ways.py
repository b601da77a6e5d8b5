"""The ways to get a byte from F's host to a server on S's host. All but the plain one lead over R's host.

A host has an `address`, `command(*words)`, which is how a command is started there, and `inside()`, in which sockets are made
there: tests/netlab has such hosts, and HERE is this machine. Everything goes in the clear, but for those ways that cannot.
"""
import contextlib
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

from goals import BEFORE, GRPC, OURS
from harness import BUILD, Mount, Program, eventually, free_port, is_mounted

SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


class Here:
    address = "127.0.0.1"

    def command(self, *words):
        return [str(word) for word in words]

    def inside(self):
        return contextlib.nullcontext()


HERE = (Here(), Here(), Here())


def program(name):
    return shutil.which(name, path=SEARCH)


def alone(port_of):
    """A port that is free here is free in a namespace of ours too."""
    return f"{port_of.address}:{free_port()}"


class Way:
    """One run of it, from start() to stop(). Connections go to `entry`, and come out at `target`, both ADDRESS:PORT."""

    name = ""
    needs = ()  # programs
    version = ()  # the command that tells it
    crowd = 5000  # how many idle connections it is asked to hold

    def __init__(self, directory, hosts, target):
        self.s, self.r, self.f = hosts
        self.target = target
        self.directory = pathlib.Path(directory) / self.name.replace(" ", "-")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.programs = {}  # by host: S, R, F
        self.entry = None

    @classmethod
    def missing(cls):
        """Its programs that are not there."""
        return [name for name in cls.needs if not program(name)]

    @classmethod
    def version_text(cls):
        if not cls.version:
            return ""
        done = subprocess.run(
            [program(cls.version[0]), *cls.version[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        found = re.search(r"(?<![\d:])\d+\.\d+[\w.+-]*", done.stdout)
        return found[0] if found else "?"

    def start(self):
        """Until a byte goes there and back: something must answer at the target."""
        try:
            self.entry = self.set_up() or self.entry
            eventually(self.passes, what=f"{self.name} passes a byte")
        except BaseException as trouble:
            words = "".join(text[-1000:] for text in map(Program.text, self.programs.values()))
            self.stop()
            raise type(trouble)(f"{trouble}\n{words}") if isinstance(trouble, AssertionError) else trouble
        return self

    def passes(self):
        for at, one in self.programs.items():
            if not one.alive():
                raise SystemError(f"{self.name} at {at} ended")
        host, port = self.entry.split(":")
        with self.f.inside(), socket.create_connection((host, int(port)), 2) as connection:
            connection.sendall(b"E")
            return connection.recv(1) == b"E"

    def run(self, at, name, *words):
        host = {"S": self.s, "R": self.r, "F": self.f}[at[0]]
        self.programs[at] = Program(self.directory, f"{name}-{at}", host.command(program(name) or name, *words))

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def stop(self):
        """The forward's end first, so that nobody finds its other end gone."""
        for at in sorted(self.programs, key="FSR".index):
            with contextlib.suppress(AssertionError):
                self.programs[at].stop()
        self.programs = {}


class Direct(Way):
    name = "no tunnel"

    def set_up(self):
        return self.target


class Tree(Mount):
    """A mount of a daemon on some host."""

    def __init__(self, build, host, directory, name, router, options):
        self.path = directory / f"{name}.mnt"
        self.path.mkdir(exist_ok=True)
        Program.__init__(self, directory, name, host.command(build / "mmfs", "-f", "-o", options, router, self.path))

    def wait(self):
        eventually(lambda: is_mounted(self.path) or not self.alive(), what=f"{self.path} is mounted")
        self.connected()


class Mindmeld(Way):
    name = OURS
    build = BUILD

    @classmethod
    def said(cls, option):
        return subprocess.run([cls.build / "mmfs", option], stdout=subprocess.PIPE, text=True, check=True).stdout

    @classmethod
    def version_text(cls):
        return cls.said("--version").split()[-1]

    def options(self):
        return "insecure"

    def set_up(self):
        address = alone(self.r)
        self.programs["R"] = Program(
            self.directory, "mmrouter", self.r.command(self.build / "mmrouter", "--listen", address, "--open"), env={"PORT": None}
        )
        eventually(lambda: "listening" in self.programs["R"].text(), what="the router listens")
        for at, host in (("S", self.s), ("F", self.f)):
            self.programs[at] = Tree(self.build, host, self.directory, f"mmfs-{at}", address, self.options())
        for at in "SF":
            self.programs[at].wait()
        self.programs["S"].service("bench", self.target)
        self.entry = alone(self.f)
        self.programs["F"].forward("bench", self.entry)


class Grpc(Mindmeld):
    """What is left where only HTTP/2 passes."""

    name = GRPC

    def options(self):
        return "insecure,raw=off" if "raw=" in self.said("--help") else "insecure"


class Before(Mindmeld):
    """Another build of it, whose folder is in MM_BEFORE: what a change has cost."""

    name = BEFORE
    build = pathlib.Path(os.environ.get("MM_BEFORE", "/nonexistent"))


class Haproxy(Way):
    """Three in a row, in TCP mode, splicing in both directions, through pipes that are larger than they are by themselves: its best."""

    name = "haproxy"
    needs = ("haproxy",)
    version = ("haproxy", "-v")
    tune = " tune.pipesize 262144\n"

    def set_up(self):
        towards = self.target
        room = min(6000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 3)
        for at, host in (("S", self.s), ("R", self.r), ("F", self.f)):
            front = alone(host)
            config = self.write(
                f"{at}.cfg",
                f"global\n maxconn {room}\n{self.tune}"
                f"defaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n option splice-request\n option splice-response\n"
                f"listen hop\n bind {front} backlog 4096\n server next {towards}\n",
            )
            self.run(at, "haproxy", "-db", "-q", "-f", config)
            towards = front
        return towards


class Socat(Way):
    name = "socat"
    needs = ("socat",)
    version = ("socat", "-V")
    crowd = 200  # a process for each connection and hop

    def set_up(self):
        towards = self.target
        for at, host in (("S", self.s), ("R", self.r), ("F", self.f)):
            address, port = alone(host).split(":")
            self.run(
                at, "socat", "-b", "65536", f"TCP-LISTEN:{port},bind={address},fork,backlog=4096,nodelay", f"TCP:{towards},nodelay"
            )
            towards = f"{address}:{port}"
        return towards


class Ssh(Way):
    """sshd at R; S asks it to listen there, F listens at home."""

    name = "ssh"
    needs = ("ssh", "sshd", "ssh-keygen")
    version = ("ssh", "-V")
    crowd = 1000  # slow to make
    cipher = "aes128-gcm@openssh.com"

    def set_up(self):
        server, between, entry = alone(self.r), f"127.0.0.1:{free_port()}", alone(self.f)
        address, port = server.split(":")
        for key in ("host", "user"):
            path = self.directory / key
            if not path.exists():
                subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL)
        config = self.write(
            "sshd_config",
            f"ListenAddress {address}:{port}\nHostKey {self.directory}/host\nPidFile none\nAuthorizedKeysFile {self.directory}/user.pub\n"
            f"StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowTcpForwarding yes\n"
            f"Compression no\nLogLevel ERROR\n",
        )
        if os.getuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)
        self.run("R", "sshd", "-D", "-e", "-f", config)
        with self.r.inside():
            eventually(lambda: socket.create_connection((address, int(port)), 2).close() is None, what="sshd listens")
        words = ["-N", "-F", "none", "-p", port, "-i", f"{self.directory}/user", "-c", self.cipher]
        for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "IdentityAgent=none",
                       "BatchMode=yes", "ExitOnForwardFailure=yes", "Compression=no", "LogLevel=ERROR"):
            words += ["-o", option]
        self.run("S", "ssh", *words, "-R", f"{between}:{self.target}", address)
        self.run("F", "ssh", *words, "-L", f"{entry}:{between}", address)
        return entry


class Frp(Way):
    """A secret proxy and a visitor of it, with a TCP connection for each connection."""

    name = "frp"
    needs = ("frps", "frpc")
    version = ("frps", "--version")
    mux = "false"

    def set_up(self):
        server, entry = alone(self.r), alone(self.f)
        address, port = server.split(":")
        transport = f'transport.tcpMux = {self.mux}\nlog.level = "error"\n'
        self.run("R", "frps", "-c", self.write("frps.toml", f'bindAddr = "{address}"\nbindPort = {port}\n{transport}'))
        client = f'serverAddr = "{address}"\nserverPort = {port}\nloginFailExit = false\ntransport.tls.enable = false\n{transport}'
        host, port = self.target.split(":")
        self.run("S", "frpc", "-c", self.write(
            "S.toml",
            f'transport.poolCount = 5\n{client}[[proxies]]\nname = "bench"\ntype = "stcp"\nsecretKey = "bench"\nlocalIP = "{host}"\nlocalPort = {port}\n',
        ))
        host, port = entry.split(":")
        self.run("F", "frpc", "-c", self.write(
            "F.toml",
            f'{client}[[visitors]]\nname = "visitor"\ntype = "stcp"\nserverName = "bench"\nsecretKey = "bench"\nbindAddr = "{host}"\nbindPort = {port}\n',
        ))
        return entry


class FrpMux(Frp):
    """The same over one TCP connection: what frp does unless it is told otherwise."""

    name = "frp mux"
    mux = "true"


class Rathole(Way):
    """Has no end at F: its server listens at R."""

    name = "rathole"
    needs = ("rathole",)
    version = ("rathole", "--version")

    def set_up(self):
        control, entry = alone(self.r), alone(self.r)
        token = 'default_token = "bench"\n'
        self.run("R", "rathole", "--server", self.write(
            "server.toml", f'[server]\nbind_addr = "{control}"\n{token}[server.services.bench]\nbind_addr = "{entry}"\n'))
        self.run("S", "rathole", "--client", self.write(
            "client.toml", f'[client]\nremote_addr = "{control}"\n{token}[client.services.bench]\nlocal_addr = "{self.target}"\n'))
        return entry


class Chisel(Way):
    name = "chisel"
    needs = ("chisel",)
    version = ("chisel", "--version")

    def set_up(self):
        server, between, entry = alone(self.r), f"127.0.0.1:{free_port()}", alone(self.f)
        address, port = server.split(":")
        self.run("R", "chisel", "server", "--host", address, "--port", port, "--reverse")
        self.run("S", "chisel", "client", server, f"R:{between}:{self.target}")
        self.run("F", "chisel", "client", server, f"{entry}:{between}")
        return entry


WAYS = (Direct, Mindmeld, Grpc, *([Before] if Before.build.is_dir() else []), Haproxy, Socat, Ssh, Frp, FrpMux, Rathole, Chisel)
