"""Where the parts of survive.py play: a router and two mounts, routers that go and come, and how the connections take it."""
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "system"), str(ROOT / "netlab")]

from harness import World, eventually, hear_exactly

SEED = os.environ.get("MM_SEED") or str(time.time_ns())


@contextlib.contextmanager
def place(*router_options, options=("", "")):
    """A router and two mounts of this machine."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    world = World(directory)
    try:
        router = world.router(*router_options)
        yield world, router, world.mount(router, options[0], name="A"), world.mount(router, options[1], name="B")
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def restarted(world, router, pause=0.0):
    """Kills the router; its successor, and how long there was none."""
    start = time.monotonic()
    router.kill()
    time.sleep(pause)
    return world.router(listen=router.address), time.monotonic() - start


def drained(world, router):
    """The router is told to end, and another one takes the address as soon as it is free."""
    router.process.send_signal(signal.SIGTERM)
    return eventually(lambda: world.router(listen=router.address), what="a successor has the address")


def speak(connection, word=b"12345678"):
    connection.sendall(word)
    assert hear_exactly(connection, len(word)) == word


def works(connection):
    try:
        speak(connection)
    except (OSError, AssertionError):
        return False
    return True


def until(check, patience=60):
    """Seconds, or None."""
    begin = time.monotonic()
    while time.monotonic() - begin < patience:
        with contextlib.suppress(OSError, KeyError):
            if check():
                return time.monotonic() - begin
        time.sleep(0.02)
    return None


def mib(program):
    return program.rss() / 2**20
