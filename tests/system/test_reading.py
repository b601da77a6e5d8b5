"""Tools that read trees read this one, and agree about sizes."""
import contextlib
import os
import signal
import subprocess
import tarfile

import pytest

from harness import Echo, PATIENCE, bash, dial, eventually, hear_exactly, run, run_any


@pytest.fixture(scope="module")
def tree(module_world):
    """A tree with something of everything in it, and one live connection."""
    router = module_world.router()
    other, mount = module_world.mount(router, name="B"), module_world.mount(router, name="A")
    other.service("remote", module_world.target(Echo).address)
    mount.service("web", "localhost:80")
    os.mkdir(mount / "services/pending")
    port = mount.forward("remote")
    connection = dial(port)
    connection.sendall(b"x")
    hear_exactly(connection, 1)
    module_world.closing.append(connection)
    with pytest.raises(OSError):
        mount.write("services/web/target", "nonsense\n")
    return mount


def files(root):
    return sorted(os.path.relpath(os.path.join(d, f), root) for d, _, names in os.walk(root) for f in names)


def test_sizes_are_true(tree):
    names = files(tree.path)
    assert len(names) >= 12, names
    for name in names:
        path = tree / name
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            size_open = os.fstat(file.fileno()).st_size
            data = file.read()
        assert len(data) == size_open, name
        if "connections" not in name and name != "status":
            assert size == size_open, name
        assert int(run("wc", "-c", path).split()[0]) > 0 or not data
        assert run("head", "-c", "10", path) == data[:10].decode()


def test_files_end_in_a_newline(tree):
    for name in files(tree.path):
        text = tree.read(name)
        assert not text or text.endswith("\n"), name


@pytest.mark.parametrize("tool", ["cp -r", "cp -a", "rsync -a", "tar"])
def test_copies_are_whole(tree, directory, tool):
    copy = directory / "copy"
    copy.mkdir()
    if tool == "tar":
        done = bash(f"tar -C {tree.path} -cf - . | tar -C {copy} -xf -")
    else:
        done = bash(f"{tool} {tree.path}/. {copy}/")
    assert done.returncode == 0, done.stderr
    assert files(copy) == files(tree.path)
    for name in files(tree.path):
        if "connections" not in name and name not in ("status", "events"):
            assert (copy / name).read_text() == tree.read(name), name
        assert (copy / name).stat().st_size > 0 or not tree.read(name), name


def test_find_ls_grep(tree):
    assert run("find", tree.path, "-type", "f").count("\n") == len(files(tree.path))
    listing = run("ls", "-lR", tree.path)
    assert "target" in listing and "?" not in listing
    assert "services/web/target" in run("grep", "-r", "localhost:80", tree.path)
    assert run("find", tree / "services", "-name", "target", "-size", "-1").count("target") == 1
    run("du", "-s", tree.path)
    run("stat", tree / "status")
    run("df", tree.path)
    run("diff", "-r", tree / "services", tree / "services")


def test_types_modes_and_owner(tree):
    private = ("inspect", "limit", "replay", "requests")
    for root, folders, names in os.walk(tree.path):
        for name, mode in [(f, 0o40755) for f in folders] + [(f, None) for f in names]:
            status = os.stat(os.path.join(root, name))
            assert status.st_uid == os.getuid()
            if mode:
                assert status.st_mode == (mode & ~0o77 if name in private else mode), name
            else:
                assert status.st_mode in ((0o100600,) if name in private else (0o100644, 0o100444)), name


def test_nodes_are_distinct(tree):
    numbers = [os.stat(os.path.join(root, name)).st_ino for root, folders, names in os.walk(tree.path) for name in folders + names]
    assert len(numbers) == len(set(numbers)) and 0 not in numbers


def test_listing_tells_types(tree):
    with os.scandir(tree / "services/web") as entries:
        assert all((entry.is_dir() if entry.name == "inspect" else entry.is_file()) and entry.stat().st_ino == entry.inode() for entry in entries)


def test_a_reader_keeps_its_snapshot(tree):
    with open(tree / "services/web/target") as reader:
        tree.write("services/web/target", "localhost:81\n")
        assert reader.read() == "localhost:80\n"
        tree.write("services/web/target", "localhost:80\n")


def test_reading_at_any_offset(tree):
    whole = tree.read("status").encode()
    descriptor = os.open(tree / "status", os.O_RDONLY)
    try:
        data = os.pread(descriptor, 1 << 16, 0)
        for at in (0, 1, len(data) - 1, len(data), len(data) + 1, 1 << 40):
            assert os.pread(descriptor, 7, at) == data[at : at + 7]
    finally:
        os.close(descriptor)
    assert whole


def test_stats_and_connections_count(tree):
    identifier = tree.listing("connections")[0]
    eventually(lambda: told(tree, identifier) == ("forward", "1", "1"), what="each byte is counted, a moment after it was written")
    values = tree.values(f"connections/{identifier}")
    assert values["service"] == "remote" and values["state"] == "open"
    assert int(values["age"].split()[0].rstrip("s")) >= 0 and "127.0.0.1" in values["peer"]
    assert set(tree.values("services/web/stats")) >= {"connections", "bytes_in", "bytes_out"}


def test_tail_follows_events(world, router, a):
    tail = subprocess.Popen(["tail", "-n", "+1", "-s", "0.05", "-f", a / "events"], stdout=subprocess.PIPE)
    try:
        os.set_blocking(tail.stdout.fileno(), False)
        heard = []

        def hears(word):
            with contextlib.suppress(BlockingIOError):
                heard.append(os.read(tail.stdout.fileno(), 65536))
            return word in b"".join(heard)

        a.service("fresh", "localhost:80")
        eventually(lambda: hears(b"fresh"))
        os.rmdir(a / "services/fresh")
        a.service("another", "localhost:80")
        eventually(lambda: hears(b"another"))
        assert b"truncated" not in b"".join(heard)
    finally:
        tail.send_signal(signal.SIGTERM)
        tail.wait(PATIENCE)


def test_cutting_a_connection(world, router, a, b):
    from harness import is_reset

    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    for side in (a, b):
        with dial(port) as connection:
            connection.sendall(b"x")
            hear_exactly(connection, 1)
            (identifier,) = side.listing("connections")
            run("rm", "-f", side / "connections" / identifier)
            assert is_reset(connection)
        eventually(lambda: not a.listing("connections") and not b.listing("connections"))
    assert run_any("rm", a / "connections/99999").returncode != 0


def told(mount, identifier):
    values = mount.values(f"connections/{identifier}")
    return values["role"], values["bytes_in"], values["bytes_out"]


def test_traffic_counts(world, router, a, b):
    a.service("web", world.target(Echo).address)
    port = b.forward("web")
    with dial(port) as connection:
        connection.sendall(b"12345")
        assert hear_exactly(connection, 5) == b"12345"
        for mount, role in ((a, "service"), (b, "forward")):
            (identifier,) = mount.listing("connections")
            eventually(lambda: told(mount, identifier) == (role, "5", "5"), what="each byte is counted, a moment after it was written")
    eventually(lambda: not a.listing("connections"))
    eventually(lambda: a.values("services/web/stats")["bytes_in"] == "5")
    assert a.values("services/web/stats")["connections"].split()[0] in ("1", "0")
