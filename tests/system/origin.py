"""An HTTP server by hand, as a target of the gate: it answers what its path says, and reports what it saw."""
import socket

from harness import Server

ANSWERS = {
    "/plain": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-A:  b \r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\nhello\n",
    "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;a=b\r\nabc\r\n00002\r\nde\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\n\r\n",
    "/interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"a\"\r\n\r\n",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\nhello\n",
    "/length-and-chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "/no-http": b"220 smtp.example.com\r\n",
    "/fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "/unasked-101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
}
CLOSING = {
    "/to-close": b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold",
    "/nothing": b"",
    "/half-a-head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "/half-a-body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "/half-a-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
}


class Origin(Server):
    def __init__(self):
        self.requests = []  # heads and bodies as they came
        super().__init__()

    def serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            while self.one(connection, lines):
                pass

    def one(self, connection, lines):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = lines.readline()
            if not line:
                return False
            head += line
        path = head.split()[1].decode()
        if path == "/early":
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
            return False
        if path == "/unread":  # the test reads
            self.held = connection, lines
            return self.go_on.wait(60)
        if b"100-continue" in head and path != "/refuses":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.body(head, lines)
        self.requests.append((head, body))
        return self.answer(connection, lines, path, head, body)

    @staticmethod
    def body(head, lines):
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
        if b"content-length" in fields:
            size = int(fields[b"content-length"])
            body = lines.read(size)
            if len(body) < size:
                raise ConnectionResetError("the body breaks off")
            return body
        if b"transfer-encoding" not in fields:
            return b""
        raw = b""
        while True:
            size = lines.readline()
            if not size:
                raise ConnectionResetError("the body breaks off")
            raw += size
            if int(size, 16) == 0:
                break
            raw += lines.read(int(size, 16) + 2)
        while not raw.endswith(b"\r\n\r\n"):
            raw += lines.readline()
        return raw

    def answer(self, connection, lines, path, head, body):
        if path in CLOSING:
            connection.sendall(CLOSING[path])
            connection.shutdown(socket.SHUT_RDWR)
            return False
        if path == "/upgrade":
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := lines.read1(1 << 16):
                connection.sendall(data)
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            return False
        if path.startswith("/large/"):
            size = int(path.split("/")[2])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            while size:
                size -= connection.send(b"x" * min(size, 1 << 16))
            return True
        seen = head + body
        default = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(seen)
        if head.startswith(b"HEAD"):
            connection.sendall(ANSWERS[path].split(b"\r\n\r\n")[0] + b"\r\n\r\n" if path in ANSWERS else default)
        else:
            connection.sendall(ANSWERS.get(path, default + seen))
        return True
