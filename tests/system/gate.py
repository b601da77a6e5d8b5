"""What may stand between a daemon and its router: it passes everything on, until it is shut to raw streams, as a front is that
speaks HTTP/2 only, or until it cuts what passes."""
import contextlib
import os
import select
import socket
import threading

from harness import PATIENCE, Server, reset
from preambles import MAGIC

RAW, GRPC = "raw", "gRPC"
ROOM = 1 << 20


class Cut(OSError):
    pass


class Passing:
    """A connection on its way: both sockets, until one breaks, both have ended, or somebody cuts it."""

    def __init__(self, kind, near, far):
        self.kind, self.ends, self.bytes, self.broken = kind, (near, far), 0, False
        self.woken, self.waker = os.pipe()
        for end in self.ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait(self, end, event):
        poll = select.poll()
        poll.register(end, event)
        poll.register(self.woken, select.POLLIN)
        if any(number == self.woken for number, _ in poll.poll()):
            raise Cut

    def moved(self, source, sink, size, end, event):
        """How many bytes went from one descriptor to the other; it waits for that end of them which is a socket."""
        while True:
            with contextlib.suppress(BlockingIOError):
                return os.splice(source, sink, size)
            self.wait(end, event)

    def copy(self, source, sink):
        inward, outward = os.pipe()
        try:
            while size := self.moved(source.fileno(), outward, ROOM, source, select.POLLIN):
                self.bytes += size
                while size:
                    size -= self.moved(inward, sink.fileno(), size, sink, select.POLLOUT)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.cut()
        finally:
            os.close(inward)
            os.close(outward)

    def cut(self):
        """Both sides see a reset, and no end before it."""
        if not self.broken:
            self.broken = True
            os.write(self.waker, b"!")

    def run(self):
        other = threading.Thread(target=self.copy, args=self.ends, daemon=True)
        other.start()
        self.copy(*reversed(self.ends))
        other.join()

    def close(self):
        for end in self.ends:
            reset(end) if self.broken else end.close()
        os.close(self.woken)
        os.close(self.waker)


class Gate(Server):
    """`address` is where daemons are told that the router is; the real one is at `router` whenever it is there."""

    def __init__(self, router):
        self.router, self.shut, self.lock = router, False, threading.Lock()
        self.passing, self.passed = set(), {RAW: 0, GRPC: 0}
        super().__init__()

    def serve(self, near):
        kind = RAW if near.recv(len(MAGIC), socket.MSG_PEEK | socket.MSG_WAITALL) == MAGIC else GRPC
        host, port = self.router.rsplit(":", 1)
        try:
            far = socket.create_connection((host, int(port)), PATIENCE)
        except OSError:
            return reset(near)
        one = Passing(kind, near, far)
        with self.lock:
            self.connections = [each for each in self.connections if each.fileno() >= 0]
            self.passing.add(one)
            if self.shut and kind == RAW:
                one.cut()
        one.run()
        with self.lock:
            self.passing.discard(one)
            self.passed[kind] += one.bytes
            one.close()

    def cut(self, *kinds):
        """Ends what passes now, as a box does that forgets its connections."""
        with self.lock:
            for one in self.passing:
                if one.kind in kinds:
                    one.cut()

    def shuts(self):
        """No raw stream passes any more."""
        self.shut = True
        self.cut(RAW)

    def opens(self):
        self.shut = False

    def bytes(self):
        """That were passed on so far, by kind."""
        with self.lock:
            return {kind: self.passed[kind] + sum(one.bytes for one in self.passing if one.kind == kind) for kind in self.passed}

    def close(self):
        self.cut(RAW, GRPC)
        super().close()
