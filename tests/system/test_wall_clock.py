"""The wall clock is set while a program runs: who is dead is noticed as soon as otherwise."""
import pathlib
import signal
import struct

import pytest

from harness import Echo, dial, eventually, hear_exactly, with_library

HOUR = 3600


class WallClock:
    """Of one process, which begins with the true time."""

    def __init__(self, directory):
        self.path = pathlib.Path(directory) / "wall-clock"
        self.path.write_bytes(bytes(8))
        self.env = {**with_library("wall_clock", directory), "MM_WALL_CLOCK": str(self.path)}

    def set(self, seconds):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("<q", seconds))


@pytest.fixture
def clock(world):
    return WallClock(world.directory)


def test_a_router_whose_clock_is_set_back_notices_who_is_dead(world, clock):
    router = world.router(env=clock.env)
    service, forward = world.mount(router), world.mount(router)
    service.service("web", world.target(Echo).address)
    forward.sees("web")
    clock.set(-HOUR)
    service.process.send_signal(signal.SIGSTOP)  # its machine answers, but it does not
    try:
        eventually(lambda: "web" not in forward.listing("services"), timeout=60)
    finally:
        service.process.send_signal(signal.SIGCONT)
    service.awaits("web", "online")


def test_a_mount_whose_clock_is_set_back_finds_its_router_again(world, clock):
    router = world.router()
    mount = world.mount(router, env=clock.env)
    mount.service("web", world.target(Echo).address)
    clock.set(-HOUR)
    router.kill()
    mount.connected("connecting")
    world.router(listen=router.address)
    mount.connected()
    mount.awaits("web", "online")
    with dial(mount.forward("web")) as application:
        application.sendall(b"there")
        assert hear_exactly(application, 5) == b"there"
