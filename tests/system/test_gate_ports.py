"""Public TCP ports: the router grants them, gates listen on them, and what comes there is a service's."""
import errno
import os
import re
import signal
import socket

import pytest

from harness import BUILD, Echo, bash, eventually, free_port, hear_exactly
from mmgate import Gate
from test_proxy_headers import Told, told

DOMAIN = "tun.example.com"


def free_range(count):
    """The first of so many ports on which nobody listens."""
    while True:
        first = free_port()
        with_all = []
        try:
            for port in range(first, first + count):
                with_all.append(socket.create_server(("127.0.0.1", port)))
            return first
        except (OSError, OverflowError):
            pass
        finally:
            for listener in with_all:
                listener.close()


@pytest.fixture
def first():
    return free_range(3)


@pytest.fixture
def router(world, first):
    return world.router("--domain", DOMAIN, "--ports", f"{first}-{first + 2}")


def owner(world, router, name="A", options=""):
    mount = world.mount(router.address, options, name=name)
    mount.service(f"ssh-{name.lower()}", world.target(Echo).address)
    return mount


def echoes(port, text=b"hello"):
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(text)
        return hear_exactly(client, len(text)) == text


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 30).close()
        return False
    except ConnectionRefusedError:
        return True


def serves(port):
    eventually(lambda: not refused(port), what=f"port {port} is served")
    assert echoes(port)


def test_a_port_is_handed_out(world, router, first):
    gate = world.add(Gate(world.directory, router.address))
    mount = owner(world, router)
    assert mount.read("services/ssh-a/port") == ""
    done = bash(f"cd {mount.path}/services/ssh-a && echo {first + 1} > port && cat port url && ls ../../public")
    assert done.stdout.splitlines() == [str(first + 1), f"tcp://{DOMAIN}:{first + 1}", f"{DOMAIN}:{first + 1}"], done
    serves(first + 1)
    with socket.create_connection(("127.0.0.1", first + 1), 30) as client:
        client.sendall(b"before")
        assert hear_exactly(client, 6) == b"before"
        mount.write("services/ssh-a/port", f"{first + 2}\n")
        assert mount.read("services/ssh-a/url") == f"tcp://{DOMAIN}:{first + 2}\n"
        serves(first + 2)
        eventually(lambda: refused(first + 1), what="the former port is closed")
        client.sendall(b"after")
        assert hear_exactly(client, 5) == b"after", "a connection outlives its port"
    assert bash(f"rm -r {mount.path}/services/ssh-a").returncode == 0
    eventually(lambda: refused(first + 2), what="the port goes with the service")
    assert mount.listing("public") == [] and f"port {first + 2} of service ssh-a: closed" in gate.text()


def test_what_is_refused(world, router, first):
    a, b = owner(world, router), owner(world, router, "B")
    for text in ("-1", "65536", "ssh", "22x", "022", f":{first}", f"{first} {first}"):
        a.refuses(errno.EINVAL, "services/ssh-a/port", f"{text}\n")
    a.refuses(errno.EACCES, "services/ssh-a/port", f"{first + 3}\n")
    assert "--ports" in a.errors()[-1]
    a.write("services/ssh-a/port", f"{first}\n")
    b.refuses(errno.EEXIST, "services/ssh-b/port", f"{first}\n")
    assert "another identity has that port" in b.errors()[-1]
    chosen = []
    for mount, service in (a, "ssh-a"), (b, "ssh-b"):
        mount.write(f"services/{service}/port", "0\n", os.O_APPEND)
        chosen.append(int(mount.read(f"services/{service}/port").split()[-1]))
    assert sorted([first, *chosen]) == [first, first + 1, first + 2]
    b.refuses(errno.ENOSPC, "services/ssh-b/port", "0\n", os.O_APPEND)
    assert a.read("services/ssh-a/url") == "", "no gate serves ports"
    b.write("services/ssh-b/http", "app\n")
    b.refuses(errno.EINVAL, "services/ssh-b/http", f":{first}\n")
    assert b.listing("public") == sorted([f"app.{DOMAIN}", f"{DOMAIN}:{chosen[1]}"])


def test_a_router_without_ports(world):
    mount = owner(world, world.router("--domain", DOMAIN))
    for text in "2222", "0":
        mount.refuses(errno.EACCES, "services/ssh-a/port", f"{text}\n")
        assert "this router has no public ports" in mount.errors()[-1]
    for options, why in (("--ports", "20000"), "--ports needs --domain"), (("--ports", "9-8", "--domain", DOMAIN), "--ports cannot be 9-8"):
        done = bash(f"{BUILD}/mmrouter {' '.join(options)}")
        assert done.returncode == 2 and why in done.stderr, done


def test_a_chosen_port_stays_after_all_restarts(world, router, first):
    state = world.directory / "state"
    gate = world.add(Gate(world.directory, router.address))
    mount = owner(world, router, options=f"state={state},identity={world.directory}/identity")
    mount.write("services/ssh-a/port", "0\n")
    port = int(mount.read("services/ssh-a/port"))
    serves(port)
    eventually(lambda: f"port ssh-a {port}\n" in state.read_text(), what="the port is kept, not the 0")
    mount.finish()
    eventually(lambda: refused(port), what="nobody has it")
    mount = world.mount(router.address, f"state={state},identity={world.directory}/identity", name="A")
    serves(port)
    router.kill()
    router = world.router("--domain", DOMAIN, "--ports", f"{first}-{first + 2}", listen=router.address)
    mount.connected()
    eventually(lambda: mount.read("services/ssh-a/url") == f"tcp://{DOMAIN}:{port}\n", what="the router grants it again")
    serves(port)
    gate.kill()
    eventually(lambda: mount.read("services/ssh-a/url") == "", what="no gate serves it")


def test_a_gate_that_cannot_listen_says_so_and_tries_again(world, router, first):
    gate = world.add(Gate(world.directory, router.address))
    mount = owner(world, router)
    with socket.create_server(("127.0.0.1", first)):
        mount.write("services/ssh-a/port", f"{first}\n")
        eventually(lambda: re.search(rf"port {first} of service ssh-a: cannot be listened on.*in use", gate.text()), what="the gate says why")
    eventually(lambda: f"port {first} of service ssh-a: listening" in gate.text(), what="it listens")
    serves(first)


def test_the_target_knows_who_came_by_the_port(world, router, first):
    world.add(Gate(world.directory, router.address))
    mount = world.mount(router.address, name="A")
    mount.service("web", world.target(Told).address)
    mount.write("services/web/proxy", "v2\n")
    mount.write("services/web/port", f"{first}\n")
    eventually(lambda: not refused(first), what="it is served")
    line, name = told(("127.0.0.1", first))
    assert line == f"TCP4 127.0.0.1 127.0.0.1 {name[1]} {first}"


def test_a_gate_that_ends_finishes_what_runs(world, router, first):
    gate, mount = world.add(Gate(world.directory, router.address)), owner(world, router)
    mount.write("services/ssh-a/port", f"{first}\n")
    serves(first)
    with socket.create_connection(("127.0.0.1", first), 30) as client:
        client.sendall(b"one")
        assert hear_exactly(client, 3) == b"one"
        gate.process.send_signal(signal.SIGTERM)
        eventually(lambda: refused(first), what="it does not accept any more")
        client.sendall(b"two")
        assert hear_exactly(client, 3) == b"two" and gate.alive()
    eventually(lambda: not gate.alive(), what="the gate ends")
    assert gate.process.returncode == 0
