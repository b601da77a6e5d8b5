"""Declaring, withdrawing and naming: what mkdir, rmdir, rm and create mean in the tree."""
import errno
import os

import pytest

from harness import OWN_SERVICE, Echo, bash, dial, eventually, exchange, free_port, hear_exactly, refused


def test_the_three_lines_of_the_manual(world, a, b):
    target = world.target(Echo)
    done = bash(f"mkdir {a.path}/services/web && cd {a.path}/services/web && echo localhost:{target.port} > target && cat status")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "online\n"
    b.sees("web")
    done = bash(f"echo 0 > {b.path}/forwards/web && cat {b.path}/forwards/web && ls {b.path}/services")
    assert done.stdout.splitlines() == [f"127.0.0.1:{b.ports('web')[0]}", "web"]
    assert exchange(b.ports("web")[0], b"hello") == b"hello"


def test_the_tree_at_first(a):
    assert a.listing("") == ["connections", "errors", "events", "forwards", "public", "services", "status"]
    assert a.listing("services") == a.listing("forwards") == a.listing("connections") == []
    values = a.values("status")
    assert values["state"] == "connected" and "router" in values and "version" in values


def test_a_service_goes_through_its_states(a):
    os.mkdir(a / "services/web")
    assert a.state("web") == "pending"
    assert a.listing("services/web") == OWN_SERVICE
    a.write("services/web/target", "localhost:80\n")
    assert a.state("web") == "online"
    assert a.read("services/web/target") == "localhost:80\n"


def test_a_write_to_the_name_declares(a, b):
    done = bash(f"echo localhost:80 > {a.path}/services/web")
    assert done.returncode == 0, done.stderr
    a.awaits("web", "online")
    assert os.path.isdir(a / "services/web")
    b.sees("web")
    done = bash(f"echo localhost:81 > {a.path}/services/web")
    assert "Is a directory" in done.stderr


def test_a_write_to_the_name_that_is_refused_leaves_nothing(a):
    a.refuses(errno.EINVAL, "services/web", "nonsense\n")
    assert a.listing("services") == []
    with open(a / "services/empty", "w"):
        pass
    eventually(lambda: a.listing("services") == [], what="an empty declaration goes")


def test_a_name_keeps_its_node(a):
    os.mkdir(a / "services/web")
    inode = os.stat(a / "services/web").st_ino
    before = os.open(a / "services/web", os.O_DIRECTORY)
    a.write("services/web/target", "localhost:80\n")
    assert os.stat(a / "services/web").st_ino == inode
    with open(os.open("status", os.O_RDONLY, dir_fd=before)) as status:
        assert status.read() == "online\n"
    os.close(before)


@pytest.mark.parametrize("how", ["rmdir", "rm -r", "rm -rf"])
def test_withdrawing(a, b, how):
    a.service("web", "localhost:80")
    b.sees("web")
    done = bash(f"{how} {a.path}/services/web")
    assert done.returncode == 0, done.stderr
    assert a.listing("services") == []
    b.misses("web")


def test_rm_target_withdraws_and_keeps_the_name(a, b):
    a.service("web", "localhost:80")
    b.sees("web")
    os.unlink(a / "services/web/target")
    eventually(lambda: a.state("web") == "pending")
    b.misses("web")


def test_withdrawing_lets_live_connections_finish(world, a, b):
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    with dial(port) as connection:
        connection.sendall(b"x")
        assert hear_exactly(connection, 1) == b"x"
        os.rmdir(a / "services/web")
        b.misses("web")
        os.unlink(b / "forwards/web")
        with pytest.raises(ConnectionRefusedError):
            dial(port)
        connection.sendall(b"y")
        assert hear_exactly(connection, 1) == b"y"


def test_a_new_target_counts_for_new_connections(world, a, b):
    first, second = world.target(Echo), world.target(Echo)
    a.service("web", first.address)
    port = b.forward("web")
    assert exchange(port, b"1") == b"1"
    a.write("services/web/target", f"{second.address}\n")
    assert exchange(port, b"2") == b"2"
    assert (first.accepted, second.accepted) == (1, 1)


BAD_NAMES = [
    ("Web", errno.EINVAL),
    ("-web", errno.EINVAL),
    ("web-", errno.EINVAL),
    ("we_b", errno.EINVAL),
    ("we.b", errno.EINVAL),
    ("...", errno.EINVAL),
    (".hidden", errno.EINVAL),
    ("we b", errno.EINVAL),
    ("wéb", errno.EINVAL),
    ("we\nb", errno.EINVAL),
    ("\udcff", errno.EINVAL),
    ("x" * 64, errno.ENAMETOOLONG),
    ("x" * 255, errno.ENAMETOOLONG),
    ("x" * 256, errno.ENAMETOOLONG),
    ("x" * 1025, errno.ENAMETOOLONG),
    ("x" * 4090, errno.ENAMETOOLONG),
]


def short(value):
    return ascii(value)[1:12] if isinstance(value, str) else errno.errorcode[value]


@pytest.fixture(scope="module")
def quiet(module_world):
    """One mount for all that changes nothing."""
    router = module_world.router()
    other = module_world.mount(router, name="B")
    other.service("theirs", "localhost:80")
    mount = module_world.mount(router, name="A")
    mount.sees("theirs")
    mount.service("ours", "localhost:80")
    return mount


@pytest.mark.parametrize("name,number", BAD_NAMES, ids=short)
def test_bad_names(quiet, name, number):
    for attempt in (
        lambda: os.mkdir(quiet / "services" / name),
        lambda: quiet.write(f"services/{name}", "localhost:80\n"),
        lambda: quiet.write(f"forwards/{name}", "0\n"),
    ):
        before = quiet.listing("services"), quiet.listing("forwards"), quiet.errors()
        with refused(number):
            attempt()
        assert (quiet.listing("services"), quiet.listing("forwards")) == before[:2]
        if len(name) < 256:
            assert len(quiet.errors()) > len(before[2]), "no sentence"


@pytest.mark.parametrize("name", ["a", "0", "a-b", "x" * 63, "xn--bcher-kva"])
def test_good_names(quiet, name):
    os.mkdir(quiet / "services" / name)
    os.rmdir(quiet / "services" / name)


FIXED = {
    "mkdir of a name that is ours": (errno.EEXIST, lambda p: os.mkdir(p / "services/ours")),
    "mkdir of a name elsewhere": (errno.EEXIST, lambda p: os.mkdir(p / "services/theirs")),
    "mkdir at the root": (errno.EPERM, lambda p: os.mkdir(p / "new")),
    "mkdir in forwards": (errno.EPERM, lambda p: os.mkdir(p / "forwards/new")),
    "mkdir in connections": (errno.EPERM, lambda p: os.mkdir(p / "connections/1")),
    "mkdir in a service": (errno.EPERM, lambda p: os.mkdir(p / "services/ours/new")),
    "create at the root": (errno.EPERM, lambda p: open(p / "new", "w")),
    "create in a service": (errno.EPERM, lambda p: open(p / "services/ours/new", "w")),
    "create in connections": (errno.EPERM, lambda p: open(p / "connections/1", "w")),
    "rmdir of what is elsewhere": (errno.EPERM, lambda p: os.rmdir(p / "services/theirs")),
    "rm of what is elsewhere": (errno.EPERM, lambda p: os.unlink(p / "services/theirs/status")),
    "rmdir of nothing": (errno.ENOENT, lambda p: os.rmdir(p / "services/nothing")),
    "rm of nothing": (errno.ENOENT, lambda p: os.unlink(p / "forwards/nothing")),
    "rm of a directory": (errno.EISDIR, lambda p: os.unlink(p / "services/ours")),
    "rmdir of a file": (errno.ENOTDIR, lambda p: os.rmdir(p / "status")),
    "a file as a directory": (errno.ENOTDIR, lambda p: os.stat(p / "status/x")),
    "rmdir of services": (errno.EPERM, lambda p: os.rmdir(p / "services")),
    "rm of status": (errno.EPERM, lambda p: os.unlink(p / "status")),
    "rename of a service": (errno.EPERM, lambda p: os.rename(p / "services/ours", p / "services/other")),
    "rename of a file": (errno.EPERM, lambda p: os.rename(p / "status", p / "other")),
    "a link": (errno.EPERM, lambda p: os.link(p / "status", p / "other")),
    "a symbolic link": (errno.EPERM, lambda p: os.symlink("x", p / "services/sym")),
    "a fifo": (errno.EPERM, lambda p: os.mkfifo(p / "services/fifo")),
    "chmod": (errno.EPERM, lambda p: os.chmod(p / "status", 0o777)),
    "chown": (errno.EPERM, lambda p: os.chown(p / "status", 1, 1)),
    "a write to the name of what is ours": (errno.EISDIR, lambda p: open(p / "services/ours", "w")),
    "a write to the name of what is elsewhere": (errno.EISDIR, lambda p: open(p / "services/theirs", "w")),
    "O_EXCL of what is there": (errno.EEXIST, lambda p: open(p / "services/ours/target", "x")),
    "a file without a name": (errno.EOPNOTSUPP, lambda p: os.open(p / "services", os.O_TMPFILE | os.O_WRONLY)),
    "a truncation of a fixed file": (errno.EPERM, lambda p: os.truncate(p / "events", 0)),
    "times of a fixed file": (errno.EPERM, lambda p: os.utime(p / "errors")),
    "a name below nothing": (errno.ENOENT, lambda p: os.mkdir(p / "services/nothing/new")),
    "a name below a file": (errno.ENOTDIR, lambda p: os.mkdir(p / "services/ours/target/new")),
    "a write to a directory": (errno.EISDIR, lambda p: os.open(p / "services/ours", os.O_WRONLY)),
    "an attribute": (errno.ENOTSUP, lambda p: os.setxattr(p / "status", "user.x", b"y")),
}


@pytest.mark.parametrize("number,attempt", FIXED.values(), ids=FIXED.keys())
def test_what_is_fixed(quiet, number, attempt):
    before = quiet.listing("services"), quiet.listing("forwards"), quiet.listing("services/ours")
    with refused(number):
        attempt(quiet.path)
    assert (quiet.listing("services"), quiet.listing("forwards"), quiet.listing("services/ours")) == before


@pytest.mark.parametrize("path", ["status", "events", "errors", "services/ours/status", "services/ours/stats", "services/theirs/status"])
def test_what_is_read_only(quiet, path):
    before = quiet.read(path) if "e" not in path[:1] else None
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        try:
            descriptor = os.open(quiet / path, flags)
        except OSError as error:
            assert error.errno in (errno.EPERM, errno.EACCES)
            continue
        with refused(errno.EPERM):
            os.write(descriptor, b"x\n")
        os.close(descriptor)
    if before:
        assert quiet.read(path).split()[0] == before.split()[0]


def test_what_is_elsewhere_has_no_target(quiet):
    assert "target" not in quiet.listing("services/theirs")
    with pytest.raises(OSError) as error:
        quiet.write("services/theirs/target", "localhost:80\n")
    assert error.value.errno in (errno.EPERM, errno.ENOENT)


def test_a_name_is_taken_when_written(world, router, a, b):
    """Both declare before either registers."""
    os.mkdir(a / "services/web")
    os.mkdir(b / "services/web")
    a.write("services/web/target", "localhost:80\n")
    b.refuses(errno.EEXIST, "services/web/target", "localhost:80\n")
    assert b.state("web") in ("taken", "pending")


def test_a_taken_name_becomes_free(world):
    """Both declare while the router is away: one gets the name, the other is told, and gets it once that one leaves."""
    port = free_port()
    a, b = (world.mount(f"127.0.0.1:{port}", wait="mounted") for _ in range(2))
    for mount in (a, b):
        mount.service("web", "localhost:80", state="offline")
    world.router(listen=f"127.0.0.1:{port}")
    eventually(lambda: sorted([a.state("web"), b.state("web")]) == ["online", "taken"])
    winner, loser = (a, b) if a.state("web") == "online" else (b, a)
    assert "web" in loser.read("events") and "web" in loser.read("errors")
    os.rmdir(winner / "services/web")
    loser.awaits("web", "online")


def test_an_empty_forward_goes(a, b):
    a.service("web", "localhost:80")
    b.sees("web")
    with open(b / "forwards/web", "w"):
        pass
    eventually(lambda: b.listing("forwards") == [])
