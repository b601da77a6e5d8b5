"""A caller that says whatever HTTP/2 allows, and more: gRPC's own libraries are too polite."""
import collections
import contextlib
import socket
import struct
import threading

DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4
CANCEL = 8


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    """As HPACK writes it, without compression."""
    size, out = len(value), b""
    if size < 127:
        return bytes([size]) + value
    size -= 127
    while size >= 128:
        out += bytes([size & 127 | 128])
        size >>= 7
    return b"\x7f" + out + bytes([size]) + value


class Http2:
    """One connection. What comes is kept."""

    def __init__(self, port, window=65535):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(None)
        self.frames, self.streams = collections.defaultdict(list), iter(range(1, 1 << 31, 2))
        self.window, self.windows = 65535, threading.Condition()  # what may be sent on the connection
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window)))
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        come = self.socket.makefile("rb")
        with contextlib.suppress(OSError):
            while len(head := come.read(9)) == 9:
                payload = come.read(int.from_bytes(head[:3], "big"))
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
                if kind in (SETTINGS, PING) and not flags & ACK:
                    self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
                if (stream, kind) == (0, WINDOW_UPDATE):
                    with self.windows:
                        self.window += int.from_bytes(payload, "big")
                        self.windows.notify()
                self.frames[stream, kind].append(payload)

    def call(self, method, message=b"", **metadata):
        """A call with one message. Returns its stream."""
        stream = next(self.streams)
        fields = {":method": "POST", ":scheme": "http", ":path": f"/mindmeld.{method}", ":authority": "router", "te": "trailers",
                  "content-type": "application/grpc", **metadata}
        data = b"\0" + struct.pack(">I", len(message)) + message
        with self.windows:
            assert self.windows.wait_for(lambda: self.window >= len(data), 30), "the window stays shut"
            self.window -= len(data)
        block = b"".join(b"\0" + text(key.encode()) + text(value.encode("latin-1")) for key, value in fields.items())
        self.socket.sendall(frame(HEADERS, END_HEADERS, stream, block) +
                            frame(DATA, END_STREAM, stream, data))
        return stream

    def reset(self, stream):
        self.socket.sendall(frame(RESET, 0, stream, struct.pack(">I", CANCEL)))

    def heard(self, stream, kind):
        return self.frames.get((stream, kind), [])

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
