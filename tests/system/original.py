"""Peers that speak the first version's wire, from its description: four methods and no others, the token inside the
data, no half-close (the end of one direction ends both, after what is queued), no tolerance for keepalive pings."""
import contextlib
import queue
import secrets
import socket
import struct
import threading
import time
from concurrent import futures

import grpc
import mindmeld_pb2 as pb

CONTROL, PROXY = "/mindmeld.ControlService/", "/mindmeld.ProxyService/"
QUEUED = 10


def token_bytes(token):
    header = pb.Header(token=token).SerializeToString()
    return struct.pack("<I", len(header)) + header


def pieces(data, cuts):
    """`data` cut at these offsets."""
    at = 0
    for cut in sorted(set(cut for cut in cuts if 0 < cut < len(data))):
        yield data[at:cut]
        at = cut
    yield data[at:]


class Stubs:
    """The first version's methods on a channel."""

    def __init__(self, channel):
        self.create = channel.unary_stream(
            CONTROL + "CreateService", pb.CreateServiceRequest.SerializeToString, pb.CreateServiceResponse.FromString
        )
        self.forward = channel.unary_unary(
            CONTROL + "ForwardToService", pb.ForwardToServiceRequest.SerializeToString, pb.ForwardToServiceResponse.FromString
        )
        self.list = channel.unary_unary(
            CONTROL + "ListServices", pb.ListServicesRequest.SerializeToString, pb.ListServicesResponse.FromString
        )
        self.proxy = channel.stream_stream(PROXY + "ProxyConnection", pb.Payload.SerializeToString, pb.Payload.FromString)


class Client:
    """Both sides of the first version's client. `cut` says where the token's bytes are cut; `glue` puts the first
    traffic into the token's last message."""

    def __init__(self, address, cut=(4,), glue=False):
        self.channel = grpc.insecure_channel(address)
        self.stubs = Stubs(self.channel)
        self.cut, self.glue = cut, glue
        self.listeners, self.services = [], []
        self.streams = []  # a call that nobody holds any more is cancelled
        self.violations = []

    def close(self):
        for service in self.services:
            service.cancel()
        for listener in self.listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.channel.close()

    def names(self):
        return [service.name for service in self.stubs.list(pb.ListServicesRequest(), timeout=10).services]

    def serve(self, name, port):
        call = self.stubs.create(pb.CreateServiceRequest(name=name))
        self.services.append(call)

        def loop():
            with contextlib.suppress(grpc.RpcError):
                for response in call:
                    threading.Thread(target=self.answer, args=(response.token, port), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()
        return call

    def answer(self, token, port):
        stream = self.open(token)
        try:
            local = socket.create_connection(("127.0.0.1", port), 10)
            local.settimeout(None)
        except OSError:
            stream.close()
            return
        self.copy(stream, local)

    def forward(self, name):
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listeners.append(listener)

        def loop():
            with contextlib.suppress(OSError):
                while True:
                    local, _ = listener.accept()
                    threading.Thread(target=self.accepted, args=(name, local), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()
        return listener.getsockname()[1]

    def accepted(self, name, local):
        try:
            token = self.stubs.forward(pb.ForwardToServiceRequest(name=name), timeout=10).token
        except grpc.RpcError:
            local.close()
            return
        self.copy(self.open(token), local)

    def open(self, token):
        stream = ClientStream(self.stubs.proxy, token, self.cut, self.glue, self.violations)
        self.streams.append(stream)
        return stream

    @staticmethod
    def copy(stream, local):
        """Until one direction ends; then both do."""
        ended = threading.Event()

        def down():
            with contextlib.suppress(OSError, grpc.RpcError):
                for data in stream.received():
                    local.sendall(data)
            ended.set()

        def up():
            with contextlib.suppress(OSError):
                while data := local.recv(32768):
                    if not stream.send(data):
                        break
            ended.set()

        for work in (down, up):
            threading.Thread(target=work, daemon=True).start()
        ended.wait()
        with contextlib.suppress(OSError):
            local.shutdown(socket.SHUT_RDWR)
        local.close()
        stream.close()


class ClientStream:
    def __init__(self, method, token, cut, glue, violations):
        self.queue = queue.Queue(QUEUED)
        self.closed = False
        self.violations = violations
        parts = list(pieces(token_bytes(token), cut))
        self.prefix = b""
        if glue:
            self.prefix = parts.pop()
        self.call = method(self.requests())
        for part in parts:
            self.queue.put(part)

    def requests(self):
        while (data := self.queue.get()) is not None:
            yield pb.Payload(data=data)

    def send(self, data):
        data, self.prefix = self.prefix + data, b""
        while not self.closed and self.call.is_active():
            with contextlib.suppress(queue.Full):
                self.queue.put(data, timeout=0.1)
                return True
        return False

    def received(self):
        for payload in self.call:
            if payload.WhichOneof("payload") == "header" or payload.eof or payload.HasField("reset"):
                self.violations.append(str(payload)[:200])
            yield payload.data

    def close(self):
        """What is queued goes first; then the stream is half-closed, and not read any more."""
        self.closed = True
        if self.prefix:
            self.queue.put(self.prefix)
        while self.call.is_active():
            with contextlib.suppress(queue.Full):
                self.queue.put(None, timeout=0.1)
                return
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(None)


class ServerStream:
    """One ProxyConnection at the router: a connection that is read and written, and closed once for both."""

    def __init__(self, requests, violations):
        self.requests, self.violations = requests, violations
        self.out = queue.Queue(QUEUED)
        self.closed = False
        self.rest = b""

    def read(self):
        """The next data, or None at the end."""
        if self.rest:
            data, self.rest = self.rest, b""
            return data
        try:
            payload = next(self.requests)
        except (StopIteration, grpc.RpcError, Exception):
            return None
        if payload.WhichOneof("payload") == "header" or payload.eof or payload.HasField("reset"):
            self.violations.append(str(payload)[:200])
        return payload.data

    def read_token(self):
        have, wanted = b"", 4
        while len(have) < wanted or wanted == 4:
            if len(have) >= 4 and wanted == 4:
                wanted = 4 + struct.unpack("<I", have[:4])[0]
                continue
            data = self.read()
            if data is None:
                return None
            have += data
        self.rest = have[wanted:]
        return pb.Header.FromString(have[4:wanted]).token

    def write(self, data):
        while not self.closed:
            with contextlib.suppress(queue.Full):
                self.out.put(data, timeout=0.1)
                return True
        return False

    def close(self):
        self.closed = True
        threading.Thread(target=self.out.put, args=(None,), daemon=True).start()

    def responses(self):
        while (data := self.out.get()) is not None:
            yield pb.Payload(data=data)


class Router:
    """The first version's router. `pings` counts nothing: gRPC's own default hangs up at the third too early ping."""

    def __init__(self, port=0, workers=400):
        self.lock = threading.Lock()
        self.services, self.forward_tokens, self.service_tokens = {}, {}, {}
        self.violations, self.calls = [], []
        self.server = grpc.server(futures.ThreadPoolExecutor(workers), options=[("grpc.so_reuseport", 0)])
        handlers = {
            "CreateService": grpc.unary_stream_rpc_method_handler(
                self.create, pb.CreateServiceRequest.FromString, pb.CreateServiceResponse.SerializeToString),
            "ForwardToService": grpc.unary_unary_rpc_method_handler(
                self.forward, pb.ForwardToServiceRequest.FromString, pb.ForwardToServiceResponse.SerializeToString),
            "ListServices": grpc.unary_unary_rpc_method_handler(
                self.list, pb.ListServicesRequest.FromString, pb.ListServicesResponse.SerializeToString),
        }
        proxy = {"ProxyConnection": grpc.stream_stream_rpc_method_handler(
            self.proxy, pb.Payload.FromString, pb.Payload.SerializeToString)}
        self.server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("mindmeld.ControlService", handlers),
            grpc.method_handlers_generic_handler("mindmeld.ProxyService", proxy),
        ))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def close(self):
        with self.lock:
            for waiting in self.services.values():
                waiting[1].put(None)
        self.server.stop(0).wait(10)

    def create(self, request, context):
        with self.lock:
            if request.name in self.services:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f'service "{request.name}" already exists')
            waiting = queue.Queue()
            self.services[request.name] = (time.time(), waiting)
        context.add_callback(lambda: waiting.put(None))
        try:
            while (forward := waiting.get()) is not None:
                token, came = secrets.token_hex(32), queue.Queue()
                with self.lock:
                    self.service_tokens[token] = came
                threading.Thread(target=self.bridge, args=(forward, came), daemon=True).start()
                yield pb.CreateServiceResponse(token=token, dial_addr="")
        finally:
            with self.lock:
                del self.services[request.name]

    @staticmethod
    def bridge(forward, came):
        service = came.get()

        def copy(source, sink, ended):
            while (data := source.read()) is not None and sink.write(data):
                pass
            ended.set()

        ended = threading.Event()
        for ends in ((forward, service), (service, forward)):
            threading.Thread(target=copy, args=(*ends, ended), daemon=True).start()
        ended.wait()
        forward.close()
        service.close()

    def forward(self, request, context):
        with self.lock:
            if request.name not in self.services:
                context.abort(grpc.StatusCode.NOT_FOUND, f'service "{request.name}" does not exist')
            token = secrets.token_hex(32)
            self.forward_tokens[token] = request.name
        return pb.ForwardToServiceResponse(token=token, dial_addr="")

    def list(self, request, context):
        with self.lock:
            answer = pb.ListServicesResponse()
            for name, (created, _) in self.services.items():
                answer.services.add(name=name).create_time.FromNanoseconds(int(created * 1e9))
        return answer

    def proxy(self, requests, context):
        stream = ServerStream(requests, self.violations)
        token = stream.read_token()
        with self.lock:
            came = self.service_tokens.pop(token, None)
            name = self.forward_tokens.pop(token, None)
            service = self.services.get(name)
        if came:
            came.put(stream)
        elif service:
            service[1].put(stream)
        else:
            return
        yield from stream.responses()
