"""Several services behind one name: who gets a request, and what becomes of it when a target is killed, hangs, or comes back."""
import collections
import hashlib
import http.client
import os
import re
import signal
import threading

from harness import Program, eventually, free_port, reset
from mmgate import Gate, read_head, request, status
from origin import Origin

NAMES = ("--domain", "tun.example.com", "--own-domains", "*.test")
HOST = "app.test"

TARGET = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
with Server(("127.0.0.1", int(sys.argv[2])), Handler) as server:
    print("listens", flush=True)
    server.serve_forever()
"""


class Target(Program):
    """A web server as a process, which can be killed, and started again at its port."""

    def __init__(self, world, name, port):
        super().__init__(world.directory, f"target-{name}-{len(world.programs)}", ["/usr/bin/python3", "-c", TARGET, name, port])
        self.port, self.expected_exit = port, -signal.SIGTERM
        eventually(lambda: "listens" in self.text(), what="the target listens")


class Named(Origin):
    """Answers with its name; it may hang, and it may stream."""

    def __init__(self, name):
        self.name, self.hangs, self.freed, self.streams = name, False, threading.Event(), 0
        super().__init__()

    def answer(self, connection, lines, path, head, body):
        if path == "/stream":
            self.streams += 1
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Name: " + self.name.encode() + b"\r\n\r\n")
            try:
                lines.read()
            finally:
                self.streams -= 1
            return False
        if self.hangs:
            self.freed.wait(60)
        said = f"{self.name} {hashlib.sha256(body).hexdigest()}".encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        return True


def shared(world, targets, names=NAMES):
    """A router, a mount where each of the targets is a service of the same host, and a gate that knows them all."""
    router = world.router(*names)
    mount = world.mount(router)
    for service, address in targets.items():
        mount.service(service, address)
        mount.write(f"services/{service}/http", f"{HOST}\n")
    gate = world.add(Gate(world.directory, router.address, "-o", "dial_timeout=5"))
    return mount, gate


def asks(gate, path="/", method="GET", body=None, timeout=30):
    """The status, and the body."""
    client = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=timeout)
    try:
        client.request(method, path, body=body, headers={"Host": HOST})
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    finally:
        client.close()


class Load:
    """Clients that ask and ask, each on a connection of its own. `seen`: how often each answer came."""

    def __init__(self, gate, clients=6):
        self.gate, self.seen, self.troubles, self.over = gate, collections.Counter(), [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=60)
        while not self.over.is_set():
            try:
                client.request("GET", "/", headers={"Host": HOST})
                answer = client.getresponse()
                body = answer.read().decode()
                if answer.status == 200:
                    self.seen[body] += 1
                else:
                    self.troubles.append((answer.status, body))
            except OSError as trouble:
                self.troubles.append(trouble)
                client.close()
        client.close()

    def more(self, name, count=60):
        goal = self.seen[name] + count
        eventually(lambda: self.seen[name] >= goal, what=f"{name} answers {count} more: {self.seen}, {self.troubles[:3]}")

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_a_target_is_killed_under_load_and_comes_back(world):
    """No GET fails; the killed one gets nothing more; and it gets its share again, without anybody's doing."""
    ports = {"one": free_port(), "two": free_port()}
    targets = {name: world.add(Target(world, name, port)) for name, port in ports.items()}
    mount, gate = shared(world, {name: f"127.0.0.1:{port}" for name, port in ports.items()})
    eventually(lambda: {asks(gate) for _ in range(20)} == {(200, "one"), (200, "two")}, what="both answer")
    load = Load(gate)
    load.more("one")
    load.more("two")
    targets["one"].kill()
    load.more("two", 300)
    before = load.seen["one"]
    load.more("two", 300)
    assert load.seen["one"] == before, "nothing comes of a target that is not there"
    world.add(Target(world, "one", ports["one"]))
    load.more("one")
    load.stop()
    assert load.troubles == [] and set(load.seen) == {"one", "two"}
    assert "Connection refused" in "".join(mount.errors())


def test_a_request_whose_target_is_not_there_goes_to_another(world):
    """Also one that must not be made twice, and one that is longer than what is kept."""
    two = world.target(Named, "two")
    mount, gate = shared(world, {"gone": f"127.0.0.1:{free_port()}", "two": two.address})
    eventually(lambda: asks(gate)[0] == 200, what="the gate knows the host")
    bodies = [os.urandom(size) for size in (1, 1000, 100_000, 3_000_000)]

    def posts():
        for body in bodies:
            assert asks(gate, method="POST", body=body) == (200, f"two {hashlib.sha256(body).hexdigest()}")
            chunks = iter([body[:len(body) // 2], body[len(body) // 2:]])
            assert asks(gate, method="PATCH", body=chunks) == (200, f"two {hashlib.sha256(two.requests[-1][1]).hexdigest()}")
        return sum("Connection refused" in line for line in mount.errors()) >= 3
    eventually(posts, what="the other one was tried three times")
    before = len(mount.errors())
    for _ in range(20):
        assert asks(gate)[0] == 200
    assert len(mount.errors()) == before, "it is out"
    assert b"".join(bodies) in b"".join(body for head, body in two.requests if b"POST" in head)


def test_the_last_one_is_asked_all_the_same(world):
    port = free_port()
    mount, gate = shared(world, {"one": f"127.0.0.1:{port}", "two": f"127.0.0.1:{free_port()}"})
    eventually(lambda: asks(gate)[0] == 502, what="the gate knows the host")
    for _ in range(8):
        assert asks(gate, method="POST", body=b"x")[0] == 502
    world.add(Target(world, "one", port))
    eventually(lambda: asks(gate) == (200, "one"), timeout=5, what="it is tried while both are out")


def test_one_that_hangs_gets_no_new_requests(world):
    """Its port is open and its dials succeed; only its silence tells. It comes back when it answers again."""
    one, two = world.target(Named, "one"), world.target(Named, "two")
    mount, gate = shared(world, {"one": one.address, "two": two.address})
    eventually(lambda: {asks(gate)[1].split()[0] for _ in range(20)} == {"one", "two"}, what="both answer")
    streams = collections.defaultdict(list)
    for _ in range(8):
        client = gate.dial()
        client.sendall(request("/stream", host=HOST))
        streams[b"X-Name: one" in read_head(client)].append(client)
    assert len(streams[True]) == len(streams[False]) == 4, "each stream went to the less busy one"
    for client in streams[True]:
        reset(client)
    eventually(lambda: one.streams == 0, what="the first one does not")
    eventually(lambda: asks(gate)[1].startswith("one"), what="it is preferred")
    one.hangs = True

    def answered():
        client = gate.dial(1)
        client.sendall(request("/", host=HOST))
        try:
            return status(read_head(client)) == 200
        except TimeoutError:
            return False
        finally:
            reset(client)
    eventually(answered, what="new requests go to the other one")
    assert [asks(gate)[1][:3] for _ in range(5)] == ["two"] * 5
    one.hangs = False
    one.freed.set()
    eventually(lambda: asks(gate)[1].startswith("one"), what="it is tried again")
    assert [asks(gate)[1][:3] for _ in range(5)] == ["one"] * 5, "and is trusted"
    for client in streams[False]:
        client.close()


def test_a_service_that_leaves_and_one_that_comes(world):
    """Requests follow the list at once, and what was kept for one that is gone is closed."""
    one, two = world.target(Named, "one"), world.target(Named, "two")
    mount, gate = shared(world, {"one": one.address})
    eventually(lambda: asks(gate)[1].startswith("one"), what="one answers")
    mount.service("two", two.address)
    mount.write("services/two/http", f"{HOST}\n")
    eventually(lambda: {asks(gate)[1].split()[0] for _ in range(20)} == {"one", "two"}, what="both answer")
    os.unlink(mount.path / "services/one/http")
    eventually(lambda: all(asks(gate)[1].startswith("two") for _ in range(20)), what="only two does")
    eventually(lambda: not re.search("connected|open", "".join(str(values) for values in mount.connections() if "one" in values["service"])),
               what="the connections of one are closed")
    assert status(gate.says(request(host=HOST))) == 200
