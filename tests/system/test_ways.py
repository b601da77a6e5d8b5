"""The way to the router: a name with addresses that lead nowhere, and proxies."""
import base64
import contextlib
import socket
import threading

from harness import Echo, Server, eventually, exchange, run
from isolated import Nameserver, isolated, swallow

DEAD = "2001:db8::9", "2001:db8::a", "198.51.100.9"


def certificate(directory, *names):
    """For these names, and its own authority. Options for the router."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=r",
        "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names), "-keyout", directory / "tls.key",
        "-out", directory / "tls.pem")
    return "--tls-cert", directory / "tls.pem", "--tls-key", directory / "tls.key", "--open"


@isolated
def test_a_router_with_dead_addresses(world):
    """Most of its addresses swallow every packet; the one that answers is another one later. The certificate is the name's."""
    swallow(*DEAD)
    run("ip", "address", "add", "198.51.100.2/32", "dev", "lo")
    nameserver = Nameserver(world.directory, {"router.test": [*DEAD, "198.51.100.1"], "other.test": [*DEAD, "198.51.100.1"]})
    options = certificate(world.directory, "router.test")
    router = world.router(*options, listen="198.51.100.1:0")
    mount = world.mount(f"router.test:{router.port}", f"cafile={world.directory}/tls.pem", name="A")
    mount.service("web", world.target(Echo).address)
    assert exchange(mount.forward("web"), b"x" * 1000) == b"x" * 1000

    other = world.mount(f"other.test:{router.port}", f"cafile={world.directory}/tls.pem", name="B", wait="mounted")
    eventually(lambda: "certificate" in other.read("events"), what="the certificate is not for that name")

    nameserver.names["router.test"] = [*DEAD, "198.51.100.2"]
    router.kill()
    world.router(*options, listen=f"198.51.100.2:{router.port}")
    eventually(lambda: int(mount.values("status")["connects"]) == 2, what="connected at its new address")


@isolated
def test_each_address_that_fails_is_told(world):
    swallow()
    Nameserver(world.directory, {"gone.test": ["2001:db8:1::1", "198.51.100.1"]})
    mount = world.mount("gone.test:7000", "insecure", name="A", wait="mounted")
    causes = ["Network is unreachable (2001:db8:1::1)", "Connection refused (198.51.100.1)"]
    said = [f"cannot reach gone.test:7000: {', '.join(order)}" for order in (causes, causes[::-1])]
    eventually(lambda: any(sentence in mount.read("events") for sentence in said), what="both causes are told")


class Proxy(Server):
    """Passes connections on, if it is so minded. It knows where names are which no nameserver knows."""

    def __init__(self, names):
        self.names, self.asked, self.refuses = names, [], False
        super().__init__(start=False)
        self.listener.close()
        self.listener = socket.create_server(("", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def serve(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        self.asked.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        if self.refuses:
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            connection.close()
            return
        far = socket.create_connection((self.names[host], int(port)))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=self.copy, args=(far, connection), daemon=True).start()
        self.copy(connection, far)

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@isolated
def test_proxies(world):
    """A proxy that the environment names is used, and looks the router up by itself; its own dead addresses do no harm. One that
    refuses is told, and no_proxy helps."""
    swallow(*DEAD)
    nameserver = Nameserver(world.directory, {"proxy.test": [*DEAD, "198.51.100.1"], "near.test": ["198.51.100.1"]})
    options = certificate(world.directory, "far.test", "near.test")
    router = world.router(*options, listen="198.51.100.1:0")
    proxy = world.target(Proxy, {"far.test": "198.51.100.1"})
    environment = {"http_proxy": f"http://user:p%40ss@proxy.test:{proxy.port}", "no_proxy": "near.test,10.0.0.0/8"}
    trusting = f"cafile={world.directory}/tls.pem"

    far = world.mount(f"far.test:{router.port}", trusting, name="far", env=environment)
    far.service("web", world.target(Echo).address)
    assert exchange(far.forward("web"), b"x" * 1000) == b"x" * 1000
    assert proxy.asked[0].startswith(f"CONNECT far.test:{router.port} ")
    assert base64.b64encode(b"user:p@ss").decode() in proxy.asked[0]
    assert "far.test" not in nameserver.asked

    asked, proxy.refuses = len(proxy.asked), True
    near = world.mount(f"near.test:{router.port}", trusting, name="near", env=environment)
    near.sees("web")
    assert len(proxy.asked) == asked, "it is not for that one"

    cut_off = world.mount(f"far.test:{router.port}", trusting, name="off", env=environment, wait="mounted")
    said = f"the proxy proxy.test:{proxy.port} (from http_proxy) refuses to connect to far.test:{router.port} (HTTP 403)"
    eventually(lambda: said in cut_off.read("events"), what="the refusal is told")
    assert "p@ss" not in cut_off.text() and "p%40ss" not in cut_off.text()
