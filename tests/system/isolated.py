"""Tests that need a network, names and mounts of their own: each is run in a process in new namespaces, with loopback up and
nothing else.

    @isolated
    def test_something(world): ...

Debian packages: util-linux, iproute2. It needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN."""
import contextlib
import ctypes
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
MS_BIND = 0x1000
HERE = pathlib.Path(__file__).resolve().parent


def isolated(test):
    module = pathlib.Path(test.__code__.co_filename).stem

    def outside(directory):
        script = f"import isolated, {module}; isolated.inside({module}.{test.__name__}.inside, {str(directory)!r})"
        done = subprocess.run(
            ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, "-c", script], cwd=HERE, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout

    outside.inside = test
    outside.__name__, outside.__doc__ = test.__name__, test.__doc__
    return outside


def inside(test, directory):
    import harness

    harness.run("ip", "link", "set", "lo", "up")
    world = harness.World(directory)
    try:
        test(world)
    except BaseException:
        print(world.logs())
        raise
    finally:
        world.close()


def mount(source, target, kind=None, flags=0, data=None):
    arguments = [str(word).encode() if word is not None else None for word in (source, target, kind)]
    if LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def replace(path, text, directory):
    """A file of the system's, for those in this namespace."""
    other = pathlib.Path(directory) / pathlib.Path(path).name
    other.write_text(text)
    mount(other, path, flags=MS_BIND)


@contextlib.contextmanager
def hung(path):
    """A file system that answers nobody, until this is left."""
    os.mkdir(path)
    device = os.open("/dev/fuse", os.O_RDWR)
    mount("hung", path, "fuse", 0, f"fd={device},rootmode=40000,user_id=0,group_id=0")
    try:
        yield path
    finally:
        os.close(device)
        subprocess.run(["umount", "-l", str(path)], check=True)


class Nameserver:
    """Answers for what it knows, a name to its addresses; is silent of the rest."""

    def __init__(self, directory, names):
        self.names, self.asked = names, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        replace("/etc/resolv.conf", "nameserver 127.0.0.1\n", directory)
        replace("/etc/nsswitch.conf", "hosts: files dns\n", directory)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            question, sender = self.socket.recvfrom(512)
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode())
                at += 1 + question[at]
            kind = struct.unpack("!H", question[at + 1 : at + 3])[0]
            name = ".".join(labels).lower()
            self.asked.append(name)
            if name in self.names:
                self.socket.sendto(self.answer(question[: at + 5], kind, self.names[name]), sender)

    @staticmethod
    def answer(question, kind, addresses):
        family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
        packed = [socket.inet_pton(family, a) for a in addresses if (":" in a) == (family == socket.AF_INET6)] if family else []
        records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(a)) + a for a in packed)
        return question[:2] + struct.pack("!HHHHH", 0x8180, 1, len(packed), 0, 0) + question[12:] + records


def swallow(*addresses):
    """These addresses are on a link of ours whose other end takes every packet and answers none."""
    from harness import run

    run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
    for name in ("near", "far"):
        run("ip", "link", "set", name, "up")
    run("ip", "address", "add", "198.51.100.1/24", "dev", "near")
    run("ip", "-6", "address", "add", "2001:db8::1/64", "dev", "near", "nodad")
    for address in addresses:
        run("ip", "neighbour", "add", address, "lladdr", "02:00:00:00:00:09", "dev", "near")
