"""TLS at mmgate: a real router, a real mount, certificates by openssl, and clients with OpenSSL's and curl's eyes."""
import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl

import pytest

from certificates import Authority, put
from harness import BUILD, Server, bash, eventually, free_port, hear_exactly, reset, run, run_any
from mmgate import Gate, read_head, request, status
from origin import Origin

INTERNAL_ERROR = b"\x15\x03\x01\0\x02\x02\x50"
NAMES = ("--domain", "tun.example.com", "--own-domains", "*.test,other.example")


@pytest.fixture(scope="module")
def place(module_world):
    """A gate with a certificate in each of the forms that its directory may have."""
    world = module_world
    world.authority = Authority(world.directory / "authority")
    world.certs = world.directory / "certs"
    chain, key = world.authority.make("app.test", "Second.test")
    put(world.certs / "app.pem", key + chain)
    chain, key = world.authority.make("*.tun.example.com")
    put(world.certs / "tun.example.com" / "fullchain.pem", chain + world.authority.path.read_text(), 0o644)
    put(world.certs / "tun.example.com" / "privkey.pem", key)
    put(world.certs / "tun.example.com" / "cert.pem", chain, 0o644)
    chain, key = world.authority.make("other.example")
    put(world.certs / "other.crt", chain, 0o644)
    put(world.certs / "other.key", key)
    put(world.certs / "other.issuer.crt", world.authority.path.read_text(), 0o644)
    world.relay = world.router(*NAMES)
    world.mount_a = world.mount(world.relay)
    world.origin = world.target(Origin)
    world.mount_a.service("app", world.origin.address)
    world.webroot = world.directory / "webroot"
    world.webroot.mkdir()
    world.gate = world.add(Gate(world.directory, world.relay.address, "--https", "127.0.0.1:0", "--certs", world.certs, "--acme-webroot", world.webroot,
                                "-o", "dial_timeout=2"))
    world.mount_a.write("services/app/http", "app.test\nsecond.test\nother.example\napp\nplain.test\n")
    eventually(lambda: status(world.gate.says(request("/plain", "plain.test"))) == 200, what="the gate knows the name")
    world.slow = socket.create_connection(("127.0.0.1", world.gate.https_port), 60)
    world.slow.sendall(b"\x16\x03\x01")
    return world


@pytest.fixture
def gate(place):
    return place.gate


def context(place, **settings):
    made = ssl.create_default_context(cafile=place.authority.path)
    for name, value in settings.items():
        setattr(made, name, value)
    return made


@contextlib.contextmanager
def secure(place, host="app.test", made=None, port=None, **more):
    with socket.create_connection(("127.0.0.1", port or place.gate.https_port), 60) as plain:
        with (made or context(place)).wrap_socket(plain, server_hostname=host, **more) as client:
            yield client


def says(client, data=request("/plain")):
    client.sendall(data)
    return read_head(client)


def curl(place, url, *more):
    host = re.match(r"https://([^/]+)", url)[1]
    return run("curl", "-sS", "--max-time", "60", "--noproxy", "*", "--cacert", place.authority.path, "--connect-to",
               f"{host}:443:127.0.0.1:{place.gate.https_port}", url, *more)


def serial(place, host="app.test", port=None):
    with secure(place, host, port=port) as client:
        return client.getpeercert()["serialNumber"]


@pytest.mark.parametrize("host", ["app.test", "second.test", "other.example", "app.tun.example.com"])
def test_the_certificate_is_that_of_the_host(place, host):
    assert curl(place, f"https://{host}/plain") == "hello\n"


def test_the_target_is_told_of_https(place):
    seen = curl(place, "https://app.test/seen", "-H", "X-Forwarded-Proto: http")
    assert "\nX-Forwarded-Proto: https\n" in seen.replace("\r", "") and 'Forwarded: for=127.0.0.1;host="app.test";proto=https' in seen


def test_the_url_of_a_service_says_https(place):
    port = place.gate.https_port
    eventually(lambda: f"https://app.tun.example.com:{port}\n" in place.mount_a.read("services/app/url"), what="the URL says https")


def test_who_has_no_certificate_is_told_so(place):
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        serial(place, "nobody.test")
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        serial(place, "a.b.tun.example.com")
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        with secure(place, None, context(place, check_hostname=False)):
            pass


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_old_is_refused(place):
    old = context(place, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        with secure(place, made=old):
            pass
    weak = context(place, maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        with secure(place, made=weak):
            pass
    with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as client:
        client.sendall(request())
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100)[:1] in (b"", b"\x15")
    assert curl(place, "https://app.test/plain") == "hello\n"


def test_http2_is_agreed_upon_in_the_handshake(place):
    large = "https://app.test/large/20000000"
    assert curl(place, large, "--http2", "-o", "/dev/null", "-w", "%{http_version} %{size_download}") == "2 20000000"
    assert curl(place, large, "--http1.1", "-o", "/dev/null", "-w", "%{http_version} %{size_download}") == "1.1 20000000"
    made = context(place)
    made.set_alpn_protocols(["http/1.1", "h2"])
    with secure(place, made=made) as client:
        assert client.selected_alpn_protocol() == "h2"
        client.sendall(request("/plain"))  # it is not what was agreed upon
        answer = b""
        with contextlib.suppress(OSError):
            while piece := client.recv(1 << 16):
                answer += piece
        assert b"HTTP/1" not in answer and b"hello" not in answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_protocols_and_tickets(place, version):
    made = context(place, minimum_version=version, maximum_version=version)
    made.set_alpn_protocols(["spdy/1", "http/1.1"])
    with secure(place, made=made) as client:
        assert client.selected_alpn_protocol() == "http/1.1" and not client.session_reused
        assert status(says(client)) == 200 and hear_exactly(client, 6) == b"hello\n"
        session = client.session
    with secure(place, made=made, session=None) as client:
        assert not client.session_reused
    with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as plain:
        with made.wrap_socket(plain, server_hostname="app.test", session=session) as client:
            assert client.session_reused and status(says(client)) == 200
    made = context(place, minimum_version=version, maximum_version=version)
    made.set_alpn_protocols(["spdy/1"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        with secure(place, made=made):
            pass


def test_a_client_that_is_slow_to_say_anything(place):
    """Its hello comes byte by byte, as do its records."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(place).wrap_bio(incoming, outgoing, server_hostname="app.test")
    with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def until(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    pass
                finally:
                    for byte in outgoing.read():
                        plain.sendall(bytes([byte]))
                incoming.write(plain.recv(1 << 16))
        until(client.do_handshake)
        client.write(request("/plain"))
        assert status(until(lambda: client.read(1000))) == 200


def test_much_goes_both_ways(place):
    size = 24 << 20
    with secure(place) as client:
        client.sendall(request(f"/large/{size}"))
        read_head(client)
        assert hashlib.sha256(hear_exactly(client, size)).digest() == hashlib.sha256(b"x" * size).digest()
        for _ in range(3):
            assert status(says(client)) == 200 and hear_exactly(client, 6) == b"hello\n"
    (place.directory / "much").write_bytes(b"0123456789abcdef" * (size // 16))
    for version in "--http1.1", "--http2", "--http2", "--http2":
        seen = curl(place, "https://app.test/seen", version, "-H", "Expect:", "--data-binary", f"@{place.directory / 'much'}")
        assert seen.endswith("0123456789abcdef" * (size // 16))


def test_other_protocols_end_each_way_by_themselves(place):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(place).wrap_bio(incoming, outgoing, server_hostname="app.test")
    with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as plain:
        def until(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    if data := plain.recv(1 << 16):
                        incoming.write(data)
                    else:
                        incoming.write_eof()
        until(client.do_handshake)
        client.write(request("/upgrade", fields="Connection: Upgrade\r\nUpgrade: echo\r\n") + b"early")
        got = b""
        while not got.endswith(b"early"):
            got += until(lambda: client.read(1000))
        assert status(got) == 101
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        plain.sendall(outgoing.read())
        got = b""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while not got.endswith(b"bye"):
                got += until(lambda: client.read(1000))
        assert got == b"bye"


def test_certificates_follow_their_files(place, directory):
    certs = directory / "certs"
    certs.mkdir()
    gate = place.add(Gate(directory, place.relay.address, "--https", "127.0.0.1:0", "--certs", certs, name="mmgate-renewed"))
    port = gate.https_port

    def says_so(text):
        eventually(lambda: text in gate.text(), what=f"the gate says {text!r}")
    says_so("there is no certificate yet")
    chain, key = place.authority.make("app.test")
    put(certs / "app.pem", chain + key)
    says_so("certificates in use: 1")
    first = serial(place, port=port)
    with secure(place, port=port) as client:
        assert status(says(client)) == 200 and hear_exactly(client, 6) == b"hello\n"
        put(certs / "app.pem", "\n".join(place.authority.make("app.test")))
        eventually(lambda: serial(place, port=port) != first, what="the new certificate is used")
        assert status(says(client)) == 200, "the connection of before goes on"
    second = serial(place, port=port)

    for text, mode, sentence in [
            ("nothing", 0o600, "it has nothing in PEM form; the former certificate stays in use"),
            (chain + key, 0o644, "it is open to others: chmod 600 it first; the former certificate stays in use"),
            (chain, 0o600, "there is no private key in it, nor one beside it that ends in .key; the former certificate stays in use"),
            (chain + place.authority.make("x.test")[1], 0o600, "the private key does not match the certificate; the former certificate stays in use")]:
        put(certs / "app.pem", text, mode)
        gate.process.send_signal(signal.SIGHUP)  # it would look by itself, but not at once
        says_so(sentence)
        assert serial(place, port=port) == second
    put(certs / "longer" / "fullchain.pem", "")
    chain, key = place.authority.make("app.test", days=9)
    put(certs / "longer" / "privkey.pem", key)
    put(certs / "longer" / "fullchain.pem", chain)
    eventually(lambda: serial(place, port=port) != second, what="the one that is valid longest is used")
    (certs / "longer" / "fullchain.pem").unlink()
    eventually(lambda: serial(place, port=port) == second, what="the file is gone, and so is its certificate")
    before = gate.text().count("does not match")
    gate.process.send_signal(signal.SIGHUP)
    eventually(lambda: gate.text().count("does not match") > before, what="all are read anew")


class Vault(Server):
    """A service that speaks TLS itself, with a certificate that the gate has not."""

    def __init__(self, files):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files)
        super().__init__()

    def serve(self, connection):
        with self.context.wrap_socket(connection, server_side=True) as client:
            while data := client.recv(1 << 16):
                if data == b"reset":
                    return reset(client)
                client.sendall(data.upper())
            client.unwrap()


@pytest.fixture(scope="module")
def vault(place):
    files = place.directory / "vault.crt", place.directory / "vault.key"
    for path, text in zip(files, place.authority.make("vault.test", "vault.tun.example.com")):
        path.write_text(text)
    vault = place.target(Vault, files)
    place.mount_a.service("vault", vault.address)
    place.mount_a.write("services/vault/tls", "vault.test\nvault\n")
    vault.serial = ssl._ssl._test_decode_cert(str(files[0]))["serialNumber"]
    eventually(lambda: not raises(serial, place, "vault.test"), what="the gate hears of vault.test")
    return vault


def raises(function, *arguments):
    try:
        function(*arguments)
        return None
    except OSError as error:
        return error


@pytest.mark.parametrize("host", ["vault.test", "vault.tun.example.com"])
def test_what_is_not_to_be_read_passes(place, vault, host):
    """Even if there is a certificate at the gate that would do."""
    assert serial(place, host) == vault.serial
    with secure(place, host) as client:
        client.sendall(b"hello")
        assert hear_exactly(client, 5) == b"HELLO"
        for size in 1, 16 << 10, 100000, 1 << 20:
            client.sendall(b"x" * size)
            assert hear_exactly(client, size) == b"X" * size
        client.unwrap().close()
    eventually(lambda: place.mount_a.read("services/vault/url").startswith("https://"), what="its URL is https")


def test_a_hello_in_pieces_finds_its_service(place, vault):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(place).wrap_bio(incoming, outgoing, server_hostname="vault.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(5, len(hello)):  # each byte is a record of its own
            plain.sendall(hello[:3] + b"\0\1" + hello[at:at + 1])
        assert hear_exactly(plain, 3) == b"\x16\x03\x03"


def test_who_leaves_in_the_middle_of_a_hello(place, vault):
    for part in b"", b"\x16", b"\x16\x03\x01\x02\0\1":
        with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as plain:
            plain.sendall(part)
            plain.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert plain.recv(10) == b""


def test_what_is_not_to_be_read_is_not_read_while_it_is_away(place, vault):
    """The gate's own certificate for *.tun.example.com would do. It is not used."""
    place.mount_a.service("gone", f"127.0.0.1:{free_port()}")
    place.mount_a.write("services/gone/tls", "gone\n")
    refused = "(?i)alert.internal.error"
    eventually(lambda: re.search(refused, str(raises(serial, place, "gone.tun.example.com"))), what="a target that refuses is no fault of the client")
    assert bash(f"rm -r {place.mount_a.path}/services/gone").returncode == 0
    place.mount_a.service("further", place.origin.address)
    place.mount_a.write("services/further/http", "further\n")
    eventually(lambda: not raises(serial, place, "further.tun.example.com"), what="the gate has a newer list")
    assert re.search(refused, str(raises(serial, place, "gone.tun.example.com")))
    place.mount_a.write("services/further/http", "further\ngone\n")
    eventually(lambda: not raises(serial, place, "gone.tun.example.com"), what="its owner lets the gate read it")


def test_an_end_that_is_none_is_a_reset(place, vault):
    with socket.create_connection(("127.0.0.1", place.gate.https_port), 60) as plain:
        with context(place).wrap_socket(plain, server_hostname="vault.test") as client:
            client.sendall(b"hello")
            assert hear_exactly(client, 5) == b"HELLO"
            client.sendall(b"reset")
            with socket.socket(fileno=os.dup(client.fileno())) as bare:  # Python's TLS takes it for an end
                bare.settimeout(60)
                with pytest.raises(ConnectionResetError):
                    bare.recv(1)


def test_it_ends_when_what_it_does_not_read_has_ended(place, vault):
    gate = place.add(Gate(place.directory, place.relay.address, "--https", "127.0.0.1:0", "--certs", place.certs, name="mmgate-drained"))
    eventually(lambda: not raises(serial, place, "vault.test", gate.https_port), what="the gate hears of vault.test")
    with secure(place, "vault.test", port=gate.https_port) as client:
        gate.process.send_signal(signal.SIGTERM)
        eventually(lambda: isinstance(raises(gate.dial), ConnectionRefusedError), what="the gate takes nobody more")
        client.sendall(b"hello")
        assert hear_exactly(client, 5) == b"HELLO"
        client.unwrap().close()
    assert gate.process.wait(30) == 0


@pytest.mark.parametrize("line, host, location", [
    ("GET /a%20b?c=d HTTP/1.1", "app.test", "https://app.test:PORT/a%20b?c=d"), ("POST / HTTP/1.1", "APP.tun.example.com.:80", "https://APP.tun.example.com:PORT/"),
    ("HEAD http://second.test?q HTTP/1.1", "second.test", "https://second.test:PORT/?q")])
def test_who_comes_without_tls_is_sent_to_https(place, gate, line, host, location):
    before = len(place.origin.requests)
    answer = gate.says(f"{line}\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
    assert status(answer) == 308
    assert f"\r\nLocation: {location.replace('PORT', str(gate.https_port))}\r\n".encode() in answer
    assert len(place.origin.requests) == before


def test_only_what_is_there_with_tls_is_sent_there(gate, vault):
    assert status(gate.says(request("/plain", "plain.test"))) == 200
    assert status(gate.says(request("/plain", "no.where"))) == 404
    assert status(gate.says(b"OPTIONS * HTTP/1.1\r\nHost: app.test\r\n\r\n")) == 200
    assert b"\r\nLocation: https://vault.test:" in gate.says(request("/", "vault.test"))
    head = run("curl", "-sS", "--max-time", "60", "--noproxy", "*", "--http2-prior-knowledge", "-o", "/dev/null", "-D", "-", "-H", "Host: app.test",
               f"http://127.0.0.1:{gate.port}/x")
    assert head.startswith("HTTP/2 308") and f"location: https://app.test:{gate.https_port}/x" in head


def test_a_connection_of_another_host_is_not_for_what_passes_unread(place, vault):
    """As browsers join them, where one certificate would do for both."""
    with secure(place, "app.tun.example.com") as client:
        assert status(says(client, request("/", "vault.tun.example.com"))) == 421


def test_challenges_are_answered(place, gate, directory):
    folder = place.webroot / ".well-known" / "acme-challenge"
    path = "/.well-known/acme-challenge/"
    assert b"Host: plain.test" in gate.says(request(path + "token", "plain.test")), "the service may have a challenge of its own"
    folder.mkdir(parents=True)
    (folder / "to-Ken_1").write_text("to-Ken_1.thumb")
    for host in "app.test", "plain.test", "no.where":
        answer = gate.says(request(path + "to-Ken_1", host))
        assert status(answer) == 200 and answer.endswith(b"\r\n\r\nto-Ken_1.thumb"), host
    answer = gate.says(request(path + "to-Ken_1", method="HEAD"))
    assert status(answer) == 200 and answer.endswith(b"\r\n\r\n") and b"Content-Length: 14\r\n" in answer
    (folder / "link").symlink_to(folder / "to-Ken_1")
    (folder / "folder").mkdir()
    (folder / "large").write_bytes(b"x" * 5000)
    (folder / ".hidden").write_text("secret")
    os.mkfifo(folder / "fifo")
    (place.webroot / "outside").write_text("secret")
    for token in "link", "folder", "large", ".hidden", "fifo", "../../outside", "..%2f..%2foutside", "", "to-Ken_1/", "to-Ken_1?x", "x" * 200:
        answer = gate.says(request(path + token, "no.where"))
        assert status(answer) == 404 and b"secret" not in answer, token
    assert status(gate.says(request(path + "to-Ken_1", "no.where", method="POST", fields="Content-Length: 0\r\n"))) == 404


@pytest.mark.parametrize("options, sentence", [
    (["--acme-webroot", "/no/such/folder"], "/no/such/folder: No such file"), (["--https", "0"], "--certs"), (["--certs", "/tmp"], "--https"), (["--https", "nonsense", "--certs", "/tmp"], "--https"),
    (["--https", "127.0.0.1:0", "--certs", "/no/such/folder"], "/no/such/folder: No such file")])
def test_what_the_command_line_refuses(place, options, sentence):
    done = run_any(BUILD / "mmgate", *options, place.relay.address)
    assert done.returncode != 0 and sentence in done.stderr and "mmgate: " in done.stderr


def test_a_hello_that_never_comes_is_not_awaited(place):
    assert place.slow.recv(100) == INTERNAL_ERROR and place.slow.recv(1) == b""
    place.slow.close()
