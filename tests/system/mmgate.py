"""mmgate as a program of a test, and clients of it."""
import re
import socket

from harness import BUILD, PATIENCE, Program, eventually


class Gate(Program):
    def __init__(self, directory, router, *options, name="mmgate", **popen):
        super().__init__(directory, name, [BUILD / "mmgate", "--http", "127.0.0.1:0", *options, router], **popen)
        sign = r"listening on \S+:(\d+), https" if "--https" in options else r"listening on \S+:(\d+)"
        eventually(lambda: re.search(sign, self.text()) or not self.alive(), what="the gate listens")
        found = re.search(r"listening on \S+:(\d+)", self.text())
        assert found, f"the gate ended:\n{self.text()}"
        self.port = int(found[1])
        secure = re.search(r"listening on \S+:(\d+), https", self.text())
        self.https_port = secure and int(secure[1])

    def dial(self, timeout=PATIENCE):
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def says(self, data):
        """All that comes back for these bytes, after which the client says no more."""
        with self.dial() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := client.recv(1 << 16):
                answer += piece
            return answer


def status(answer):
    return int(answer.split()[1])


def request(path="/seen", host="app.test", method="GET", fields="", body=b""):
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode() + body


def read_head(client):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, head
        head += byte
    return head
