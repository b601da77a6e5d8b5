"""mmdial: one connection to a service over standard input and output, where nothing can be mounted."""
import contextlib
import getpass
import hashlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness import BUILD, PATIENCE, Echo, Server, eventually, free_port, hear, hear_exactly, is_reset, reset, run, surroundings

LARGE = 8 << 20


class Dialled(subprocess.Popen):
    """mmdial as a child, its standard error in a file."""

    def __init__(self, directory, router, service, *options, stdin=subprocess.PIPE, stdout=subprocess.PIPE):
        self.log = directory / f"mmdial-{service}-{os.urandom(4).hex()}.log"
        address = router if isinstance(router, str) else router.address
        with open(self.log, "wb") as log:
            super().__init__([BUILD / "mmdial", *options, address, service], stdin=stdin, stdout=stdout, stderr=log, bufsize=0,
                             env={**os.environ, **surroundings(directory)})

    def __exit__(self, kind, *more):
        if kind is not None:
            self.kill()
        super().__exit__(kind, *more)

    def ends(self, status=0, sentence=""):
        assert (self.wait(PATIENCE), bool(re.search(sentence, self.log.read_text()))) == (status, True), self.log.read_text()
        if status == 0:
            assert self.log.read_text() == ""


class Adder(Server):
    """Hears everything, and answers then."""

    def serve(self, connection):
        with connection:
            connection.sendall(hashlib.sha256(hear(connection)).hexdigest().encode())


@pytest.fixture(scope="module")
def place(module_world):
    """A router, and a mount with services: echo, adder, `test` for the test itself, and one whose target is gone."""
    world, servers = module_world, {"echo": Echo(), "adder": Adder(), "test": Server()}
    world.relay = world.router()
    mount = world.mount(world.relay)
    for name, server in servers.items():
        world.add(server)
        mount.service(name, server.address)
    mount.service("gone", f"127.0.0.1:{free_port()}")
    world.servers = servers
    # The router waits for a name that it does not know; the tests do not wait for that one after the other.
    with Dialled(world.directory, world.relay, "unknown") as world.unknown:
        yield world
        world.unknown.kill()


@pytest.fixture
def large(directory):
    path = directory / "large"
    path.write_bytes(os.urandom(LARGE))
    return path


def test_our_input_ends_first(place, directory, large):
    """A file, nothing, a pipe, a terminal: the service hears the end, and its answer comes after that."""
    master, terminal = pty.openpty()
    os.write(master, b"typed\n\4")
    pipe = subprocess.Popen(["cat", large], stdout=subprocess.PIPE)
    with open(large, "rb") as file:
        inputs = [(file, large.read_bytes()), (subprocess.DEVNULL, b""), (pipe.stdout, large.read_bytes()), (terminal, b"typed\n")]
        calls = [(Dialled(directory, place.relay, "adder", stdin=stdin), data) for stdin, data in inputs]
    pipe.stdout.close()
    for call, data in calls:
        assert call.stdout.read().decode() == hashlib.sha256(data).hexdigest()
        call.ends()
    assert pipe.wait(PATIENCE) == 0
    os.close(master)
    os.close(terminal)
    assert not (directory / "xdg-state").exists()


def test_the_service_ends_first(place, directory):
    """Whoever reads our output sees its end, while input is still passed on."""
    server = place.servers["test"]
    index = server.accepted
    with Dialled(directory, place.relay, "test") as call:
        peer = server.connection(index)
        peer.sendall(b"that is all")
        peer.shutdown(socket.SHUT_WR)
        assert call.stdout.read() == b"that is all"
        assert call.poll() is None
        call.stdin.write(b"but not here")
        assert hear_exactly(peer, 12) == b"but not here"
        call.stdin.close()
        assert hear(peer) == b""
        call.ends()


@pytest.mark.threads
def test_a_large_file_both_ways(place, directory, large):
    """From a file to a file; and over one socket that is both input and output, as with inetd."""
    with open(large, "rb") as source, open(directory / "copy", "wb") as copy:
        Dialled(directory, place.relay, "echo", stdin=source, stdout=copy).ends()
    assert (directory / "copy").read_bytes() == large.read_bytes()
    ours, theirs = socket.socketpair()
    with ours, Dialled(directory, place.relay, "echo", stdin=theirs, stdout=theirs) as call:
        theirs.close()
        data = large.read_bytes()[: 1 << 20]
        sender = threading.Thread(target=ours.sendall, args=(data,))
        sender.start()
        assert hear_exactly(ours, len(data)) == data
        sender.join(PATIENCE)
        ours.shutdown(socket.SHUT_WR)
        assert hear(ours) == b""
        call.ends()


def test_nobody_reads_our_output(place, directory):
    """What cannot be written is a reset of the service."""
    server = place.servers["test"]
    index = server.accepted
    with Dialled(directory, place.relay, "test") as call:
        peer = server.connection(index)
        peer.sendall(b"x")
        assert call.stdout.read(1) == b"x"
        call.stdout.close()
        peer.sendall(b"y")
        assert is_reset(peer)
        call.ends(1, "test: cannot write the output: Broken pipe")


def test_signals(place, directory):
    """They reset the connection, also when a write is stuck. After a hangup an orderly end has a moment."""
    server = place.servers["test"]
    for sign in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        index = server.accepted
        with Dialled(directory, place.relay, "test") as call:
            peer = server.connection(index)
            peer.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:  # until the pipe that nobody reads, and all between, is full
                    peer.sendall(b"x" * 65536)
            call.send_signal(sign)
            assert is_reset(peer)
            call.ends(1)
    index = server.accepted
    with Dialled(directory, place.relay, "test") as call:
        peer = server.connection(index)
        call.stdin.write(b"goodbye")
        call.stdin.close()
        call.send_signal(signal.SIGHUP)
        assert hear(peer) == b"goodbye"
        peer.close()
        call.ends()


def test_what_cannot_be(place, directory):
    """Exit status 1, and 2 if somebody has to change something first; each with a sentence."""
    router, server = place.relay, place.servers["test"]
    index = server.accepted
    with Dialled(directory, router, "test") as call:
        reset(server.connection(index))
        call.ends(1, "mmdial: test: the connection was reset")
    Dialled(directory, router, "gone").ends(1, "mmdial: gone: the other side: .*refused")
    nowhere = f"127.0.0.1:{free_port()}"
    Dialled(directory, nowhere, "x", "-o", "dial_timeout=1").ends(1, "no router for 1 s: nothing listens at .*is the router running")
    root = os.open("/", os.O_RDONLY)
    Dialled(directory, router, "adder", stdin=root).ends(1, "cannot read the input: Is a directory")
    os.close(root)
    for options, service, sentence in (
        (["-o", "key=/nowhere/key"], "x", "/nowhere/key.*No such file"),
        (["-o", "insecur"], "x", 'unknown option "insecur"; did you mean "insecure"'),
        (["-o", "allow_other"], "x", 'unknown option "allow_other"'),
        (["-o", "window=1"], "x", "is not a size from 256K to 64M"),
        ([], "Not a name", 'service "Not a name": '),
        (["-x"], "x", "mmdial --help lists the options"),
        (["one-more"], "x", "ROUTER and SERVICE are wanted"),
    ):
        Dialled(directory, router, service, *options).ends(2, sentence)
    assert "usage: mmdial" in run(BUILD / "mmdial", "--help") and run(BUILD / "mmdial", "-V").startswith("mmdial ")
    place.unknown.ends(1, 'mmdial: unknown: service "unknown" does not exist')


def test_a_key(world, directory):
    """One that is wrong, or missing, is not waited for."""
    for name in "key", "wrong":
        (directory / name).write_text(f"{name}-of-this-test\n")
        (directory / name).chmod(0o600)
    router = world.router("--key", directory / "key")
    echo = world.target(Echo)
    world.mount(router, f"key={directory / 'key'}").service("echo", echo.address)
    patience = "dial_timeout=600"
    Dialled(directory, router, "echo", "-o", patience).ends(1, "echo: the router wants a key, name it with key=FILE")
    Dialled(directory, router, "echo", "-o", f"{patience},key={directory / 'wrong'}").ends(1, "echo: the router refuses the key")
    call = Dialled(directory, router, "echo", "-o", f"key={directory / 'key'}", stdin=subprocess.DEVNULL)
    call.ends()


@pytest.fixture
def sshd(world, directory):
    """One on loopback, with keys and a configuration of its own."""
    port, keys = free_port(), directory / "ssh"
    keys.mkdir(mode=0o700)
    for name in "host", "user":
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
    shutil.copy(keys / "user.pub", keys / "authorized")
    (keys / "known").write_text("testhost " + (keys / "host.pub").read_text())
    (keys / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized\nPidFile none\n"
        "PermitRootLogin yes\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n")
    os.makedirs("/run/sshd", exist_ok=True)
    with open(directory / "sshd.log", "wb") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", keys / "config"], stdin=subprocess.DEVNULL, stderr=log)
    try:
        eventually(lambda: b"Server listening" in (directory / "sshd.log").read_bytes(), what="sshd listens")
        yield port, keys
    finally:
        server.terminate()
        server.wait(PATIENCE)


def test_ssh_goes_on_without_its_router(world, directory, sshd):
    """`ssh -o ProxyCommand='mmdial ROUTER ssh'`: a session that lives through the death of the router, and loses nothing; and so
    does a plain connection."""
    port, keys = sshd
    router = world.router()
    mount = world.mount(router)
    mount.service("ssh", f"127.0.0.1:{port}")
    mount.service("echo", world.target(Echo).address)
    command = ["ssh", "-F", "none", "-i", keys / "user", "-o", f"UserKnownHostsFile={keys}/known", "-o", "BatchMode=yes",
               "-o", f"ProxyCommand={BUILD}/mmdial {router.address} ssh", f"{getpass.getuser()}@testhost", "cat; exit 7"]
    with open(directory / "ssh.log", "wb") as log:
        ssh = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
                               env={**os.environ, **surroundings(directory)})
    plain = Dialled(directory, router, "echo")
    data = os.urandom(2 << 20)
    for call in ssh, plain:
        call.stdin.write(data[:1000])
        assert call.stdout.read(1000) == data[:1000]
    router.kill()

    def send(call):
        with call.stdin:
            call.stdin.write(data[1000:])

    senders = [threading.Thread(target=send, args=(call,)) for call in (ssh, plain)]
    for sender in senders:
        sender.start()
    eventually(lambda: all(c["state"].startswith("detached") for c in mount.connections()), what="both are without a way")
    world.router(listen=f"127.0.0.1:{router.port}")
    for call in ssh, plain:
        assert hashlib.sha256(call.stdout.read()).digest() == hashlib.sha256(data[1000:]).digest()
    for sender in senders:
        sender.join(PATIENCE)
    plain.ends()
    assert ssh.wait(PATIENCE) == 7
    assert (directory / "ssh.log").read_bytes() == b""


def test_it_needs_no_mount(world):
    """It is linked with no room of fs/ and daemon/, nor with libfuse."""
    assert "fuse" in run("ldd", BUILD / "mmfs") and "fuse" not in run("ldd", BUILD / "mmdial")

    def defined(*files):
        lines = run("nm", "-g", "--defined-only", *files).splitlines()
        return {fields[2] for fields in map(str.split, lines) if len(fields) == 3 and fields[1] == "T"}

    others = defined(*BUILD.glob("fs/*.a"), *BUILD.glob("daemon/*.a"))
    assert "tree_open" in others and not others & (defined(BUILD / "mmdial") - {"main"})
