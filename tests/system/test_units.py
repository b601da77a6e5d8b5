"""What a service manager needs of the programs: what they tell it, how they end, and the units that say so."""
import json
import os
import pathlib
import re
import shutil
import socket

import pytest

from harness import BUILD, PATIENCE, Program, eventually, free_port, run_any, surroundings
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


# What is tried again, and what is not: the program, its arguments, the exit status, and a part of the sentence.
ENDS = [
    ("mmfs", ["--nonsense"], 2, "unknown option"),
    ("mmfs", ["127.0.0.1:1", "{directory}/missing"], 2, "does not exist"),
    ("mmfs", ["127.0.0.1:1", "{directory}/file"], 2, "is not a directory"),
    ("mmfs", ["127.0.0.1:1", "{directory}/full"], 2, '"services" was written there while the tree was not mounted'),
    ("mmfs", ["127.0.0.1:1", "/proc"], 1, "is a mount point already"),
    ("mmfs", ["", "{directory}/empty"], 2, "ROUTER is empty"),
    ("mmfs", ["-o", "key={directory}/missing", "127.0.0.1:1", "{directory}/empty"], 2, "No such file"),
    ("mmfs", ["-o", "cafile={directory}/file", "127.0.0.1:1", "{directory}/empty"], 2, "PEM"),
    ("mmfs", ["-o", "state={directory}/file", "127.0.0.1:1", "{directory}/empty"], 2, "the file is unchanged"),
    ("mmfs", ["-o", "identity={directory}/file", "127.0.0.1:1", "{directory}/empty"], 2, "damaged"),
    ("mmrouter", ["--nonsense"], 2, "is not an option"),
    ("mmrouter", ["--key", "{directory}/missing"], 2, "No such file"),
    ("mmrouter", ["--tls-cert", "{directory}/file", "--tls-key", "{directory}/file"], 2, "PEM"),
    ("mmrouter", ["--listen", "127.0.0.1:{taken}"], 1, "Address already in use"),
    ("mmrouter", ["--listen", "192.0.2.1:7000", "--open"], 1, "Cannot assign"),
    ("mmrouter", ["--listen", "name.invalid:7000", "--open"], 1, "does not resolve"),
]


def test_exit_status(directory, world):
    """The manager hears the sentence, too."""
    manager = world.add(Manager(f"{directory}/notify"))
    for name in "full", "full/services", "empty":
        (directory / name).mkdir()
    (directory / "file").write_text("nonsense")
    (directory / "file").chmod(0o600)
    taken = world.add(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    for program, arguments, status, sentence in ENDS:
        arguments = [argument.format(directory=directory, taken=taken) for argument in arguments]
        done = run_any(BUILD / program, *arguments, env={**os.environ, **surroundings(directory), **manager.env})
        assert (done.returncode, sentence in done.stderr) == (status, True), (program, arguments, done.returncode, done.stderr)
        manager.hears(f"STATUS={done.stderr.splitlines()[-1].split(': ', 1)[1]}")


def image():
    """What the image runs, as whom, and with what in the environment."""
    text = (pathlib.Path(__file__).resolve().parents[2] / "dist/Dockerfile").read_text().rsplit("\nFROM ", 1)[1]
    lines = dict(line.split(None, 1) for line in text.splitlines() if re.match("(ENV|USER|ENTRYPOINT|CMD) ", line))
    command = [*json.loads(lines["ENTRYPOINT"]), *json.loads(lines["CMD"])]
    return command, lines["USER"].split(":")[0], dict([lines["ENV"].split("=", 1)])


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, in a network of its own: needs root")
def test_the_image(world, directory):
    """Its line listens for others, wherever it runs, or says what is missing."""
    command, user, env = image()
    key, program = directory / "key", directory / "mmrouter"
    shutil.copy(BUILD / "mmrouter", program)
    assert command[0] == "/usr/local/bin/mmrouter"
    command = ["unshare", "--net", "setpriv", f"--reuid={user}", "--clear-groups", "--", program, *command[1:]]
    command[command.index("/secrets/key")] = key
    done = run_any(*command, env={**os.environ, **env})
    assert done.returncode == 2 and f"{key}: No such file" in done.stderr, done.stderr
    key.write_text("secret")
    key.chmod(0o600)
    done = run_any(*command, env={**os.environ, **env})
    assert done.returncode == 2 and "Permission denied" in done.stderr, done.stderr
    os.chown(key, int(user), -1)
    for more, port in ({}, 7000), ({"PORT": "8080"}, 8080):
        router = world.add(Program(directory, f"router{port}", command, env={**env, **more}))
        eventually(lambda: f"listening on 0.0.0.0:{port}, as PORT in the environment says\n" in router.text(), what="it listens")
