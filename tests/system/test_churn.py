"""Many short connections at once, with every kind of end. What an end brings must be whole; what is reset must not look
like an end."""
import collections
import contextlib
import random
import socket
import struct
import threading
import time

import pytest

from harness import PATIENCE, Server, dial, eventually, reset

pytestmark = pytest.mark.threads

WORKERS, CONNECTIONS = 16, 5000
SIZES = [0, 0, 1, 64, 2048, 2049, 16384, 70000, 300000, 1 << 20]
BLOB = random.Random(1).randbytes(4 << 20)
TCP_CLOSE = 7


class Plan:
    """What both ends do, from the number that the application says first."""

    def __init__(self, number):
        source = random.Random(number)
        self.kind = source.choice(["whole", "whole", "application resets", "target resets", "target resets after the end"])
        self.up, self.down = [(at := source.randrange(1 << 20), BLOB[at : at + source.choice(SIZES)])[1] for _ in range(2)]
        self.ends = source.random() < 0.5


def say(connection, data, end, done):
    with contextlib.suppress(OSError):
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
            done.append(True)


def hear_while_saying(connection, data, end):
    """All that came, and how it ended."""
    connection.settimeout(PATIENCE)
    ended = []
    speaker = threading.Thread(target=say, args=(connection, data, end, ended))
    speaker.start()
    heard = bytearray()
    try:
        while more := connection.recv(1 << 16):
            heard += more
        # Who speaks may have been told of the reset.
        speaker.join()
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return bytes(heard), "reset" if state == TCP_CLOSE and not ended else "end"
    except ConnectionResetError:
        return bytes(heard), "reset"
    except TimeoutError:
        return bytes(heard), "silence"
    finally:
        speaker.join()


class Target(Server):
    def __init__(self):
        super().__init__()
        self.heard = {}

    def serve(self, connection):
        with connection:
            said = connection.recv(8, socket.MSG_WAITALL)
            if len(said) < 8:
                return
            number = struct.unpack("<Q", said)[0]
            plan = Plan(number)
            if plan.kind == "target resets":
                say(connection, plan.down[: len(plan.down) // 2], False, [])
                reset(connection)
            elif plan.kind == "target resets after the end":
                self.heard[number] = hear_while_saying(connection, b"", False)
                reset(connection)
            else:
                self.heard[number] = hear_while_saying(connection, plan.down, plan.kind == "whole")


def trouble(target, port, number):
    """One connection: what was not as it should be."""
    plan = Plan(number)
    with dial(port) as connection:
        connection.sendall(struct.pack("<Q", number))
        if plan.kind == "application resets":
            say(connection, plan.up[: len(plan.up) // 2], False, [])
            reset(connection)
            return None
        ends = plan.kind != "target resets" or plan.ends
        heard, how = hear_while_saying(connection, plan.up, ends)
    if how != ("end" if plan.kind == "whole" else "reset") or (how == "end" and heard != plan.down):
        return f"the application heard {len(heard)} of {len(plan.down)} bytes, then {how}"
    if plan.kind == "target resets":
        return None
    eventually(lambda: number in target.heard)
    if target.heard[number] != (plan.up, "end"):
        return f"the target heard {len(target.heard[number][0])} of {len(plan.up)} bytes, then {target.heard[number][1]}"
    return None


def test_churn(world, a, b):
    target = world.target(Target)
    a.service("web", target.address)
    port = b.forward("web")
    numbers, troubles = collections.deque(range(CONNECTIONS)), []
    deadline = time.monotonic() + 40

    def work():
        while time.monotonic() < deadline and len(troubles) < 10:
            try:
                number = numbers.popleft()
                found = trouble(target, port, number)
            except IndexError:
                return
            except (OSError, AssertionError) as error:
                found = repr(error)
            if found:
                troubles.append(f"{number}, {Plan(number).kind}: {found}")

    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not troubles
    for number, (heard, how) in list(target.heard.items()):
        plan = Plan(number)
        if plan.kind == "application resets":
            assert how == "reset" and plan.up.startswith(heard), number
    eventually(lambda: not a.listing("connections") and not b.listing("connections"), what="all are gone")
