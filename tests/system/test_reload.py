"""Keys and certificates that change while the programs run, and what SIGHUP means to them."""
import os
import pty
import signal
import ssl

import pytest

from harness import BUILD, PATIENCE, Echo, Program, dial, eventually, exchange, free_port, hear_exactly, is_mounted, run


def make_pair(directory, name):
    """A certificate for localhost that signs itself, and its key."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem")
    return (directory / f"{name}.pem").read_text(), (directory / f"{name}.key").read_text()


def put(path, text):
    """As who is careful: written beside it, and renamed."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.rename(path)
    return path


def says(program, *parts):
    eventually(lambda: all(part in program.text() for part in parts), what=f"{program.name} says {parts}")


def talks(connection, data):
    connection.sendall(data)
    return hear_exactly(connection, len(data)) == data


@pytest.mark.threads
def test_files_that_change(world, directory):
    """Nothing is lost while a key and a certificate are replaced, and a bad file changes nothing."""
    (first, first_key), (second, second_key) = make_pair(directory, "first"), make_pair(directory, "second")
    cert, cert_key = put(directory / "cert", first), put(directory / "cert-key", first_key)
    key, roots = put(directory / "key", "one\n"), put(directory / "roots", first + second)
    own = {name: put(directory / f"key-{name}", "one\n") for name in "AB"}
    router = world.router("--key", key, "--tls-cert", cert, "--tls-key", cert_key)
    a, b = (world.mount(f"localhost:{router.port}", f"cafile={roots},key={own[name]}", name=name) for name in "AB")
    a.service("web", world.target(Echo).address)
    connection = dial(b.forward("web"))
    assert talks(connection, b"before")

    def shown():
        return ssl.get_server_certificate(("localhost", router.port)).strip() in second

    # A certificate without its key is not used, and one whose key has come is used without being told so.
    assert not shown()
    put(cert, second)
    router.process.send_signal(signal.SIGHUP)
    says(router, "the private key does not match the certificate; the former contents stay in use")
    assert not shown() and talks(connection, b"meanwhile")
    put(cert_key, second_key)
    eventually(shown, what="the new certificate is shown")

    # Another key: first on the machines, where nothing happens, and then at the router.
    links = a.links(), b.links()
    key.chmod(0o644)
    router.process.send_signal(signal.SIGHUP)
    says(router, "it is open to others: chmod 600 it first; the former contents stay in use")
    key.chmod(0o600)
    for name in own:
        put(own[name], "two\n")
    assert talks(connection, b"and now") and (a.links(), b.links()) == links
    put(key, "two\n")
    router.process.send_signal(signal.SIGHUP)
    eventually(lambda: a.links() > links[0] and b.links() > links[1], what="both are connected anew")
    a.awaits("web", "online")
    b.connected()
    assert talks(connection, b"after") and exchange(b.ports("web")[0], b"new") == b"new"
    for mount in a, b:
        assert not [line for line in mount.errors() if "connection" in line], mount.errors()

    # Whoever has it told before the router is not cut off, and hears why.
    put(own["B"], "three\n")
    b.process.send_signal(signal.SIGHUP)
    says(b, "the key or the authorities have changed", "not connected anew: the router refuses the key: wrong key")
    assert b.values("status")["state"] == "connected" and talks(connection, b"still")
    own["B"].write_text("\n")
    b.process.send_signal(signal.SIGHUP)
    says(b, "the first line has no key; the former contents stay in use")
    put(own["B"], "two\n")
    eventually(lambda: "nothing was lost" in b.read("events").splitlines()[-1], what="it is connected anew")
    b.process.send_signal(signal.SIGHUP)
    says(b, "SIGHUP: nothing has changed")
    connection.close()


def test_a_key_that_is_mended(world, directory):
    """A wrong key, and then wrong authorities, are mended in their files: nothing has to be told."""
    (text, text_key), (other, _) = make_pair(directory, "router"), make_pair(directory, "other")
    cert, cert_key = put(directory / "cert", text), put(directory / "cert-key", text_key)
    key = put(directory / "key", "right\n")
    router = world.router("--key", key, "--tls-cert", cert, "--tls-key", cert_key)
    own, roots = put(directory / "own", "wrong\n"), put(directory / "roots", other)
    mount = world.mount(f"localhost:{router.port}", f"cafile={roots},key={own}", wait="mounted")
    eventually(lambda: "is not trusted, or has expired" in mount.values("status")["trouble"], what="it does not trust the router")
    put(roots, text)
    eventually(lambda: "refuses the key" in mount.values("status")["trouble"], what="it is refused")
    own.unlink()
    own.symlink_to(key)
    mount.connected()


def test_connections_of_who_is_refused(world, directory):
    """They say why they stand still, at both ends of the mount whose key is wrong, and go on when it is right again."""
    key, own, port = put(directory / "key", "one\n"), put(directory / "own", "one\n"), free_port()
    router = world.router("--key", key, listen=f"127.0.0.1:{port}")
    a, b = world.mount(router, f"key={key}", name="A"), world.mount(router, f"key={own}", name="B")
    echo = world.target(Echo).address
    a.service("web", echo)
    b.service("back", echo)
    streams = [dial(b.forward("web")), dial(a.forward("back"))]
    assert all(talks(stream, b"before") for stream in streams)
    put(key, "two\n")
    router.kill()
    world.router("--key", key, listen=f"127.0.0.1:{port}")
    a.connected()
    eventually(lambda: [c["trouble"] for c in b.connections()] == ["the router refuses the key: wrong key"] * 2, what="they say so")
    assert all(c["state"].startswith("detached") for c in b.connections())
    assert "2 connections are detached, and will be reset in 60 s unless the router accepts this mount" in b.read("events")
    put(own, "two\n")
    assert all(talks(stream, b"after") for stream in streams)
    eventually(lambda: all(c["state"] == "open" and "trouble" not in c for c in b.connections()), what="they are open again")
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("program", ["mmrouter", "mmfs"])
def test_a_terminal_that_goes(world, router, directory, program):
    """SIGHUP reads files anew, but with the terminal the program goes, too."""
    point = directory / "point"
    point.mkdir()
    command = {"mmrouter": [BUILD / "mmrouter", "--listen", "127.0.0.1:0"], "mmfs": [BUILD / "mmfs", "-f", router.address, point]}[program]
    master, slave = pty.openpty()
    # The shell's descriptor 0 is the terminal, and its session has it.
    started = world.add(Program(directory, program, ["bash", "-c", f'exec setsid --ctty "$@" <&{slave}', "bash", *command], pass_fds=[slave]))
    os.close(slave)
    says(started, "listening on" if program == "mmrouter" else "connected to")
    started.process.send_signal(signal.SIGHUP)
    says(started, "SIGHUP: nothing has changed")
    os.close(master)
    assert started.process.wait(PATIENCE) == 0, started.text()
    assert program == "mmrouter" or not is_mounted(point)
