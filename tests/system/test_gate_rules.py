"""What the owner of a web service says of requests, in files of services/NAME: gates do as it says."""
import contextlib
import errno
import os
import socket

import pytest

from harness import PATIENCE, bash, eventually, free_port
from mmgate import Gate, request, status
from origin import Origin

NAMES = ("--domain", "tun.example.com", "--own-domains", "*.test")


@pytest.fixture(scope="module")
def place(module_world):
    """A router, a mount with the services web and twin, and a gate."""
    world = module_world
    world.relay = world.router(*NAMES)
    world.mount_a = world.mount(world.relay)
    world.origin = world.target(Origin)
    for name in "web", "twin":
        world.mount_a.service(name, world.origin.address)
        world.mount_a.write(f"services/{name}/http", f"{name}.test\n")
    world.gate = world.add(Gate(world.directory, world.relay.address, "-o", "dial_timeout=2"))
    for name in "web", "twin":
        awaits(world.gate, 200, f"{name}.test")
    return world


@pytest.fixture
def mount(place):
    yield place.mount_a
    for name in "web", "twin":
        for file in "clients", "headers":
            os.unlink(place.mount_a.path / f"services/{name}/{file}")


def ask(gate, host="web.test", source="127.0.0.1", **more):
    """The answer to a request from that address."""
    with socket.create_connection(("127.0.0.1", gate.port), PATIENCE, (source, 0)) as client:
        client.sendall(request(host=host, **more))
        client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(1 << 16):
                answer += piece
        return answer


def awaits(gate, code, host="web.test", **more):
    eventually(lambda: status(ask(gate, host, **more)) == code, what=f"{host} answers {code}")


def seen(gate, **more):
    """The fields that the target saw."""
    return ask(gate, **more).split(b"\r\n\r\n")[1].decode().split("\r\n")[1:]


def test_the_word_of_a_front(place, mount):
    """Who is trusted says who the client is, and nobody else does; what the client wrote before that goes no further."""
    told = {"fields": "X-Forwarded-For: 192.0.2.1, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n"}
    gate = place.add(Gate(place.directory, place.relay.address, "--trust", "127.0.0.1,10.0.0.0/8", name="behind"))
    awaits(gate, 200)
    mount.write("services/web/clients", "198.51.100.0/24\n")
    for one in gate, place.gate:
        awaits(one, 403)
    assert [status(ask(gate, **told)), status(ask(gate, source="127.0.0.2", **told)), status(ask(place.gate, **told))] == [200, 403, 403]
    mount.read("services/web/requests")  # which begins the log
    fields = seen(gate, **told)
    eventually(lambda: mount.read("services/web/requests").endswith(" 198.51.100.7\n"), what="the log has the client, not what it wrote")
    assert "X-Forwarded-For: 198.51.100.7, 127.0.0.1" in fields and "X-Forwarded-Proto: https" in fields
    mount.write("services/web/clients", "127.0.0.2\n")
    eventually(lambda: status(ask(gate, source="127.0.0.2", **told)) == 200, what="the other address is let in")
    fields = seen(gate, source="127.0.0.2", **told)
    assert "X-Forwarded-For: 127.0.0.2" in fields and "X-Forwarded-Proto: http" in fields


def test_who_may_come_by_address(place, mount):
    gate = place.gate
    assert mount.read("services/web/clients") == ""
    done = bash(f"cd {mount.path}/services/web && echo 127.0.0.2 > clients && echo 2001:db8::1/32 >> clients && cat clients")
    assert (done.returncode, done.stdout) == (0, "127.0.0.2\n2001:db8::/32\n"), done
    awaits(gate, 403)
    answer = ask(gate)
    assert answer.endswith(b"\r\n\r\nYou may not come here.\n") and b"403 Forbidden" in answer
    assert status(ask(gate, source="127.0.0.2")) == 200 and status(ask(gate, "twin.test")) == 200
    mount.write("services/web/clients", "::ffff:127.0.0.0/126\n127.0.0.0/30\n", os.O_APPEND)
    assert mount.read("services/web/clients") == "127.0.0.2\n2001:db8::/32\n127.0.0.0/30\n", "v4 inside v6 is v4"
    awaits(gate, 200)
    assert status(ask(gate, source="127.0.0.4")) == 403
    mount.write("services/web/clients", "::/0\n")
    awaits(gate, 403)
    for bad in "127.0.0.1/33", "::/129", "localhost", "127.1", "127.0.0.1:80", "127.0.0.1/08", "10.0.0.1-10.0.0.9", "/8":
        mount.refuses(errno.EINVAL, "services/web/clients", f"{bad}\n")
    assert mount.read("services/web/clients") == "::/0\n", "what is refused changes nothing"
    os.unlink(mount.path / "services/web/clients")
    assert mount.read("services/web/clients") == ""
    awaits(gate, 200)


def test_services_that_share_a_name_share_who_may_come(place, mount):
    """Whichever of them a request would go to."""
    mount.write("services/twin/http", "web.test\n", os.O_APPEND)
    mount.write("services/web/clients", "127.0.0.9\n")
    awaits(place.gate, 403)
    assert {status(ask(place.gate)) for _ in range(8)} == {403}
    assert status(ask(place.gate, "twin.test")) == 200
    mount.write("services/twin/http", "twin.test\n")


def test_fields_that_requests_get(place, mount):
    gate = place.gate
    done = bash(f"cd {mount.path}/services/web && echo 'Host: localhost:5173' > headers && echo 'x-tenant:  a b ' >> headers && cat headers")
    assert (done.returncode, done.stdout) == (0, "Host: localhost:5173\nx-tenant: a b\n"), done
    fields = "X-Tenant: forged\r\nX-Tenant: twice\r\nX-Other: 1\r\n"
    eventually(lambda: "Host: localhost:5173" in seen(gate), what="the target sees another host")
    assert seen(gate, fields=fields)[:3] == ["Host: localhost:5173", "X-Other: 1", "x-tenant: a b"]
    assert "X-Forwarded-Host: web.test" in seen(gate), "that is still what the visitor typed"
    mount.write("services/web/headers", "X-TENANT: b\n", os.O_APPEND)
    assert mount.read("services/web/headers") == "Host: localhost:5173\nX-TENANT: b\n", "a field is there once"
    eventually(lambda: "X-TENANT: b" in seen(gate), what="the newer value counts")
    for bad in ("no colon", ": x", "a b: x", "x: a\x01b", "Content-Length: 3", "transfer-encoding: chunked", "Connection: close", "Upgrade: x",
                "X-Forwarded-For: 1.2.3.4", "Host: a b", "Host:", "Host: http://a"):
        mount.refuses(errno.EINVAL, "services/web/headers", f"{bad}\n")
    assert "1.2.3.4" not in mount.read("errors"), "what is refused may be a secret"
    for number in range(16):
        mount.write("services/web/headers", f"x-{number}: {'v' * 4000}\n", os.O_APPEND)
    mount.refuses(errno.ENOSPC, "services/web/headers", f"x-more: {'v' * 4000}\n", os.O_APPEND)
    os.unlink(mount.path / "services/web/headers")
    eventually(lambda: "Host: web.test" in seen(gate), what="requests are as they came")


def test_it_stays_whatever_is_started_anew(world, directory):
    """mmfs, the router, the gate: and at no moment anybody gets in."""
    port = free_port()
    router = world.router(*NAMES, listen=f"127.0.0.1:{port}")
    mount = world.mount(router.address, f"state={directory}/state")
    mount.service("web", world.target(Origin).address)
    gate = world.add(Gate(directory, router.address))
    mount.write("services/web/headers", "X-A: b\n")
    mount.write("services/web/clients", "127.0.0.2\n127.0.0.3\n")
    mount.write("services/web/http", "web.test\n")
    awaits(gate, 403)
    awaits(gate, 200, source="127.0.0.2")

    gate.stop()
    gate = world.add(Gate(directory, router.address, name="second"))
    awaits(gate, 403)
    assert status(ask(gate, source="127.0.0.3")) == 200
    mount.kill()
    mount = world.mount(router.address, f"state={directory}/state")
    assert (mount.read("services/web/clients"), mount.read("services/web/headers")) == ("127.0.0.2\n127.0.0.3\n", "X-A: b\n")
    awaits(gate, 200, source="127.0.0.2")
    assert status(ask(gate)) == 403 and "X-A: b" in seen(gate, source="127.0.0.2")
    router.kill()
    world.router(*NAMES, listen=f"127.0.0.1:{port}")
    mount.write("services/web/clients", "127.0.0.4\n")
    awaits(gate, 200, source="127.0.0.4")
    assert status(ask(gate)) == 403 and status(ask(gate, source="127.0.0.2")) == 403


def test_only_gates_hear_of_it(place, mount):
    """Other watchers do not, and neither do gates that would not know what to do with it see the names."""
    import grpc
    import mindmeld_pb2
    import mindmeld_pb2_grpc

    mount.write("services/web/clients", "127.0.0.2\n")
    awaits(place.gate, 403)
    with grpc.insecure_channel(place.relay.address) as channel:
        stub = mindmeld_pb2_grpc.ControlServiceStub(channel)

        def first(gate):
            request = mindmeld_pb2.WatchServicesRequest(gate=gate)
            call = stub.WatchServices(request, metadata=[("mindmeld-version", "2")], timeout=PATIENCE)
            services = {service.name: service for service in next(call).services}
            call.cancel()
            return services

        told = first({"http_port": 1})
        rules = mindmeld_pb2.Rules.FromString(told["web"].rules)
        assert rules == mindmeld_pb2.Rules(clients=b"127.0.0.2\n")
        assert [name.host for name in told["web"].ruled_names] == ["web.test"] and not told["web"].public_names
        assert [name.host for name in told["twin"].public_names] == ["twin.test"] and not told["twin"].rules
        plain = first(None)["web"]
        assert not plain.rules and not plain.ruled_names and not plain.public_names
        call = stub.CreateService(mindmeld_pb2.CreateServiceRequest(name="other", rules=b"x" * 70000), metadata=[("mindmeld-version", "2")],
                                  timeout=PATIENCE)
        assert call.code() == grpc.StatusCode.INVALID_ARGUMENT and "64 KiB" in call.details()
