"""mmrouter by itself: the original's methods, ours, and whatever else is sent to it."""
import os
import random
import signal
import socket
import struct
import threading
import time

import grpc
import pytest

import mindmeld_pb2 as pb
import mindmeld_pb2_grpc as stubs
import original
from harness import PATIENCE, Echo, eventually, exchange
from http2 import DATA, HEADERS, RESET, Http2
from wire import Member, Peer

CODE = grpc.StatusCode
MEMBER = Member(b"k" * 32).fields


@pytest.fixture
def channel(router):
    with grpc.insecure_channel(router.address) as channel:
        yield channel


@pytest.fixture
def control(channel):
    return stubs.ControlServiceStub(channel)


@pytest.fixture
def raw(channel):
    """Calls any method with any bytes, and says the status."""

    def call(path, message, streams=False):
        if streams:
            method = channel.stream_stream(path)
            rpc = method(iter([message]), timeout=20)
        else:
            rpc = channel.unary_stream(path)(message, timeout=20)
        try:
            for _ in rpc:
                pass
        except grpc.RpcError:
            pass
        return rpc.code()

    return call


def code(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return CODE.OK


def test_registering_and_listing(control, channel):
    calls = []
    before = time.time()
    for name in ("zebra", "apple", "mango"):
        calls.append(control.CreateService(pb.CreateServiceRequest(name=name)))
    names = eventually(lambda: (found := control.ListServices(pb.ListServicesRequest()).services) and len(found) == 3 and found)
    assert [service.name for service in names] == ["apple", "mango", "zebra"]
    assert all(before - 2 <= service.create_time.seconds <= time.time() + 2 for service in names)
    calls[0].cancel()
    eventually(lambda: [s.name for s in control.ListServices(pb.ListServicesRequest()).services] == ["apple", "mango"])


def test_a_registration_is_confirmed_by_metadata(control):
    call = control.CreateService(pb.CreateServiceRequest(name="web"), metadata=[("mindmeld-version", "2")])
    call.initial_metadata()
    assert [s.name for s in control.ListServices(pb.ListServicesRequest()).services] == ["web"]
    call.cancel()


def test_watching(control):
    watch = control.WatchServices(pb.WatchServicesRequest(), timeout=30)
    messages = iter(watch)
    first = next(messages)
    assert first.restart and first.heartbeat_ms > 0
    while not first.complete:
        first = next(messages)
    call = control.CreateService(pb.CreateServiceRequest(name="web"))
    assert any("web" in [service.name for service in message.services] for message in messages)
    call.cancel()
    assert any("web" in message.removed for message in messages)
    watch.cancel()


@pytest.mark.parametrize("name", ["", "Web", "-x", "a/b", "a.b", "x" * 64, "x" * 100000, "w\u00e9b"], ids=lambda n: ascii(n)[1:10])
def test_bad_names_are_invalid(control, name):
    assert code(lambda: list(control.CreateService(pb.CreateServiceRequest(name=name), timeout=20))) == CODE.INVALID_ARGUMENT
    assert code(lambda: control.ForwardToService(pb.ForwardToServiceRequest(name=name), timeout=20)) in (CODE.INVALID_ARGUMENT, CODE.NOT_FOUND)


def test_unknown_names_are_not_found(control):
    assert code(lambda: control.ForwardToService(pb.ForwardToServiceRequest(name="nothing"))) == CODE.NOT_FOUND


def test_a_name_has_one_owner(control):
    first = control.CreateService(pb.CreateServiceRequest(name="web", **MEMBER))
    first.initial_metadata()
    other = Member().fields
    assert code(lambda: list(control.CreateService(pb.CreateServiceRequest(name="web", **other), timeout=20))) == CODE.ALREADY_EXISTS
    first.cancel()


@pytest.fixture
def park(channel):
    """Parks a stream as somebody, and answers its call."""
    over, calls = threading.Event(), []

    def said(member):
        yield pb.Payload(header=pb.Header(park=True, **member))
        over.wait()

    def park(member):
        calls.append(stubs.ProxyServiceStub(channel).Connect(said(member)))
        return calls[-1]

    yield park
    over.set()
    for call in calls:
        call.cancel()


def test_nobody_parks_for_others(control, park):
    """A stream that stands ready is of who shows the member's key."""
    owner = control.CreateService(pb.CreateServiceRequest(name="web", **MEMBER))
    owner.initial_metadata()
    thief = {"member": MEMBER["member"], "member_key": b"x" * 32}
    assert code(lambda: list(park(thief))) == CODE.PERMISSION_DENIED
    parked = park(MEMBER)
    owner.cancel()
    assert code(lambda: list(parked)) == CODE.FAILED_PRECONDITION


def test_parked_streams_are_limited(world, router, control, park, a, b):
    """Somewhere there is an end, with a clear status, and others dial on."""
    owner = control.CreateService(pb.CreateServiceRequest(name="web", **MEMBER))
    owner.initial_metadata()
    calls = [park(MEMBER) for _ in range(300)]
    refused = eventually(lambda: [call for call in calls if call.done()], what="some are refused")
    assert {call.code() for call in refused} == {CODE.RESOURCE_EXHAUSTED}
    a.service("echo", world.target(Echo).address)
    assert exchange(b.forward("echo"), b"x") == b"x"
    owner.cancel()


def test_a_member_needs_its_key(control):
    first = control.CreateService(pb.CreateServiceRequest(name="web", **MEMBER))
    first.initial_metadata()
    thief = {"member": MEMBER["member"], "member_key": b"x" * 32}
    assert code(lambda: list(control.CreateService(pb.CreateServiceRequest(name="other", **thief), timeout=20))) == CODE.PERMISSION_DENIED
    first.cancel()


def header(**more):
    return pb.Payload(header=pb.Header(**more)).SerializeToString()


ID = b"c" * 16
HOSTILE = {
    "nothing": b"",
    "random": random.Random(1).randbytes(200),
    "all ones": b"\xff" * 64,
    "a length that lies": b"\x12\xff\xff\xff\xff\x0f" + b"x" * 10,
    "a length that overflows": b"\x0a" + b"\xff" * 9 + b"\x01",
    "a cut": b"\x0a\x05ab",
    "a group": b"\x0b" * 50,
    "field zero": b"\x00\x00",
    "wrong types": b"\x08\x01\x10\x01\x18\x01\x25\x00\x00\x00\x00",
    "large": b"\x12" + b"\x80\x80\x60" + b"x" * (96 << 14),
    "an end at once": pb.Payload(eof=True).SerializeToString(),
    "a reset at once": pb.Payload(reset=pb.Reset(code="X" * 5000, reason="\u2620" * 5000)).SerializeToString(),
    "a header without a token": header(),
    "a header with a long token": header(token="x" * 100000),
    "an unknown token": header(token="0" * 64, **MEMBER),
    "data first": pb.Payload(data=b"x" * 100).SerializeToString(),
    "a dial of nothing": header(service="nothing", connection=ID, **MEMBER),
    "a dial of no name": header(service="No Name", connection=ID, **MEMBER),
    "a dial of a long name": header(service="x" * 64, connection=ID, **MEMBER),
    "a dial without a connection": header(service="bystander", **MEMBER),
    "a dial with a short connection": header(service="bystander", connection=ID[:15], **MEMBER),
    "a dial without a member": header(service="bystander", connection=ID),
    "a dial without a key": header(service="bystander", connection=ID, member=MEMBER["member"]),
    "a stream parked by nobody": header(park=True),
    "a stream parked by who has no service": header(park=True, **MEMBER),
    "a stream parked without a key": header(park=True, member=MEMBER["member"]),
    "a stream for two things": header(park=True, service="bystander", connection=ID, **MEMBER),
    "a token and a name": header(token="0" * 64, service="bystander", connection=ID, **MEMBER),
    "an ack at once": pb.Payload(ack=pb.Ack(taken=1, messages=1)).SerializeToString(),
    "a token's length that lies": pb.Payload(data=struct.pack("<I", 0xFFFFFFFF) + b"x" * 100).SerializeToString(),
    "a token's length of zero": pb.Payload(data=struct.pack("<I", 0)).SerializeToString(),
    "a token that is no header": pb.Payload(data=struct.pack("<I", 8) + b"\xff" * 8).SerializeToString(),
}
UNARY = ["ControlService/CreateService", "ControlService/ForwardToService"]
STREAMS = ["ProxyService/ProxyConnection", "ProxyService/Connect"]


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("method", UNARY + STREAMS)
def test_hostile_messages_end_their_call_only(world, router, raw, control, method, message):
    """And a bystander's service goes on."""
    bystander = control.CreateService(pb.CreateServiceRequest(name="bystander"))
    bystander.initial_metadata()
    assert raw(f"/mindmeld.{method}", message, method in STREAMS) in (
        CODE.INVALID_ARGUMENT, CODE.NOT_FOUND, CODE.RESOURCE_EXHAUSTED, CODE.FAILED_PRECONDITION, CODE.PERMISSION_DENIED, CODE.UNAUTHENTICATED)
    assert router.alive()
    assert [s.name for s in control.ListServices(pb.ListServicesRequest(), timeout=20).services] == ["bystander"]
    bystander.cancel()


@pytest.mark.parametrize("path", ["/mindmeld.ControlService/Nothing", "/nothing/nothing", "/", "/mindmeld.ProxyService/", "/" + "x" * 2000])
def test_unknown_methods(router, raw, path):
    assert raw(path, b"") in (CODE.UNIMPLEMENTED, CODE.UNKNOWN, CODE.INTERNAL)
    assert router.alive()


def test_traffic_survives_hostile_callers(world, router, raw, a, b):
    a.service("echo", world.target(Echo).address)
    port = b.forward("echo")
    stop = threading.Event()

    def attack():
        source = random.Random(3)
        while not stop.is_set():
            raw(f"/mindmeld.{source.choice(UNARY + STREAMS)}", source.choice(list(HOSTILE.values())), True)

    attackers = [threading.Thread(target=attack) for _ in range(3)]
    for attacker in attackers:
        attacker.start()
    for _ in range(10):
        assert exchange(port, b"calm" * 10000) == b"calm" * 10000
    stop.set()
    for attacker in attackers:
        attacker.join(60)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + b"x" * 300, b"\0" * 4096,
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500], ids=["http/1", "tls", "zeros", "bad frames"])
def test_what_is_not_grpc(router, control, data):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", router.port), 10) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass
    assert list(control.ListServices(pb.ListServicesRequest(), timeout=20).services) == []


def test_streams_that_say_nothing_expire_or_hurt_nobody(router, channel, control):
    hold = threading.Event()

    def silent():
        hold.wait(30)
        yield pb.Payload()

    calls = [stubs.ProxyServiceStub(channel).ProxyConnection(silent()) for _ in range(50)]
    assert list(control.ListServices(pb.ListServicesRequest(), timeout=20).services) == []
    hold.set()
    for call in calls:
        call.cancel()


def test_services_of_a_member_are_limited(router, control):
    """Somewhere there is an end, and it has a clear status."""
    calls, refused = [], None
    for number in range(5000):
        call = control.CreateService(pb.CreateServiceRequest(name=f"s{number}", **MEMBER))
        calls.append(call)
        if number % 100 == 99:
            call.initial_metadata()
            if call.done():
                refused = call
                break
    assert refused and refused.code() == CODE.RESOURCE_EXHAUSTED
    for call in calls:
        call.cancel()
    eventually(lambda: not control.ListServices(pb.ListServicesRequest()).services)


def test_pending_tokens_are_limited_or_expire(router, control):
    call = control.CreateService(pb.CreateServiceRequest(name="web"))
    call.initial_metadata()
    codes = set()
    for _ in range(5000):
        codes.add(code(lambda: control.ForwardToService(pb.ForwardToServiceRequest(name="web"), timeout=20)))
        if CODE.RESOURCE_EXHAUSTED in codes:
            break
    assert codes <= {CODE.OK, CODE.RESOURCE_EXHAUSTED}
    assert router.rss() < 400 << 20
    call.cancel()


def test_sigterm_drains(router, control, channel):
    watch = control.WatchServices(pb.WatchServicesRequest())
    messages = iter(watch)
    next(messages)
    router.process.send_signal(signal.SIGTERM)
    try:
        drained = any(message.draining for message in messages)
    except grpc.RpcError:
        drained = False
    assert drained, "watchers are told"
    assert router.process.wait(20) == 0


def test_a_draining_router_leaves_its_address(world, router):
    """At once: another one can have it while connections still go on here."""
    owner, caller = (world.target(Peer, router.address) for _ in range(2))
    tokens = owner.register("web")
    near = caller.dial("web", ID)
    far = owner.stream(token=next(tokens).token)
    far.first()
    router.process.send_signal(signal.SIGTERM)
    successor = eventually(lambda: world.router(listen=router.address), what="a successor has the address")
    near.say(pb.Payload(data=b"still here"))
    eventually(lambda: far.data() == b"still here", what="it goes on")
    assert router.alive()
    with grpc.insecure_channel(successor.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert not stubs.ControlServiceStub(channel).ListServices(pb.ListServicesRequest(), timeout=20).services
    for raw in (near, far):
        raw.close()
    assert router.process.wait(20) == 0


@pytest.mark.parametrize("options,age", [([], 0), (["--max-stream-age", "7"], 7000)], ids=["none", "7 s"])
def test_how_old_a_stream_may_become_is_told(world, options, age):
    router = world.router(*options)
    with grpc.insecure_channel(router.address) as channel:
        watch = stubs.ControlServiceStub(channel).WatchServices(pb.WatchServicesRequest())
        assert next(watch).stream_age_ms == age
        watch.cancel()


@pytest.mark.parametrize("key,allowed", [("right-key-0123456789", True), ("wrong", False), (None, False), ("", False)])
def test_bearer_keys(world, directory, key, allowed):
    path = directory / "key"
    path.write_text("right-key-0123456789\n")
    path.chmod(0o600)
    router = world.router("--key", path)
    metadata = [("authorization", f"Bearer {key}")] if key is not None else []
    with grpc.insecure_channel(router.address) as channel:
        control, proxy = stubs.ControlServiceStub(channel), stubs.ProxyServiceStub(channel)
        answers = [
            code(lambda: control.ListServices(pb.ListServicesRequest(), metadata=metadata, timeout=20)),
            code(lambda: next(control.WatchServices(pb.WatchServicesRequest(), metadata=metadata, timeout=20))),
        ]
        refusals = (CODE.UNAUTHENTICATED,) if key is None else (CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED)
        assert all(answer in ((CODE.OK,) if allowed else refusals) for answer in answers), answers
        if not allowed:
            empty = iter([pb.Payload(data=b"x")])
            assert code(lambda: list(proxy.Connect(empty, metadata=metadata, timeout=20))) in refusals
            assert code(lambda: list(proxy.ProxyConnection(iter([pb.Payload()]), metadata=metadata, timeout=20))) in refusals


@pytest.mark.parametrize("shown,text", [("Bearer sesame\0", b"wrong key"), ("Bearer sesame\0x", b"wrong key"), (None, b"wants a key")],
                         ids=["a NUL behind it", "more behind a NUL", "none"])
def test_who_is_not_let_in_is_cut_off(world, directory, shown, text):
    """At once: nothing is kept of a call by a stranger, who may not read what it is told. gRPC's own clients do not send a NUL."""
    path = directory / "key"
    path.write_text("sesame\n")
    path.chmod(0o600)
    stranger = world.target(Http2, world.router("--key", path).port)
    right = stranger.call("ControlService/ListServices", authorization="Bearer sesame")
    eventually(lambda: stranger.heard(right, DATA), what="who shows the key is answered")
    stream = stranger.call("ControlService/ListServices", **({"authorization": shown} if shown else {}))
    eventually(lambda: stranger.heard(stream, RESET), what="it is cut off")
    assert any(text in block for block in stranger.heard(stream, HEADERS))


def test_answers_that_nobody_takes_are_dropped(world, router, control):
    """The oldest first, and others are answered."""
    rude = world.target(Http2, router.port, window=0)
    streams = [rude.call("ControlService/ListServices") for _ in range(17000)]
    eventually(lambda: rude.heard(streams[0], RESET), what="the first is dropped")
    assert not rude.heard(streams[-1], RESET)
    assert not control.ListServices(pb.ListServicesRequest(), timeout=20).services


def test_long_answers_that_nobody_takes_are_dropped(world, router, control):
    """The same, long before there are so many: it is the bytes that count."""
    owner, rude = world.target(Http2, router.port), world.target(Http2, router.port, window=0)
    names = [f"{number:063}" for number in range(2000)]
    for name in names:
        owner.call("ControlService/CreateService", pb.CreateServiceRequest(name=name).SerializeToString())
    listed = lambda: [service.name for service in control.ListServices(pb.ListServicesRequest(), timeout=20).services]
    eventually(lambda: listed() == names, what="all are registered")
    streams = [rude.call("ControlService/ListServices") for _ in range(1000)]
    eventually(lambda: rude.heard(streams[0], RESET), what="the first is dropped")
    assert not rude.heard(streams[-1], RESET)
    assert listed() == names


def test_health_is_told_without_a_key(world, directory):
    """To any client of the standard protocol, here without its messages: field 1 of the request is a name, of the answer a state."""
    key = directory / "key"
    key.write_text("key\n")
    key.chmod(0o600)
    router = world.router("--key", key)
    with grpc.insecure_channel(router.address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for name in b"", b"mindmeld":
            assert check(b"\x0a" + bytes([len(name)]) + name, timeout=PATIENCE) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as refusal:
            check(b"\x0a\x03web", timeout=PATIENCE)
        assert refusal.value.code() == grpc.StatusCode.NOT_FOUND
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=PATIENCE)
        assert next(watch) == b"\x08\x01"
        router.process.send_signal(signal.SIGTERM)
        assert next(watch) == b"\x08\x02"
        with pytest.raises(grpc.RpcError):
            next(watch)


def test_callers_do_not_fill_the_log(world):
    """Each registration is a line, and so is its end. What is too much is counted, and nothing is lost of the number."""
    router, rounds, services = world.router(), 4, 1000
    rude = world.target(Http2, router.port)
    for number in range(rounds):
        requests = [pb.CreateServiceRequest(name=f"web{number}-{service}") for service in range(services)]
        streams = [rude.call("ControlService/CreateService", request.SerializeToString()) for request in requests]
        eventually(lambda s=streams: all(rude.heard(stream, HEADERS) for stream in s), what="all are registered")
        for stream in streams:
            rude.reset(stream)
    router.stop()
    lines = router.text().splitlines()
    told = [line for line in lines if '"web' in line]
    left_out = sum(int(line.split()[2]) for line in lines if "left out" in line)
    assert len(told) < 5000 and left_out > 0
    assert len(told) + left_out == 2 * rounds * services
    assert lines[-1].endswith("Z mmrouter: end")
