"""A gate from its beginning to its end: before it has heard of its router, and while others take its place."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import threading

import pytest

from harness import BUILD, PATIENCE, Program, Server, bash, eventually, free_port, hear_exactly, run_any
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


# --- a gate that mmrouter runs ---


class Gated:
    """A router with a gate of its own, at fixed ports: another one may take its place."""

    def __init__(self, world, *options, http=None):
        self.world, self.options = world, options
        self.http, self.listen = http or free_port(), f"127.0.0.1:{free_port()}"
        self.start()
        world.add(self)

    def close(self):
        """What a test that failed has left."""
        if not self.router.alive():
            for pid in self.gates():
                os.kill(pid, signal.SIGKILL)

    def start(self):
        self.router = self.world.router(*NAMES, "--http", f"127.0.0.1:{self.http}", *self.options, listen=self.listen)
        self.listens()
        return self.router

    def listens(self, count=1):
        eventually(lambda: self.router.text().count("mmgate: listening on") >= count, what="its gate listens")

    def gates(self):
        """The processes, also of routers that are gone."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and f"127.0.0.1:{self.http}".encode() in (entry / "cmdline").read_bytes().split(b"\0") \
                        and (entry / "exe").readlink().name == "mmgate":
                    found.append(int(entry.name))
        return found

    def alone(self, *former):
        """The one that runs, when the former ones have ended."""
        def one():
            found = self.gates()
            return len(found) == 1 and found[0] not in former and found[0]
        return eventually(one, what=f"one gate runs, and not {former}")

    def says(self, data):
        with socket.create_connection(("127.0.0.1", self.http), PATIENCE) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(1 << 16), b""))

    def serves(self, code=200, host="app.test"):
        eventually(lambda: status(self.says(request("/plain", host=host))) == code, what=f"{host} answers {code}")


def test_one_command_is_a_router_and_a_gate(world, origin):
    """It serves, is started again when it is killed, with a sentence in the log, and ends with its router, which leaves nothing."""
    gated = Gated(world)
    shares(world, gated.router, origin)
    gated.serves()
    text = gated.router.text()
    assert re.search(r"mmgate: listening on 127.0.0.1:\d+", text)
    first = gated.alone()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: "the gate was ended by signal 9, and is started again" in gated.router.text(), what="the log tells")
    gated.listens(2)
    gated.serves()
    gated.alone(first)
    gated.router.process.send_signal(signal.SIGTERM)
    assert gated.router.process.wait(PATIENCE) == 0
    eventually(lambda: not gated.gates(), what="the gate has ended")


def test_a_download_survives_its_router_and_the_gate_of_the_next_one_takes_over(world, origin):
    """The router is killed, not its gate: what runs goes on, visitors still come, and when the next router is there, its gate
    listens in place of the former, which ends with its last visitor. Nobody is refused meanwhile."""
    gated = Gated(world)
    mount, size = shares(world, gated.router, origin), 8 << 20
    gated.serves()
    origin.go_on, origin.held = threading.Event(), None
    with socket.create_connection(("127.0.0.1", gated.http), 60) as client:
        client.sendall(request("/unread", host="app.test"))
        connection, _ = eventually(lambda: origin.held, what="the request came")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"a" * (size // 2))
        read_head(client)
        former = gated.alone()
        gated.router.kill()
        assert status(gated.says(request("/plain", host="none.test"))) == 404, "visitors are still heard"
        assert gated.gates() == [former]
        late = socket.create_connection(("127.0.0.1", gated.http), 60)  # to the former, and answered by it
        gated.start()
        connection.sendall(b"b" * (size // 2))
        assert hear_exactly(client, size) == b"a" * (size // 2) + b"b" * (size // 2)
        with late:
            late.sendall(request("/plain", host="app.test"))
            assert status(read_head(late)) == 200
    origin.go_on.set()
    gated.alone(former)
    mount.connected()
    gated.serves()


def test_the_key_is_handed_to_the_gate_and_renewed(world, directory, origin):
    key = directory / "key"
    key.write_text("first-secret\n")
    key.chmod(0o600)
    gated = Gated(world, "--key", key)
    mount = world.mount(gated.router, f"key={key}")
    mount.service("app", origin.address)
    mount.write("services/app/http", "app.test\n")
    gated.serves()
    first = gated.alone()
    for entry in "cmdline", "environ":
        assert b"first-secret" not in pathlib.Path(f"/proc/{first}/{entry}").read_bytes()
    key.write_text("second-secret\n")
    gated.router.process.send_signal(signal.SIGHUP)
    gated.listens(2)
    gated.alone(first)
    gated.serves()


def test_a_gate_that_is_not_let_in_makes_way(world, directory):
    """The next router has another key: the gate of the former one cannot do anything any more."""
    keys = [directory / "key1", directory / "key2"]
    for key in keys:
        key.write_text(f"secret of {key.name}\n")
        key.chmod(0o600)
    gated = Gated(world, "--key", keys[0])
    former = gated.alone()
    eventually(lambda: status(gated.says(request(host="none.test"))) == 404, what="the gate has the list of routes")
    gated.router.kill()
    gated.options = "--key", keys[1]
    gated.start()
    gated.alone(former)


@pytest.mark.parametrize("chain", [["own.pem"], ["leaf.pem"], ["leaf.pem", "ca.pem"]], ids=["own", "leaf", "chain"])
def test_a_router_with_tls(world, directory, chain):
    """Its gate reaches it on this machine, and asks for its own certificate."""
    done = bash(f"""set -e; cd {directory}; new="openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"; name=subjectAltName=DNS:*.router.test
        $new -x509 -subj /CN=ca -days 2 -keyout ca.key -out ca.pem
        $new -x509 -subj /CN=x -addext $name -days 2 -keyout own.key -out own.pem
        $new -subj /CN=router -addext $name -keyout leaf.key -out leaf.csr
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -copy_extensions copyall -days 2 -out leaf.pem""")
    assert done.returncode == 0, done
    (directory / "chain.pem").write_text("".join((directory / name).read_text() for name in chain))
    key = directory / (chain[0][:-4] + ".key")
    gated = Gated(world, "--tls-cert", directory / "chain.pem", "--tls-key", key)
    eventually(lambda: status(gated.says(request("/plain", host="none.test"))) == 404, what="the gate has the list of routes")


@pytest.mark.parametrize("options, sentence", [
    (["--http", "0"], "--domain"), (["--public", "https"], "--http"), (["--http", "no where", "--domain", "a.example"], "mmgate: --http")],
    ids=["domain", "public", "address"])
def test_what_the_command_line_of_both_refuses(options, sentence):
    done = run_any(BUILD / "mmrouter", "--listen", "127.0.0.1:0", *options)
    assert done.returncode == 2 and sentence in done.stderr, done


def test_a_port_that_somebody_else_has(world):
    with contextlib.closing(Server()) as server:
        done = run_any(BUILD / "mmrouter", "--listen", "127.0.0.1:0", "--domain", "a.example", "--http", server.address)
    assert done.returncode == 1 and "in use" in done.stderr, done


def test_without_mmgate(directory):
    shutil.copy(BUILD / "mmrouter", directory / "mmrouter")
    done = run_any(directory / "mmrouter", "--listen", "127.0.0.1:0", "--domain", "a.example", "--http", "0", env={**os.environ, "PATH": "/nowhere"})
    assert done.returncode != 0 and "there is no mmgate beside mmrouter, nor in PATH" in done.stderr, done
