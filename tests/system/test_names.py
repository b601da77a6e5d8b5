"""Targets that cannot be looked up, and what goes on meanwhile."""
import contextlib
import socket

from harness import SANITIZED, Echo, eventually
from isolated import Nameserver, hung, isolated


def hangs(client):
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return client.recv(1) is None
    return True


def echoes(port):
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


@isolated
def test_what_hangs_keeps_nobody_waiting(world):
    """Names whose nameserver is silent, paths on a file system that does not answer: more of each than there are threads for
    anything. Beside them other services, look-ups, listeners and the state file go on as ever."""
    nameserver = Nameserver(world.directory, {"good.test": ["127.0.0.1"]})
    echo = world.target(Echo)
    state = world.directory / "state"
    mount = world.mount(world.router(), f"state={state}", name="A")
    with hung(world.directory / "hung") as stuck:
        targets = [f"silent{i}.test:80" for i in range(4)] + [f"unix:{stuck}/{i}" for i in range(5)]
        clients = []
        for number, target in enumerate(targets):
            mount.service(f"s{number}", target)
            port = mount.forward(f"s{number}")
            clients += [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        eventually(lambda: {f"silent{i}.test" for i in range(4)} <= set(nameserver.asked), what="the silent names are asked for")
        for host in ("localhost", "there.localhost", "good.test"):
            name = host.replace(".", "-")
            mount.service(name, f"{host}:{echo.port}")
            echoes(mount.forward(name, "localhost:0"))
            mount.write(f"forwards/{name}", f"unix:{world.directory}/{name}.socket\n")
        assert f"service good-test good.test:{echo.port}" in state.read_text()
        assert all(hangs(client) for client in clients), "all of this was meanwhile"
        for client in clients:
            client.close()
        if not SANITIZED:  # which stops every thread to look for leaks, and waits for those that hang
            mount.stop()
    mount.stop()
    assert "some parts did not stop" not in mount.text()
