"""TLS, keys, and where they must not show."""
import os
import pathlib

import pytest

from harness import BUILD, Echo, Router, bash, eventually, exchange, run, run_any

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


@pytest.mark.parametrize("key", [None, "wrong", KEY + "0", KEY[:-1]])
def test_a_wrong_key(world, directory, key):
    """Refused with a sentence; a write says EACCES once the router has said so."""
    router = world.router("--key", secret(directory))
    options = f"key={secret(directory, key, 'wrong')}" if key else ""
    mount = world.mount(router, options, wait="mounted")
    eventually(lambda: "key" in mount.read("status") or "key" in mount.read("events"), what="it says that the key is wrong")
    assert mount.values("status")["state"] == "connecting"
    assert mount.listing("services") == []
    good = world.mount(router, f"key={directory / 'key'}")
    good.service("web", "localhost:80")
    assert mount.listing("services") == []


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
    programs = (
        [BUILD / "mmfs", "-f", "-o", f"key={key}", "127.0.0.1:1", directory / "nowhere"],
        [BUILD / "mmrouter", "--listen", "127.0.0.1:0", "--key", key, "--tls-cert", cert, "--tls-key", cert],
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
    assert done.returncode == 1 and str(cert) in done.stderr and "other.key" in done.stderr, done.stderr


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
    from harness import free_port

    port = free_port()
    router = world.router("--open", listen=None, env={"PORT": str(port)})
    assert router.port == port and router.host == "0.0.0.0"
    world.mount(router)
    for wrong in ("x", "-1", "99999"):
        assert run_any(BUILD / "mmrouter", "--open", env={**os.environ, "PORT": wrong}).returncode in (1, 2), wrong


def test_a_port_that_is_taken(world, router):
    done = run_any(BUILD / "mmrouter", "--listen", router.address)
    assert done.returncode == 1 and "in use" in done.stderr.lower()
