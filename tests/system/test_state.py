"""What is declared, over the daemon's own end: kept in a file, and there again before the mount is announced."""
import contextlib
import errno
import os
import re
import resource
import signal
import socket
import subprocess

import pytest

from harness import BUILD, Echo, bash, dead, eventually, exchange, expect_listener, free_port, is_mounted, refused, run, run_any, sanitizer_reports, surroundings


def declared(mount):
    """All that is declared in a tree, as it reads back. Nothing here waits for the router."""
    found = {}
    for name in mount.listing("services"):
        with contextlib.suppress(FileNotFoundError):
            found[f"services/{name}"] = mount.read(f"services/{name}/target")
    for name in mount.listing("forwards"):
        found[f"forwards/{name}"] = mount.read(f"forwards/{name}")
    return found


def text_of(*lines):
    """A state file as somebody writes it by hand."""
    return "".join(f"{line}\n" for line in ("mindmeld state 1", *lines, "end"))


@pytest.fixture
def path(directory):
    return directory / "state"


def start(world, router, path):
    """Starts mmfs with the file, again and again at the same place; does not wait for the router."""
    mount = world.mount(router, f"state={path}", name="A", wait=None)
    eventually(lambda: mount.values("status")["pid"] == str(mount.pid) or not mount.alive(), what="mounted, in place of a former one")
    assert mount.alive(), mount.text()
    return mount


@pytest.fixture
def keeper(world, router, path):
    return lambda: start(world, router, path)


def refusal(directory, router, options, status=2):
    """mmfs does not start, and says why."""
    point = directory / "refused"
    point.mkdir(exist_ok=True)
    done = run_any(BUILD / "mmfs", "-o", options, router.address, point, env={**os.environ, **surroundings(directory)})
    assert done.returncode == status, (done.returncode, done.stderr)
    assert not is_mounted(point)
    assert re.match(r"^mmfs: .+\n$", done.stderr), done.stderr
    return done.stderr


def declare_some(mount, directory, target):
    mount.service("web", target, state="online")
    mount.service("later", "unix:/nowhere/at all", state=None)
    os.mkdir(mount / "services/empty")
    os.mkdir(mount / "services/gone")
    os.rmdir(mount / "services/gone")
    mount.write("services/short", "localhost:81\n")
    mount.write("forwards/web", f"0\n127.0.0.2:0\nunix:{directory}/s\n")
    mount.write("forwards/short", f"{free_port()}\n")
    mount.write("forwards/short", "127.0.0.3:0\n", os.O_APPEND)
    mount.write("forwards/later", "0\n")
    os.unlink(mount / "forwards/later")


@pytest.mark.threads
def test_all_is_back_after_a_kill(world, router, keeper, directory):
    a = keeper()
    a.connected()
    declare_some(a, directory, world.target(Echo).address)
    before = declared(a)
    assert set(before) == {"services/web", "services/later", "services/empty", "services/short", "forwards/web", "forwards/short"}
    a.kill()
    a = keeper()
    assert declared(a) == before
    port = a.ports("web")[0]
    a.connected()
    a.awaits("web", "online")
    assert exchange(port, b"again") == b"again"
    assert exchange(directory / "s", b"again") == b"again"
    a.awaits("empty", "pending")


def test_it_is_there_when_the_command_returns(world, router, directory, path):
    """In the background form: who runs it has everything, and the forwards listen."""
    path.write_text(text_of("service web localhost:80", "service empty", "forward db 127.0.0.1:0", f"forward db unix:{directory}/s"))
    point = directory / "point"
    point.mkdir()
    done = bash(f"cd {directory} && {BUILD}/mmfs -o state=state {router.address} point", env={**os.environ, **surroundings(directory)})
    try:
        assert done.returncode == 0, done.stderr
        assert (point / "services/web/target").read_text() == "localhost:80\n"
        assert (point / "services/empty/target").read_text() == ""
        lines = (point / "forwards/db").read_text().splitlines()
        assert int(lines[0].rsplit(":", 1)[1]) > 0 and lines[1] == f"unix:{directory}/s"
        for listener in (int(lines[0].rsplit(":", 1)[1]), directory / "s"):
            expect_listener(listener)
        # The port that was found is kept in the file, whose name was relative to another directory.
        eventually(lambda: f"forward db {lines[0]}\n" in path.read_text())
    finally:
        pid = int(re.search(r"^pid (\d+)", (point / "status").read_text(), re.M)[1])
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_mounted(point) and not os.path.exists(f"/proc/{pid}"), what="the daemon ends")


def test_no_router_is_needed(world, directory, path):
    path.write_text(text_of("service web localhost:80", "forward web 127.0.0.1:0"))
    a = start(world, f"127.0.0.1:{free_port()}", path)
    assert a.state("web") == "offline"
    port = a.ports("web")[0]
    eventually(lambda: f"forward web 127.0.0.1:{port}\n" in path.read_text())
    a.kill()
    a = start(world, f"127.0.0.1:{free_port()}", path)
    assert a.ports("web") == [port]


CHANGES = {
    "mkdir": ("mkdir services/b", "services/b", ""),
    "rmdir": ("rmdir services/a", "services/a", None),
    "echo": ("echo localhost:81 > services/a/target", "services/a", "localhost:81\n"),
    "echo, short": ("echo localhost:81 > services/b", "services/b", "localhost:81\n"),
    "no newline": ("printf localhost:81 > services/a/target", "services/a", "localhost:81\n"),
    "rm target": ("rm services/a/target", "services/a", ""),
    "rm -r": ("rm -r services/a", "services/a", None),
    "a forward": ("echo 127.0.0.5:{port} > forwards/a", "forwards/a", "127.0.0.5:{port}\n"),
    "one more": ("echo 127.0.0.5:{port} >> forwards/c", "forwards/c", "127.0.0.4:{port}\n127.0.0.5:{port}\n"),
    "another": ("echo 127.0.0.5:{port} > forwards/c", "forwards/c", "127.0.0.5:{port}\n"),
    "rm": ("rm forwards/c", "forwards/c", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_answered_is_kept(keeper, path, change):
    """The kill comes right behind the answer."""
    port = free_port()
    command, where, expected = (part.format(port=port) if part else part for part in CHANGES[change])
    a = keeper()
    a.connected()
    a.service("a", "localhost:80")
    os.mkdir(a / "services/c")
    a.write("services/c/target", "localhost:80\n")
    a.write("forwards/c", f"127.0.0.4:{port}\n")
    before = declared(a)
    a.expected_exit = -signal.SIGKILL
    done = bash(f"cd {a.path} && {command} && kill -9 {a.pid}")
    assert done.returncode == 0, done.stderr
    a.process.wait()
    a = keeper()
    if expected is None:
        del before[where]
    else:
        before[where] = expected
    assert declared(a) == before


@pytest.mark.parametrize("end", ["SIGTERM", "umount"])
def test_an_orderly_end_keeps_it_too(world, router, keeper, directory, end):
    a = keeper()
    a.connected()
    declare_some(a, directory, world.target(Echo).address)
    before = declared(a)
    if end == "SIGTERM":
        assert a.stop() == 0
    else:
        run("umount" if os.getuid() == 0 else "fusermount3", *([] if os.getuid() == 0 else ["-u"]), a.path)
    # Who has just unmounted need not wait for the former process to be gone.
    b = keeper()
    assert declared(b) == before
    b.connected()
    b.awaits("web", "online")
    assert exchange(b.ports("web")[0], b"again") == b"again"


def test_a_dead_mount_with_users_is_replaced(keeper, router):
    """A shell stands in it, and has a file open."""
    a = keeper()
    os.mkdir(a / "services/web")
    shell = subprocess.Popen(["sleep", "60"], cwd=a / "services/web")
    held = os.open(a / "events", os.O_RDONLY)
    try:
        a.kill()
        assert dead(a.path)
        with refused(errno.ENOTCONN):
            os.read(held, 10)
        a = keeper()
        assert declared(a) == {"services/web": ""}
        with refused(errno.ENOTCONN):
            os.stat(f"/proc/{shell.pid}/cwd/status")
    finally:
        with contextlib.suppress(OSError):
            os.close(held)
        shell.kill()
        shell.wait()


WHOLE = text_of("service web localhost:80", "forward web 127.0.0.1:9000")
DAMAGE = {
    "empty": ("", "the file is empty"),
    "cut": (WHOLE[:40], "cut short"),
    "cut at a line": (WHOLE[: WHOLE.index("forward")], "cut short"),
    "checksum": (WHOLE[:-1] + " 01234567\n", "the checksum in the last line is wrong"),
    "line": (WHOLE.replace("forward web", "forward Web"), "line 3"),
    "newer": (WHOLE.replace("state 1", "state 4"), "a newer mmfs wrote it"),
    "other": ("#!/bin/sh\necho hello\n", "does not begin with"),
    "bytes": ("\x00\xff\n" * 100, "does not begin with"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_and_left_alone(directory, router, path, damage):
    text, why = DAMAGE[damage]
    path.write_text(text)
    path.chmod(0o600)
    before = path.stat()
    said = refusal(directory, router, f"state={path}")
    assert str(path) in said and why in said and "the file is unchanged" in said
    assert path.read_text() == text
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_others_may_write_is_refused(directory, router, path):
    path.write_text(WHOLE)
    path.chmod(0o666)
    assert "chmod 600" in refusal(directory, router, f"state={path}")
    assert path.read_text() == WHOLE


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file away: needs root")
def test_what_is_somebody_elses_is_refused(directory, router, path):
    path.write_text(WHOLE)
    os.chown(path, 12345, 12345)
    assert "belongs to user 12345" in refusal(directory, router, f"state={path}")


def test_a_directory_that_is_missing(directory, router):
    assert "its directory cannot be used" in refusal(directory, router, f"state={directory}/missing/state")


def test_two_mounts_with_one_file(directory, router, keeper, path):
    a = keeper()
    os.mkdir(a / "services/web")
    text = path.read_text()
    assert "in use by another mmfs" in refusal(directory, router, f"state={path}", status=1)
    assert path.read_text() == text
    a.kill()
    a = keeper()
    assert declared(a) == {"services/web": ""}


def test_the_file_is_private_and_readable(keeper, path):
    a = keeper()
    assert not path.exists()
    os.mkdir(a / "services/web")
    assert path.stat().st_mode & 0o7777 == 0o600
    assert re.fullmatch(r"mindmeld state 1\nservice web\nend [0-9a-f]{8}\n", path.read_text())
    assert sorted(p.name for p in path.parent.iterdir() if p.name.startswith("state")) == ["state", "state.lock"]


def test_a_file_that_was_edited(keeper, path):
    a = keeper()
    os.mkdir(a / "services/web")
    a.kill()
    path.write_text(re.sub(r"end .*", "service more localhost:80\nend", path.read_text()))
    a = keeper()
    assert declared(a) == {"services/web": "", "services/more": "localhost:80\n"}


def test_a_port_that_is_taken_meanwhile(keeper, path):
    """It stays declared, is told, and is listened on as soon as it can be."""
    a = keeper()
    a.connected()
    a.service("web", "localhost:80")
    a.write("forwards/web", "0\n127.0.0.2:0\n")
    before = declared(a)
    first, second = a.ports("web")
    a.kill()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first))
        other.listen()
        a = keeper()
        assert declared(a) == before
        assert [line for line in a.errors() if "forward web: does not listen on" in line and str(first) in line]
        expect_listener(("127.0.0.2", second))
        a.kill()
        a = keeper()
        assert declared(a) == before
    eventually(lambda: f"listening on 127.0.0.1:{first}" in a.read("events"))
    expect_listener(first)
    assert len([line for line in a.errors() if "does not listen on" in line]) == 1


def checks_what_cannot_be_kept(a, keeper, path, stop, go_on, why):
    """The declaration stands, which is told once; the file has what it had; and it is kept when that is possible."""
    os.mkdir(a / "services/before")
    text = path.read_text()
    stop()
    for name in ("b", "c", "d"):
        os.mkdir(a / f"services/{name}")
    told = [line for line in a.errors() if "is not saved" in line]
    assert len(told) == 1 and why in told[0], a.errors()
    assert "is not saved" in a.read("events")
    assert path.read_text() == text
    assert not os.path.exists(f"{path}.tmp")
    go_on()
    eventually(lambda: "is saved in" in a.read("events"), what="it is kept again")
    assert "service d\n" in path.read_text()
    before = declared(a)
    assert len(before) == 4
    a.kill()
    assert declared(keeper()) == before


def test_a_file_that_may_not_grow(keeper, path):
    a = keeper()
    checks_what_cannot_be_kept(
        a, keeper, path,
        lambda: resource.prlimit(a.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY)),
        lambda: resource.prlimit(a.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
        "File too large")


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs: needs root")
def test_a_full_disk(world, router, directory):
    disk = directory / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64k", "none", disk)
    filler = disk / "filler"

    def fill():
        with refused(errno.ENOSPC), open(filler, "wb", buffering=0) as out:
            while True:
                out.write(bytes(4096))

    def keeper():
        return start(world, router, disk / "state")

    try:
        checks_what_cannot_be_kept(keeper(), keeper, disk / "state", fill, lambda: os.unlink(filler), "No space left")
    finally:
        run("umount", "-l", disk)


def test_many_at_once(keeper, path):
    """As fast as they can be declared, from several sides, and all are kept."""
    a = keeper()
    script = f"cd {a.path}/services; for i in $(seq 100); do mkdir $1-$i; done; for i in $(seq 2 2 100); do rmdir $1-$i; done"
    makers = [subprocess.Popen(["bash", "-c", script, "bash", name]) for name in ("a", "b", "c")]
    assert [maker.wait(60) for maker in makers] == [0, 0, 0]
    a.kill()
    assert declared(keeper()) == {f"services/{name}-{number}": "" for name in "abc" for number in range(1, 101, 2)}


# A machine, and one that was cloned from it: all files are the same but one.
CLONED = """
set -e
on() {{ printf '%s\\n' "$1" > /etc/machine-id; mmfs=$2; shift 2; {mmfs} -o "state=$mmfs.state,identity=$mmfs.identity" {router} $mmfs; }}
mount -t tmpfs none /etc
mkdir first clone
on 0123456789abcdef0123456789abcdef first
mkdir first/services/web
echo 127.0.0.1:1 > first/services/web/target
cp -p first.state clone.state
cp -p first.identity clone.identity
on fedcba9876543210fedcba9876543210 clone
cat clone/services/web/status first/services/web/status clone/events
! grep superseded first/status
umount clone first
"""


@pytest.mark.skipif(os.getuid() != 0, reason="a mount namespace of its own needs root")
def test_a_cloned_machine_is_somebody_else(router, directory):
    script = CLONED.format(mmfs=BUILD / "mmfs", router=router.address)
    done = run_any("unshare", "-m", "sh", "-c", script, cwd=directory, env={**os.environ, **surroundings(directory)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("taken\nonline\n"), done.stdout
    assert "clone.identity: was written on another machine" in done.stdout and "was written on another machine" in done.stderr
    assert not sanitizer_reports(directory)
