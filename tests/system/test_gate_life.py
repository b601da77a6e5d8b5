"""A gate from its beginning to its end: before it has heard of its router, and while others take its place."""
import re
import signal
import socket
import threading
import time

import pytest

from harness import BUILD, PATIENCE, Program, eventually, free_port, hear_exactly
from mmgate import Gate, read_head, request, status
from origin import Origin

NAMES = ("--domain", "tun.example.com", "--own-domains", "*.test")


@pytest.fixture
def origin(world):
    return world.target(Origin)


def shares(world, router, origin, name="app"):
    mount = world.mount(router)
    mount.service(name, origin.address)
    mount.write(f"services/{name}/http", f"{name}.test\n")
    eventually(lambda: mount.read(f"services/{name}/http"), what="the name is granted")
    return mount


def test_requests_wait_for_the_first_routes(world, directory, origin):
    """Whoever comes before the gate has reached its router is not told that nobody is there: with a body and without, several at
    once."""
    router, port = world.router(*NAMES), free_port()
    shares(world, router, origin)
    gate = world.add(Gate(directory, f"127.0.0.1:{port}"))
    clients = [gate.dial() for _ in range(4)]
    body = b"x" * 100000
    for client in clients[:2]:
        client.sendall(request("/plain", host="app.test"))
    clients[2].sendall(request("/plain", host="nobody.test") + request("/plain", host="app.test"))
    clients[3].sendall(request(method="POST", host="app.test", fields=f"Content-Length: {len(body)}\r\n", body=body))
    clients[1].close()
    way = world.add(Program(directory, "socat", ["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", f"TCP:{router.address}"]))
    way.expected_exit = 128 + signal.SIGTERM
    assert status(read_head(clients[0])) == 200 and hear_exactly(clients[0], 6) == b"hello\n"
    head = read_head(clients[2])
    assert status(head) == 404
    hear_exactly(clients[2], int(re.search(rb"Content-Length: (\d+)", head)[1]))
    assert status(read_head(clients[2])) == 200
    assert status(read_head(clients[3])) == 200
    assert [len(sent) for head, sent in origin.requests if head.startswith(b"POST")] == [len(body)]


def test_requests_wait_for_so_long_only(world, directory):
    gate = world.add(Gate(directory, f"127.0.0.1:{free_port()}"))
    answer = gate.says(request("/plain"))
    assert status(answer) == 503 and b"Retry-After" in answer


class Visitors:
    """Connect all the time, and keep some connections: none may fail."""

    def __init__(self, port, host="app.test"):
        self.port, self.host, self.ends, self.troubles, self.answers = port, host, False, [], 0
        self.threads = [threading.Thread(target=self.visit, args=(count,), daemon=True) for count in (1, 1, 3)]
        for thread in self.threads:
            thread.start()

    def visit(self, requests):
        while not self.ends and not self.troubles:
            try:
                with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
                    for _ in range(requests):
                        client.sendall(request("/plain", host=self.host))
                        head = read_head(client)
                        assert status(head) == 200, head
                        hear_exactly(client, 6)
                        self.answers += 1
                        if b"Connection: close" in head:
                            break
            except (OSError, AssertionError) as trouble:
                self.troubles.append(trouble)

    def more(self, count=20):
        """They have had so many answers since."""
        before = self.answers
        eventually(lambda: self.troubles or self.answers >= before + count, what="visitors are served")
        assert not self.troubles, self.troubles

    def end(self):
        self.ends = True
        for thread in self.threads:
            thread.join()
        assert not self.troubles, self.troubles


@pytest.mark.parametrize("given", [False, True], ids=["shared", "given"])
def test_gates_are_replaced_under_load(world, directory, origin, given):
    """Five times another gate takes over: it listens at the same port, or has the same socket from whoever started both, and the
    former is told to end. Nobody is refused, reset or told 503."""
    router = world.router(*NAMES)
    shares(world, router, origin)
    with socket.create_server(("127.0.0.1", 0 if given else free_port()), backlog=1024) as listener:
        port = listener.getsockname()[1]
        if not given:
            listener.close()

        def gate(number):
            if given:
                return world.add(GivenGate(directory, router.address, listener, name=f"gate{number}"))
            return world.add(Gate(directory, router.address, "--http", f"127.0.0.1:{port}", name=f"gate{number}"))

        gates = [gate(0)]
        visitors = Visitors(port)
        visitors.more()
        for number in range(1, 6):
            gates.append(gate(number))
            visitors.more()
            gates[-2].process.send_signal(signal.SIGTERM)
            visitors.more()
            assert gates[-2].process.wait(PATIENCE) == 0
        visitors.more()
        visitors.end()
        if not given:
            assert "another process listens there, too" in gates[1].text() and "another process" not in gates[0].text()


class GivenGate(Gate):
    """Its socket is opened by another one, as systemd does it."""

    def __init__(self, directory, router, listener, name):
        script = f"exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {BUILD}/mmgate {router}"
        Program.__init__(self, directory, name, ["bash", "-c", script], pass_fds=[listener.fileno()])
        self.port = int(eventually(lambda: re.search(r"listening on \S+:(\d+)", self.text()), what="the gate listens")[1])


def test_what_was_given_must_listen(world, directory):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        script = f"exec 3<&{deaf.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec {BUILD}/mmgate 127.0.0.1:{free_port()}"
        program = world.add(Program(directory, "deaf", ["bash", "-c", script], pass_fds=[deaf.fileno()]))
        program.expected_exit = program.process.wait(PATIENCE)
        assert program.expected_exit != 0 and "does not listen" in program.text()
