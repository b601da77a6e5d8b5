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
