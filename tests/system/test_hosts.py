"""Public names: a service's hosts, which the router grants to one identity, and tells to gates."""
import contextlib
import errno
import os
import threading

import grpc
import pytest

from harness import Echo, bash, eventually, free_port, refused

DOMAIN = "tun.example.com"


class Gate:
    """As much of a gate as the router sees: a watch, and the routes that it told."""

    def __init__(self, address, http=8080, https=0):
        import mindmeld_pb2
        import mindmeld_pb2_grpc

        self.routes = {}
        self.channel = grpc.insecure_channel(address)
        request = mindmeld_pb2.WatchServicesRequest(gate={"http_port": http, "https_port": https})
        stub = mindmeld_pb2_grpc.ControlServiceStub(self.channel)
        self.call = stub.WatchServices(request, metadata=[("mindmeld-version", "2")])
        self.thread = threading.Thread(target=self.hear, daemon=True)
        self.thread.start()

    def hear(self):
        with contextlib.suppress(grpc.RpcError):
            for news in self.call:
                for name in news.removed:
                    self.routes.pop(name, None)
                for service in news.services:
                    self.routes[service.name] = sorted((name.host, name.path, name.tls) for name in service.public_names)

    def tells(self, name, *hosts):
        eventually(lambda: self.routes.get(name) == sorted(hosts), what=f"{name} is reached by {hosts}, not {self.routes.get(name)}")

    def close(self):
        self.call.cancel()
        self.thread.join()
        self.channel.close()


@pytest.fixture
def echo(world):
    return world.add(Echo())


@pytest.fixture
def router(world):
    return world.router("--domain", DOMAIN, "--own-domains", "*.example.org,app.example.net")


def gate_of(world, router, **more):
    return world.add(Gate(router.address, **more))


def owner(world, router, echo, name="A", service="web", options=""):
    mount = world.mount(router.address, options, name=name)
    mount.service(service, echo.address)
    return mount


def urls(mount, service="web"):
    return mount.read(f"services/{service}/url").splitlines()


def test_a_name_is_handed_out(world, router, echo):
    """As a user does it in a shell: echo, cat, ls."""
    gate = gate_of(world, router)
    mount = owner(world, router, echo)
    assert mount.read("services/web/http") == "" and urls(mount) == [] and mount.listing("public") == []
    done = bash(f"cd {mount.path} && echo app > services/web/http && cat services/web/http services/web/url && readlink public/*")
    assert done.returncode == 0 and done.stdout.splitlines() == ["app", f"http://app.{DOMAIN}:8080", "../services/web"], done
    gate.tells("web", (f"app.{DOMAIN}", "", False))
    assert os.listdir(mount.path / "public" / f"app.{DOMAIN}") == os.listdir(mount.path / "services/web")

    mount.write("services/web/http", "Shop.Example.ORG/api/\n", os.O_APPEND)
    assert mount.read("services/web/http") == "app\nshop.example.org/api\n"
    assert urls(mount) == [f"http://app.{DOMAIN}:8080", "http://shop.example.org:8080/api"]
    mount.write("services/web/tls", "secure\n")
    assert mount.read("services/web/tls") == "secure\n" and len(urls(mount)) == 2, "no gate serves TLS"
    gate.tells("web", (f"app.{DOMAIN}", "", False), ("shop.example.org", "/api", False), (f"secure.{DOMAIN}", "", True))

    second = gate_of(world, router, http=80, https=443)
    eventually(lambda: urls(mount) == [f"https://app.{DOMAIN}", "https://shop.example.org/api", f"https://secure.{DOMAIN}"], what="https is served now")
    second.tells("web", (f"app.{DOMAIN}", "", False), ("shop.example.org", "/api", False), (f"secure.{DOMAIN}", "", True))

    mount.write("services/web/http", "other\n")
    assert mount.read("services/web/http") == "other\n"
    gate.tells("web", (f"other.{DOMAIN}", "", False), (f"secure.{DOMAIN}", "", True))
    os.unlink(mount.path / "services/web/tls")
    eventually(lambda: mount.listing("public") == [f"other.{DOMAIN}"], what="the names that went are not shown")
    gate.tells("web", (f"other.{DOMAIN}", "", False))
    assert bash(f"rm -r {mount.path}/services/web").returncode == 0
    eventually(lambda: gate.routes == {} and mount.listing("public") == [], what="the names go with the service")


def test_bad_names_are_refused_and_change_nothing(world, router, echo):
    mount = owner(world, router, echo)
    mount.write("services/web/http", "app\n")
    for text in ("-a", "a..b", "https://app.example.org", "app.example.org:80", "*.example.org", "10.0.0.1", "a_b", "a/../b", "a/b?c", "a" * 64):
        mount.refuses(errno.EINVAL, "services/web/http", f"{text}\n")
    mount.refuses(errno.EINVAL, "services/web/tls", "app.example.org/api\n")
    for text in ("www", "mail", "admin", f"www.{DOMAIN}", f"a.b.{DOMAIN}", DOMAIN, "app.example.com", "example.org", "other.example.net"):
        mount.refuses(errno.EACCES, "services/web/http", f"{text}\n")
    mount.refuses(errno.EEXIST, "services/web/tls", "app\n")
    assert mount.read("services/web/http") == "app\n" and mount.read("services/web/tls") == ""
    assert mount.listing("public") == [f"app.{DOMAIN}"]
    for number in range(15):
        mount.write("services/web/http", f"more{number}\n", os.O_APPEND)
    mount.refuses(errno.ENOSPC, "services/web/http", "more\n", os.O_APPEND)
    with refused(errno.EPERM):
        os.unlink(mount.path / "public" / f"app.{DOMAIN}")
    with refused(errno.EPERM):
        mount.write("services/web/url", "x\n")


def test_a_host_is_one_identitys(world, router, echo):
    """Its services share it; others get it when it is given up."""
    first, second = owner(world, router, echo), owner(world, router, echo, "B", "shop")
    first.write("services/web/http", "app\n")
    second.refuses(errno.EEXIST, "services/shop/http", "app\n")
    second.refuses(errno.EEXIST, "services/shop/http", "app/api\n")
    assert second.read("services/shop/http") == ""
    gate = gate_of(world, router)
    first.service("api", echo.address)
    first.service("twin", echo.address)
    first.write("services/api/http", "app/api\n")
    first.write("services/twin/http", "app\n")
    gate.tells("api", (f"app.{DOMAIN}", "/api", False))
    gate.tells("twin", (f"app.{DOMAIN}", "", False))
    for name in "web", "api", "twin":
        second.refuses(errno.EEXIST, "services/shop/http", "app\n")
        assert bash(f"rm -r {first.path}/services/{name}").returncode == 0
        eventually(lambda name=name: name not in gate.routes, what=f"{name} is gone")
    second.write("services/shop/http", "app\n")
    gate.tells("shop", (f"app.{DOMAIN}", "", False))


def test_auto_is_the_same_every_time(world, directory, echo):
    """Also after mmfs or the router was killed; and nobody takes a name meanwhile."""
    port = free_port()
    router = world.router("--domain", DOMAIN, listen=f"127.0.0.1:{port}")
    state, other = f"state={directory}/state", world.mount(router.address, name="B")
    mount = owner(world, router, echo, options=state)
    mount.write("services/web/http", "auto\napp\n")
    gate = gate_of(world, router)
    before = eventually(lambda: len(urls(mount)) == 2 and urls(mount), what="it has both names")
    label = before[0].split("/")[2].split(".")[0]
    assert label.count("-") == 2 and before[1] == f"http://app.{DOMAIN}:8080", before
    gate.tells("web", (f"{label}.{DOMAIN}", "", False), (f"app.{DOMAIN}", "", False))

    mount.kill()
    other.service("thief", echo.address)
    other.refuses(errno.EEXIST, "services/thief/http", "app\n")
    mount = world.mount(router.address, state, name="A")
    assert mount.read("services/web/http") == "auto\napp\n"
    eventually(lambda: urls(mount) == before, what="mmfs has the same names again")

    router.kill()
    assert urls(mount) == before, "they are the same after the outage"
    router = world.router("--domain", DOMAIN, listen=f"127.0.0.1:{port}")
    gate = gate_of(world, router)
    gate.tells("web", (f"{label}.{DOMAIN}", "", False), (f"app.{DOMAIN}", "", False))
    mount.awaits("web", "online")
    eventually(lambda: urls(mount) == before, what="and are granted by the new router")


def test_names_wait_for_a_target_and_a_router(world, echo):
    """What is written early takes effect later; a router without a domain says so."""
    port = free_port()
    mount = world.mount(f"127.0.0.1:{port}", wait="mounted")
    os.mkdir(mount.path / "services/web")
    mount.write("services/web/http", "app\n")
    mount.write("services/web/target", f"{echo.address}\n")
    router = world.router(listen=f"127.0.0.1:{port}")
    mount.awaits("web", "online")
    eventually(lambda: any("public name app is refused" in line and "EACCES" in line for line in mount.errors()), what="the refusal is told")
    assert mount.read("services/web/http") == "app\n", "it is still wanted"
    router.stop()
    world.router("--domain", DOMAIN, listen=f"127.0.0.1:{port}")
    eventually(lambda: mount.listing("public") == [f"app.{DOMAIN}"], what="another router grants it")


def test_no_options_no_words(world):
    import subprocess

    from harness import BUILD

    for option, value in ("--domain", "example"), ("--domain", "Tun.example.com"), ("--own-domains", "a.b,,c.d"), ("--own-domains", "a*.b.c"):
        done = subprocess.run([BUILD / "mmrouter", option, value], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2 and option in done.stderr and value in done.stderr, done
