"""A client of HTTP/2 that says what it is told to, frame by frame, and keeps what comes."""
import contextlib
import socket
import struct
import threading

import hpack

from harness import PATIENCE
from http2 import frame, text

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, STREAM_CLOSED, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 2, 5, 7, 8, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW = 4


def block(fields):
    """Literal fields, without compression or indexing."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def as_bytes(value):
    return value if isinstance(value, bytes) else value.encode("latin-1")


def fields_of(method="GET", path="/seen", host="app.test", *more, scheme="http"):
    head = [(":method", method), (":scheme", scheme), (":authority", host), (":path", path), *more]
    return [(as_bytes(name), as_bytes(value)) for name, value in head if value is not None]


def head(stream, fields, flags=END_STREAM):
    """In as many frames as it takes."""
    data = block(fields)
    pieces = [data[at:at + 16384] for at in range(0, len(data), 16384)] or [b""]
    last = len(pieces) - 1
    return b"".join(frame(CONTINUATION if i else HEADERS, (0 if i else flags) | (END_HEADERS if i == last else 0), stream, piece)
                    for i, piece in enumerate(pieces))


class Answer:
    def __init__(self):
        self.heads, self.body, self.ended, self.reset = [], b"", False, None

    def over(self):
        return self.ended or self.reset is not None

    @property
    def status(self):
        """Of the final answer; None: there is none."""
        found = [int(head[":status"]) for head in self.heads if ":status" in head and int(head[":status"]) >= 200]
        return found[0] if found else None

    @property
    def fields(self):
        return next(head for head in self.heads if int(head.get(":status", 0)) >= 200)

    @property
    def trailers(self):
        return self.heads[-1] if ":status" not in self.heads[-1] else {}


class Client:
    """`window`: what each stream may send at first; `gives`: windows are given back as data comes; `first`: is said at once."""

    def __init__(self, port, window=65535, gives=True, first=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.gives, self.next = gives, 1
        self.answers, self.windows, self.goaway, self.closed, self.acks = {}, {0: 65535}, None, False, 0
        self.settings = {}
        self.news = threading.Condition()
        self.decoder = hpack.Decoder()
        self.send(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window)) + first)
        threading.Thread(target=self.hear, daemon=True).start()

    def send(self, data):
        with contextlib.suppress(OSError):  # what came of it is seen by what comes
            self.socket.sendall(data)

    def hear(self):
        come = self.socket.makefile("rb")
        with contextlib.suppress(OSError):
            while len(head := come.read(9)) == 9:
                payload = come.read(int.from_bytes(head[:3], "big"))
                with self.news:
                    self.heard(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
                    self.news.notify_all()
        with self.news:
            self.closed = True
            self.news.notify_all()

    def heard(self, kind, flags, stream, payload):
        answer = self.answers.setdefault(stream, Answer()) if stream else None
        if kind == SETTINGS and not flags & ACK:
            self.settings.update(struct.iter_unpack(">HI", payload))
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == PING:
            self.acks += 1
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, 65535) + int.from_bytes(payload, "big")
        elif kind == HEADERS:
            assert flags & END_HEADERS, "a head of ours fits into a frame"
            answer.heads.append(dict(self.decoder.decode(payload)))
        elif kind == DATA:
            answer.body += payload
            if self.gives and payload:
                self.send(b"".join(frame(WINDOW_UPDATE, 0, where, struct.pack(">I", len(payload))) for where in (0, stream)))
        elif kind == RESET:
            answer.reset = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
            self.last = int.from_bytes(payload[:4], "big")
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            answer.ended = True

    def wait(self, check, timeout=PATIENCE, what="something"):
        with self.news:
            assert self.news.wait_for(check, timeout), f"{what} did not come: {vars(self)}"

    def ask(self, fields, body=None, ended=True, trailers=None, pieces=()):
        """A request; returns its stream. Before each of `pieces` the other side has read the one before."""
        stream, self.next = self.next, self.next + 2
        self.answers.setdefault(stream, Answer())
        only = body is None and trailers is None and ended and not pieces
        self.send(head(stream, fields, END_STREAM if only else 0))
        if body is not None:
            self.data(stream, body, ended and trailers is None)
        for i, piece in enumerate(pieces):
            self.send(frame(DATA, END_STREAM if i == len(pieces) - 1 else 0, stream, piece))
            self.echoes()
        if trailers is not None:
            self.send(head(stream, trailers, END_STREAM))
        return stream

    def data(self, stream, body, ended=False):
        """As windows allow."""
        while True:
            with self.news:
                assert self.news.wait_for(lambda: self.room(stream) > 0 or not body or self.closed or self.answers[stream].over(), PATIENCE)
                if self.closed or self.answers[stream].over():
                    return
                size = min(len(body), 16384, self.room(stream))
                for where in 0, stream:
                    self.windows[where] = self.windows.get(where, 65535) - size
            piece, body = body[:size], body[size:]
            self.send(frame(DATA, END_STREAM if ended and not body else 0, stream, piece))
            if not body:
                return

    def room(self, stream):
        return min(self.windows[0], self.windows.get(stream, 65535))

    def answer(self, stream, timeout=PATIENCE):
        """Once it is over; None: the connection is."""
        answer = self.answers[stream]
        self.wait(lambda: answer.over() or self.closed, timeout, f"the end of {stream}")
        return answer if answer.over() else None

    def get(self, *fields, **more):
        return self.answer(self.ask(fields_of(*fields), **more))

    def reset(self, stream, code=CANCEL):
        self.send(frame(RESET, 0, stream, struct.pack(">I", code)))

    def echoes(self):
        """The other side has read all that was said."""
        before = self.acks
        self.send(frame(PING, 0, 0, b"all read"))
        self.wait(lambda: self.acks > before or self.closed, what="an echo")
        return not self.closed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
