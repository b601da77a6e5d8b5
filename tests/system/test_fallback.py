"""Where a front passes HTTP/2 only, connections go by gRPC, also to mounts that have raw streams, and none fails for it."""
import contextlib

import pytest

from harness import Echo, dial, eventually, hear_exactly
from test_fronts import Front

CONNECTIONS = 60


@contextlib.contextmanager
def all_answered(port):
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial(port)) for _ in range(CONNECTIONS)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%05d" % number)
        for number, connection in enumerate(connections):
            assert hear_exactly(connection, 5) == b"%05d" % number
        yield


@pytest.mark.parametrize("kind, behind", [("haproxy", "forward"), ("haproxy", "service"), ("haproxy", "both"), ("nghttpx", "both")])
def test_many_connections(world, router, kind, behind):
    front = world.add(Front(world.directory, kind, router))
    eventually(front.listens)
    near = world.mount(router if behind == "service" else front)
    far = world.mount(router if behind == "forward" else front)
    far.service("echo", world.target(Echo).address)
    port = near.forward("echo")
    with all_answered(port):
        assert near.values("status")["live"] == far.values("status")["live"] == str(CONNECTIONS)
        assert {connection["stream"] for mount in (near, far) for connection in mount.connections()} == {"grpc"}
    for mount, is_behind in ((near, behind != "service"), (far, behind != "forward")):
        status = mount.values("status")
        assert status["failed"] == "0" and mount.errors() == []
        assert status["streams"].startswith("grpc (") if is_behind else status["streams"] == "raw"
