"""Where a router takes raw streams: by the one port, or by a second one, as where gRPC cannot be handed what comes by the first."""
import os
import signal
import socket

import pytest

from harness import BUILD, PATIENCE, Silent, ends_somehow, eventually, run_any, settled, with_library
from preambles import MAGIC
from test_fronts import Front
from test_raw import go_by, streams
from test_reload import make_pair
from test_stalls import Link
from test_survival import detached, goes_on, speak

STREAMS = ("--streams", "127.0.0.1:0")
LISTENS_ITSELF = "this gRPC takes no connections from others, so that it listens by itself"


@pytest.fixture
def another_grpc(world):
    """One that takes no connections which others have accepted, as the router finds out when it starts."""
    return {"env": with_library("another_grpc", world.directory)}


def pair(world, at):
    return [world.mount(at, name=name) for name in "AB"]


def streams_port(router):
    return int(router.text().split("listening for raw streams on 127.0.0.1:")[1].split()[0])


def test_without_a_second_port_they_go_by_grpc(world, another_grpc):
    router = world.router(**another_grpc)
    assert f"{LISTENS_ITSELF}: raw streams need --streams\n" in router.text()
    a, b = pair(world, router)
    assert streams(a) == streams(b) == "grpc (the router takes no raw streams)"
    near, far = Link(world, a, b).ends("up")
    speak(near, far)
    go_by("grpc", a, b)
    goes_on(near, far, a, b)


def test_tls_needs_no_second_port(world, directory, another_grpc):
    make_pair(directory, "router")
    router = world.router("--tls-cert", directory / "router.pem", "--tls-key", directory / "router.key", **another_grpc)
    assert f"{LISTENS_ITSELF}\n" in router.text()
    a, b = (world.mount(f"localhost:{router.port}", f"cafile={directory}/router.pem", name=name) for name in "AB")
    assert streams(a) == streams(b) == "grpc (TLS)"
    near, far = Link(world, a, b).ends("up")
    goes_on(near, far, a, b)


def test_with_a_second_port_they_go_by_raw_streams(world, another_grpc):
    """Also by those of a router that comes after it, while it still ends, and after it was killed."""
    router = world.router(*STREAMS, **another_grpc)
    assert f"{LISTENS_ITSELF}\n" in router.text()
    a, b = pair(world, router)
    near, far = Link(world, a, b).ends("up")
    speak(near, far)
    go_by("raw", a, b)
    former, at = router, ("--streams", f"127.0.0.1:{streams_port(router)}")
    router.process.send_signal(signal.SIGTERM)
    router = eventually(lambda: world.router(*at, listen=former.address, **another_grpc), what="a successor has both addresses")
    speak(near, far)
    assert former.process.wait(PATIENCE) == 0
    router.kill()
    detached(a, b)
    world.router(*at, listen=former.address, **another_grpc)
    speak(near, far)
    go_by("raw", a, b)
    goes_on(near, far, a, b)
    settled(a, b)


def test_a_second_port_beside_a_front_that_passes_http_2_only(world):
    """Which is on the same host, where the mounts then look for it."""
    router = world.router(*STREAMS)
    assert LISTENS_ITSELF not in router.text()
    front = world.add(Front(world.directory, "haproxy", router))
    eventually(front.listens)
    a, b = pair(world, front)
    near, far = Link(world, a, b).ends("up")
    speak(near, far)
    go_by("raw", a, b)
    goes_on(near, far, a, b)


def ended(*options, **more):
    done = run_any(BUILD / "mmrouter", *options, **more)
    return done.returncode, (done.stdout + done.stderr).split("mmrouter: ", 1)[1].strip()


@pytest.mark.parametrize("option", ["--streams", "--listen"])
def test_a_port_that_is_taken(world, another_grpc, option):
    """Whoever listens there, the router or gRPC. The service manager is to try again."""
    taken = world.target(Silent).address
    other = {"--streams": "--listen", "--listen": "--streams"}[option]
    for env in {}, another_grpc["env"]:
        assert ended(option, taken, other, "127.0.0.1:0", env={**os.environ, **env}) == (1, f"cannot listen on {taken}: Address already in use")


def test_addresses_that_nobody_has():
    assert ended("--streams", "nowhere.invalid:1", "--listen", "127.0.0.1:0")[1] == "cannot listen on nowhere.invalid:1: the host name does not resolve"
    assert ended("--streams", "192.0.2.1:1", "--listen", "127.0.0.1:0")[1] == "cannot listen on 192.0.2.1:1: Cannot assign requested address"
    assert ended("--streams", "nonsense") == (2, "--streams takes HOST:PORT or [V6]:PORT, not nonsense; all addresses are [::]:PORT")
    assert ended("--streams", "127.0.0.1:1", "--listen", "127.0.0.1:1") == (
        2, "127.0.0.1:1 is where the router listens; without --streams it takes raw streams there, too")


@pytest.mark.parametrize("said", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", MAGIC[:-1] + b"?"])
def test_the_second_port_is_for_raw_streams_only(world, said):
    router = world.router(*STREAMS)
    with socket.create_connection(("127.0.0.1", streams_port(router)), PATIENCE) as stranger:
        stranger.sendall(said)
        ends_somehow(stranger)
