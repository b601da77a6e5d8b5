"""What a service manager needs of the programs: what they tell it, how they end, and the units that say so."""
import os
import socket

import pytest

from harness import PATIENCE, free_port
from test_mounting import mmfs, point, usable_daemon  # noqa: F401


class Manager:
    """The socket of a service manager, and what it heard."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.socket.settimeout(PATIENCE)
        self.env = {"NOTIFY_SOCKET": name}
        self.heard = []

    def hears(self, assignment):
        """Waits until it has heard this, and forgets it."""
        while not any(assignment in said for said in self.heard):
            self.heard.append(self.socket.recv(4096).decode())
        self.heard = []

    def close(self):
        self.socket.close()


@pytest.fixture(params=["path", "@abstract"])
def manager(request, world, directory):
    return world.add(Manager(f"@mm-{os.getpid()}-{directory.name}" if request.param[0] == "@" else f"{directory}/notify"))


def test_a_manager_hears_of_both(world, manager):
    """From the beginning to the end, and meanwhile that their loops run."""
    port = free_port()
    watched = {**manager.env, "WATCHDOG_USEC": "200000"}
    a = world.mount(f"127.0.0.1:{port}", env=watched, wait="mounted", name="A")
    manager.hears(f"STATUS=not connected to 127.0.0.1:{port}: nothing listens at")
    manager.hears("READY=1")
    assert (a / "services").is_dir()
    for _ in range(3):
        manager.hears("WATCHDOG=1")
    router = world.router(listen=f"127.0.0.1:{port}", env=manager.env)
    manager.hears(f"STATUS=listening on 127.0.0.1:{port}")
    manager.hears("READY=1")
    manager.hears(f"STATUS=connected to 127.0.0.1:{port}")
    router.stop()
    manager.hears("STOPPING=1")
    manager.hears("STATUS=not connected to")
    a.stop()
    manager.hears("STOPPING=1")
    router = world.router(env=watched)
    for _ in range(3):
        manager.hears("WATCHDOG=1")


def test_a_manager_hears_who_went_to_the_background(directory, point, manager, monkeypatch):
    """Who was started is not who stays."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.env["NOTIFY_SOCKET"])
    done = mmfs(directory, "127.0.0.1:1", point)
    assert done.returncode == 0, done.stderr
    manager.hears(f"MAINPID={usable_daemon(point)}")
    manager.hears("READY=1")
