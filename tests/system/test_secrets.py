"""TLS, keys, and where they must not show."""
import errno
import json
import os
import pathlib
import re

import pytest

from harness import BUILD, Echo, eventually, exchange, free_port, run, run_any, surroundings

KEY = "correct-horse-battery-staple-0123456789"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """An authority of our own, a certificate for localhost, and another authority that signed nothing."""
    path = tmp_path_factory.mktemp("pki")
    for name in ("ca", "other"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", path / f"{name}.key", "-out", path / f"{name}.pem")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
        "-keyout", path / "router.key", "-out", path / "router.csr")
    (path / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    run("openssl", "x509", "-req", "-in", path / "router.csr", "-CA", path / "ca.pem", "-CAkey", path / "ca.key", "-days", "2",
        "-extfile", path / "names", "-out", path / "router.pem")
    return path


def secret(directory, text=KEY, name="key", mode=0o600):
    path = directory / name
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def tls_options(pki):
    return "--tls-cert", pki / "router.pem", "--tls-key", pki / "router.key"


def test_tls_with_a_key(world, directory, pki):
    key = secret(directory)
    router = world.router(*tls_options(pki), "--key", key, listen="127.0.0.1:0")
    options = f"cafile={pki}/ca.pem,key={key}"
    a = world.mount(f"localhost:{router.port}", options, name="A")
    b = world.mount(f"localhost:{router.port}", options, name="B")
    a.service("web", world.target(Echo).address)
    assert exchange(b.forward("web"), b"secret" * 1000) == b"secret" * 1000


@pytest.mark.parametrize("ca", ["other.pem", None])
def test_a_certificate_of_somebody_else(world, pki, ca):
    """A wrong authority is a state with a reason, and nothing is said to that router."""
    router = world.router(*tls_options(pki))
    if ca is None:
        mount = world.mount(f"localhost:{router.port}", "insecure", wait="mounted")
    else:
        mount = world.mount(f"localhost:{router.port}", f"cafile={pki}/{ca}", wait="mounted")
    mount.service("web", "localhost:80", state="offline")
    assert mount.values("status")["state"] == "connecting"


def test_tls_against_a_router_without(world, router, pki):
    mount = world.mount(router, f"cafile={pki}/ca.pem", wait="mounted")
    assert mount.values("status")["state"] == "connecting"


def test_a_wrong_key(world, directory):
    """It is told wherever somebody may look, and nothing that is written is taken for good."""
    router = world.router("--key", secret(directory))
    good = world.mount(router, f"key={directory / 'key'}", name="good")
    for name, key in ("none", None), ("wrong", "wrong"), ("longer", KEY + "0"), ("shorter", KEY[:-1]):
        mount = world.mount(router, f"key={secret(directory, key, name)}" if key else "", wait="mounted", name=name)
        sentence = "the router refuses the key: wrong key" if key else "the router wants a key, name it with key=FILE"
        eventually(lambda: sentence in mount.values("status")["trouble"], what="its status says so")
        assert mount.values("status")["state"] == "connecting" and sentence in mount.read("events")
        os.mkdir(mount / "services/mine")
        for path, line in ("services/mine/target", "localhost:80\n"), ("services/new", "localhost:80\n"), ("forwards/web", "0\n"):
            mount.refuses(errno.EACCES, path, line)
            assert sentence in mount.errors()[-1], mount.errors()
        assert mount.listing("services") == ["mine"] and mount.listing("forwards") == []
        assert mount.state("mine") == "pending"
    good.service("web", "localhost:80")
    assert mount.listing("services") == ["mine"]
    told = [line for line in router.text().splitlines() if "is refused" in line]
    assert len(told) == 1 and re.search(r"ipv4:127\.0\.0\.1:\d+ is refused: it shows no key$", told[0]), router.text()


def test_a_key_that_becomes_wrong(world, directory):
    """The router is started again with another one: it is no outage, and services say so."""
    key, port = secret(directory), free_port()
    router = world.router("--key", key, listen=f"127.0.0.1:{port}")
    mount = world.mount(router, f"key={key}")
    mount.service("web", "localhost:80")
    router.stop()
    router = world.router("--key", secret(directory, "another", "other"), listen=f"127.0.0.1:{port}")
    eventually(lambda: "refuses the key" in mount.values("status")["trouble"], what="its status says so")
    mount.awaits("web", "offline")
    mount.refuses(errno.EACCES, "services/web/target", "localhost:81\n")
    assert mount.read("services/web/target") == "localhost:80\n"
    # Nobody is asked for a key by a router that lets everybody in.
    router.stop()
    world.router("--open", listen=f"127.0.0.1:{port}")
    mount.connected()
    mount.awaits("web", "online")


def test_a_wrong_key_is_told_at_the_start(world, directory):
    """On the terminal, before mmfs goes to the background. The router writes each of its lines as an object, when it is asked to."""
    router = world.router("--key", secret(directory), "--log=json")
    point = directory / "point"
    point.mkdir()
    command = [BUILD / "mmfs", "-o", f"key={secret(directory, 'wrong', 'wrong')}", router.address, point]

    def said():
        """mmfs gives the router two seconds to answer, in which a busy machine may not get there."""
        done = run_any(*command, env={**os.environ, **surroundings(directory)})
        run("umount", point)
        assert done.returncode == 0, done.stderr
        return "mmfs: not connected: the router refuses the key: wrong key" in done.stderr and done.stderr

    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ mmfs: ", line) for line in eventually(said).splitlines())
    lines = [json.loads(line) for line in router.text().splitlines()]
    assert all(sorted(line) == ["message", "program", "time"] and line["program"] == "mmrouter" for line in lines), lines
    assert "its key is wrong" in lines[-1]["message"]


def test_key_files_that_cannot_be_used(world, directory):
    point = directory / "point"
    point.mkdir()
    for path in (directory / "missing", secret(directory, "", "empty"), directory):
        for command in (["mmfs", "-f", "-o", f"key={path}", "127.0.0.1:1", point], ["mmrouter", "--listen", "127.0.0.1:0", "--key", path]):
            done = run_any(BUILD / command[0], *command[1:])
            assert done.returncode in (1, 2), command
            assert str(path) in done.stderr or "key" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: needs root")
def test_a_key_that_others_can_read(directory):
    """Both programs have one rule: it is refused, unless it is somebody else's, as in a container. A missing mountpoint, and a bad
    certificate, are what a program finds next that took its key."""
    key, cert = secret(directory, mode=0o644), secret(directory, name="cert", mode=0o644)
    run("cp", BUILD / "mmfs", BUILD / "mmrouter", directory)  # the checkout may be closed to others
    programs = (
        [directory / "mmfs", "-f", "-o", f"key={key}", "127.0.0.1:1", directory / "nowhere"],
        [directory / "mmrouter", "--listen", "127.0.0.1:0", "--key", key, "--tls-cert", cert, "--tls-key", cert],
    )
    for user, found in (0, ("key: it is open to others",) * 2), (65534, ("nowhere", "nothing in PEM form")):
        for program, sentence in zip(programs, found):
            done = run_any("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *program)
            assert done.returncode != 0 and sentence in done.stderr, (user, done.stderr)


def test_certificates_that_cannot_be_used_are_named(directory, pki):
    """Both files, since it is not known which of the two is the wrong one."""
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", directory / "other.key")
    cert = next(path for path in tls_options(pki) if str(path).endswith(".pem"))
    done = run_any(BUILD / "mmrouter", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", directory / "other.key")
    assert done.returncode == 2 and str(cert) in done.stderr and "other.key" in done.stderr, done.stderr


def test_a_name_that_is_none(directory):
    done = run_any(BUILD / "mmrouter", "--listen", "a..b:0", "--open")
    assert done.returncode == 1 and "does not resolve" in done.stderr, done.stderr


def test_a_key_without_tls_to_elsewhere(directory):
    done = run_any(BUILD / "mmfs", "-f", "-o", f"insecure,key={secret(directory)}", "192.0.2.1:7000", directory)
    assert done.returncode == 2 and "TLS" in done.stderr


def test_secrets_show_nowhere(world, directory, pki):
    key = secret(directory)
    router = world.router(*tls_options(pki), "--key", key)
    mount = world.mount(f"localhost:{router.port}", f"cafile={pki}/ca.pem,key={key}")
    mount.service("web", world.target(Echo).address)
    exchange(mount.forward("web"), b"x")
    for program in (router, mount):
        assert KEY not in pathlib.Path(f"/proc/{program.pid}/cmdline").read_text()
        assert KEY not in program.text()
    for name in ("status", "events", "errors"):
        assert KEY not in mount.read(name)


@pytest.mark.parametrize("options,listen,status", [
    (["--open"], "0.0.0.0:0", None),
    (["--key", "KEY"], "0.0.0.0:0", None),
    ([], "localhost:0", None),
    ([], "[::1]:0", None),
    ([], "0.0.0.0:0", 2),
], ids=str)
def test_who_is_let_in_must_be_said(world, directory, options, listen, status):
    key = secret(directory)
    options = [str(key) if option == "KEY" else option for option in options]
    if status:
        assert run_any(BUILD / "mmrouter", "--listen", listen, *options).returncode == status
    else:
        world.router(*options, listen=listen)


def test_port_of_the_environment(world):
    port = free_port()
    router = world.router("--open", listen=None, env={"PORT": str(port)})
    assert router.port == port and router.host == "0.0.0.0"
    world.mount(router)
    for wrong in ("x", "-1", "99999"):
        assert run_any(BUILD / "mmrouter", "--open", env={**os.environ, "PORT": wrong}).returncode in (1, 2), wrong


def test_a_port_that_is_taken(world, router):
    done = run_any(BUILD / "mmrouter", "--listen", router.address)
    assert done.returncode == 1 and "in use" in done.stderr.lower()
