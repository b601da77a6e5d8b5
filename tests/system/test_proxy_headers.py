"""The PROXY protocol: a target is told who its client is, before anything that the client says."""
import errno
import os
import re
import socket
import ssl
import struct

import pytest

from certificates import Authority, put
from harness import Server, bash, eventually, hear_exactly, run
from mmgate import Gate, read_head, status


class Told(Server):
    """Reads the header by which a connection begins, says who its client is, and echoes."""

    def serve(self, connection):
        with connection:
            connection.sendall(f"{parsed(connection)}\n".encode())
            while data := connection.recv(1 << 16):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)


def parsed(connection):
    begun = hear_exactly(connection, 12)
    if begun != b"\r\n\r\n\0\r\nQUIT\n":
        while not begun.endswith(b"\r\n"):
            begun += hear_exactly(connection, 1)
        return begun[:-2].decode()
    command, family, size = struct.unpack("!BBH", hear_exactly(connection, 4))
    rest = hear_exactly(connection, size)
    if command == 0x20:
        return f"LOCAL {family} {size}"
    assert command == 0x21
    kind, length = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[family]
    source, target = (socket.inet_ntop(kind, rest[at : at + length]) for at in (0, length))
    ports = struct.unpack("!HH", rest[2 * length :])
    return f"TCP{4 if length == 4 else 6} {source} {target} {ports[0]} {ports[1]}"


def told(address):
    """What the target says of a client that dials there, and the client's own name."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as client:
        client.settimeout(30)
        client.connect(address)
        client.sendall(b"after the header")
        line = b""
        while not line.endswith(b"\n"):
            line += hear_exactly(client, 1)
        assert hear_exactly(client, 16) == b"after the header"
        return line[:-1].decode(), client.getsockname()


@pytest.mark.parametrize("raw", ["on", "off"])
def test_the_target_knows_its_client(world, router, raw):
    a, b = (world.mount(router, f"raw={raw}", name=name) for name in "AB")
    target = world.target(Told)
    a.service("web", target.address)
    port, path = b.forward("web"), world.directory / "front"
    b.write("forwards/web", f"unix:{path}\n", os.O_APPEND)
    b.write("forwards/web", "[::1]:0\n", os.O_APPEND)
    six = int(eventually(lambda: [line for line in b.read("forwards/web").splitlines() if line.startswith("[::1]:") and not line.endswith(":0")], what="it listens on IPv6")[0].rsplit(":", 1)[1])

    for version, prefix, unknown in ("v1", "PROXY ", "PROXY UNKNOWN"), ("v2", "", "LOCAL 0 0"):
        assert bash(f"echo {version} > {a.path}/services/web/proxy && cat {a.path}/services/web/proxy").stdout == f"{version}\n"
        line, name = told(("127.0.0.1", port))
        assert line == f"{prefix}TCP4 127.0.0.1 127.0.0.1 {name[1]} {port}"
        line, name = told(("::1", six))
        assert line == f"{prefix}TCP6 ::1 ::1 {name[1]} {six}"
        assert told(str(path))[0] == unknown


def test_it_is_kept_and_can_be_put_off(world, router):
    state = world.directory / "state"
    mount = world.mount(router, f"state={state}", name="A")
    mount.service("web", world.target(Told).address)
    assert mount.read("services/web/proxy") == ""
    for text in ("v3", "V1", "on", "v1 v2"):
        mount.refuses(errno.EINVAL, "services/web/proxy", f"{text}\n")
    assert "write v1 or v2" in mount.read("errors")
    mount.write("services/web/proxy", "v2\n")
    mount.finish()
    mount = world.mount(router, f"state={state}", name="A")
    eventually(lambda: mount.read("services/web/proxy") == "v2\n", what="it is declared again")
    for off in "echo off >", "rm":
        mount.write("services/web/proxy", "v1\n")
        assert bash(f"{off} {mount.path}/services/web/proxy").returncode == 0
        assert mount.read("services/web/proxy") == ""
    assert "\nproxy" not in state.read_text()
    assert run("sh", "-c", f"rm -r {mount.path}/services/web") == ""


class Front(Server):
    """HTTP behind a PROXY header: each answer says who the connection's client is, and which of its requests this is."""

    def serve(self, connection):
        with connection:
            client, count = parsed(connection), 0
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    if not (byte := connection.recv(1)):
                        return
                    head += byte
                count += 1
                body = f"{client}#{count}".encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def asks(client):
    client.sendall(b"GET / HTTP/1.1\r\nHost: app.tun.example.com\r\n\r\n")
    head = read_head(client)
    assert status(head) == 200, head
    who, count = hear_exactly(client, int(re.search(rb"Content-Length: (\d+)", head)[1])).decode().split("#")
    return who, int(count)


def test_no_client_of_a_gate_gets_the_connection_of_another(world):
    router = world.router("--domain", "tun.example.com")
    gate = world.add(Gate(world.directory, router.address))
    mount = world.mount(router, name="A")
    mount.service("web", world.target(Front).address)
    mount.write("services/web/http", "app\n")
    mount.write("services/web/proxy", "v2\n")

    def knows():
        with gate.dial() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: app.tun.example.com\r\nConnection: close\r\n\r\n")
            return b"TCP4 127.0.0.1 127.0.0.1" in b"".join(iter(lambda: client.recv(1 << 16), b""))

    eventually(knows, what="the gate knows that connections are not shared")
    clients = [gate.dial() for _ in range(3)]
    for round_ in range(1, 4):
        for client in clients:
            assert asks(client) == (f"TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {gate.port}", round_)
    for client in clients:
        client.close()


class Vault(Server):
    """TLS behind a PROXY header: says who the client is."""

    def __init__(self, *files):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files)
        super().__init__()

    def serve(self, connection):
        client = parsed(connection)
        with self.context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(client.encode())


def test_tls_that_passes_unread_comes_behind_the_header(world):
    authority, certs = Authority(world.directory / "authority"), world.directory / "certs"
    chain, key = authority.make("app.tun.example.com")
    put(certs / "app.pem", key + chain)
    files = world.directory / "vault.crt", world.directory / "vault.key"
    for path, text in zip(files, authority.make("vault.tun.example.com")):
        path.write_text(text)
    router = world.router("--domain", "tun.example.com")
    gate = world.add(Gate(world.directory, router.address, "--https", "127.0.0.1:0", "--certs", certs))
    mount = world.mount(router, name="A")
    mount.service("vault", world.target(Vault, *files).address)
    mount.write("services/vault/proxy", "v1\n")
    mount.write("services/vault/tls", "vault\n")
    context = ssl.create_default_context(cafile=authority.path)

    def says():
        try:
            with socket.create_connection(("127.0.0.1", gate.https_port), 30) as plain, context.wrap_socket(plain, server_hostname="vault.tun.example.com") as client:
                return client.recv(200).decode() == f"PROXY TCP4 127.0.0.1 127.0.0.1 {client.getsockname()[1]} {gate.https_port}"
        except OSError:
            return False

    eventually(says, what="the target knows its client")
