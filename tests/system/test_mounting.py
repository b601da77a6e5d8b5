"""Where and how a tree is mounted: mount points, options, background, helper, end."""
import contextlib
import errno
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from harness import BUILD, PATIENCE, bash, eventually, free_port, is_mounted, refused, run, run_any, sanitizer_reports, surroundings


def mmfs(directory, *arguments, **options):
    return run_any(BUILD / "mmfs", *arguments, env={**os.environ, **surroundings(directory)}, **options)


def mmfs_at(state, directory, *arguments):
    return run_any(BUILD / "mmfs", *arguments, env={**os.environ, **surroundings(directory), "XDG_STATE_HOME": str(state)})


def daemons(path):
    """The pids of those that serve a mount, or start who does."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(path).encode() in command and b"mmfs" in command[0]:
                yield int(entry)


def usable_daemon(path):
    """The pid of the daemon that serves a mount that went to the background."""
    return next(daemons(path), None)


@pytest.fixture
def point(directory):
    """An empty directory; what is mounted there in the background is ended afterwards."""
    path = directory / "point"
    path.mkdir()
    yield path
    pid = usable_daemon(path)
    if pid:
        os.kill(pid, signal.SIGTERM)
        try:
            eventually(lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().rsplit(")")[1].split()[0] == "Z")
        finally:
            if os.path.exists(f"/proc/{pid}"):
                os.kill(pid, signal.SIGKILL)
    if is_mounted(path):
        run_any("umount", "-l", path)
        raise AssertionError("the mount stayed")
    assert not sanitizer_reports(directory)


def refusal(done, status=2):
    assert done.returncode == status, (done.returncode, done.stderr)
    assert re.match(r"^mmfs: .+", done.stderr), f"no sentence: {done.stderr!r}"
    assert len(done.stderr.splitlines()) <= 3
    return done.stderr


def test_a_mount_point_that_is_missing(directory):
    assert "missing" in refusal(mmfs(directory, "127.0.0.1:1", directory / "missing"))


def test_a_mount_point_that_is_a_file(directory):
    (directory / "file").write_text("x")
    refusal(mmfs(directory, "127.0.0.1:1", directory / "file"))


def test_a_mount_point_that_is_not_empty(directory, point):
    (point / "something").write_text("x")
    assert "empty" in refusal(mmfs(directory, "127.0.0.1:1", point))


def test_a_mount_point_that_is_mounted(world, router, a, directory):
    refusal(mmfs(directory, router.address, a.path), status=1)
    assert a.values("status")["state"] == "connected"


@pytest.mark.parametrize("again", ["same", "two"])
def test_a_dead_mount_is_replaced(world, router, directory, again):
    a = world.mount(router, name="A")
    if again == "two":
        a.kill()
        a = world.mount(router, name="A")
    a.kill()
    with refused(errno.ENOTCONN):
        os.stat(a.path)
    fresh = world.mount(router, name="A")
    fresh.service("web", "localhost:80")


def test_somebody_elses_dead_mount_is_not_replaced(world, directory, point):
    """Only a dead fuse.mmfs is: anything else that is mounted there stays."""
    if os.getuid() != 0:
        pytest.skip("mounts a tmpfs: needs root")
    run("mount", "-t", "tmpfs", "none", point)
    try:
        (point / "file").write_text("x")
        refusal(mmfs(directory, "127.0.0.1:1", point), status=1)
        assert (point / "file").exists()
    finally:
        run("umount", point)


WRONG = [
    [],
    ["127.0.0.1:1"],
    ["127.0.0.1:1", "/tmp", "more"],
    ["--nonsense", "127.0.0.1:1", "/tmp"],
    ["-o"],
    ["-o", "nonsense", "127.0.0.1:1", "/tmp"],
    ["-o", "insecure=yes", "127.0.0.1:1", "/tmp"],
    ["-o", "hold=", "127.0.0.1:1", "/tmp"],
    ["-o", "hold=-1", "127.0.0.1:1", "/tmp"],
    ["-o", "hold=86401", "127.0.0.1:1", "/tmp"],
    ["-o", "dial_timeout=0", "127.0.0.1:1", "/tmp"],
    ["-o", "dial_timeout=1s", "127.0.0.1:1", "/tmp"],
    ["-o", "identity", "127.0.0.1:1", "/tmp"],
    ["-o", "cafile", "127.0.0.1:1", "/tmp"],
    ["-o", "key=", "127.0.0.1:1", "/tmp"],
    ["127.0.0.1:99999", "/tmp"],
    ["host:port", "/tmp"],
    ["", "/tmp"],
    ["[::1", "/tmp"],
    ["-o", "key=/etc/hostname,insecure", "192.0.2.1:7000", "/tmp"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=lambda a: " ".join(a) or "none")
def test_wrong_options(directory, arguments):
    refusal(mmfs(directory, *arguments))


WRONG_ROUTER = [
    ["--nonsense"],
    ["more"],
    ["--listen"],
    ["--listen", "nonsense"],
    ["--listen", "127.0.0.1:99999"],
    ["--listen", "0.0.0.0:0"],
    ["--listen", "[::]:0"],
    ["--key"],
    ["--tls-cert", "/etc/hostname"],
    ["--tls-key", "/etc/hostname"],
    ["--key", "/etc/hostname", "--open"],
    ["--max-stream-age"],
    ["--max-stream-age", "-1"],
    ["--max-stream-age", "soon"],
]


@pytest.mark.parametrize("arguments", WRONG_ROUTER, ids=" ".join)
def test_wrong_options_of_the_router(arguments):
    done = run_any(BUILD / "mmrouter", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("mmrouter: ")


@pytest.mark.parametrize("program", ["mmfs", "mmrouter"])
def test_help_and_version(program):
    assert run(BUILD / program, "--help").lower().startswith("usage:")
    assert re.search(r"\d+\.\d+", run(BUILD / program, "--version"))


def test_background(world, router, directory, point):
    """It returns when the tree is usable and the router was heard, and leaves nobody waiting on its output."""
    world.mount(router).service("there", "127.0.0.1:1")
    done = mmfs(directory, router.address, point)
    assert done.returncode == 0, done.stderr
    assert is_mounted(point)
    assert (point / "status").read_text().startswith("router")
    assert "connected" in (point / "status").read_text().split()
    assert os.listdir(point / "services") == ["there"]
    assert "mmfs: connected to" in done.stderr
    os.mkdir(point / "services/web")
    pid = usable_daemon(point)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)


def test_background_without_a_router(directory, point):
    start = time.monotonic()
    done = mmfs(directory, f"127.0.0.1:{free_port()}", point)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 10
    assert "connecting" in (point / "status").read_text()
    assert "nothing listens at" in done.stderr


def test_background_with_a_router_that_says_nothing(directory, point):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = mmfs(directory, f"127.0.0.1:{silent.getsockname()[1]}", point)
        assert done.returncode == 0, done.stderr
        assert "connecting" in (point / "status").read_text()


@pytest.fixture
def waiting(directory, point):
    """Who starts mmfs, and the daemon: the tree is mounted, and the router has not been heard yet."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [BUILD / "mmfs", f"127.0.0.1:{silent.getsockname()[1]}", point]
        starter = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **surroundings(directory)})
        try:
            eventually(lambda: is_mounted(point), what="mounted")
            yield starter, next(pid for pid in daemons(point) if pid != starter.pid)
        finally:
            starter.kill()
            starter.communicate()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_background_that_is_ended_before_it_is_ready(waiting, point, sign):
    """Nothing is left, and the starter does not say that all is well."""
    starter, daemon = waiting
    os.kill(daemon, sign)
    said = starter.communicate(timeout=PATIENCE)[1]
    if starter.returncode != 0:  # else the daemon was ready already
        assert starter.returncode == 1 and "mmfs: ended before it was ready" in said
    eventually(lambda: daemon not in daemons(point), what="it ends")
    assert not is_mounted(point)


def test_background_that_is_killed_before_it_is_ready(directory, waiting, point):
    """The starter says so, and the next one takes the place."""
    starter, daemon = waiting
    os.kill(daemon, signal.SIGKILL)
    said = starter.communicate(timeout=PATIENCE)[1]
    if starter.returncode != 0:
        assert starter.returncode == 1 and "ended by signal 9" in said
    assert mmfs(directory, "127.0.0.1:1", point).returncode == 0
    assert "connecting" in (point / "status").read_text()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_background_whose_starter_is_ended(waiting, point, sign):
    """Nobody waits for the mount any more, which goes, too."""
    starter, daemon = waiting
    starter.send_signal(sign)
    if starter.wait(PATIENCE) == -sign:
        eventually(lambda: daemon not in daemons(point), what="it ends")
        assert not is_mounted(point)


CLOSED = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "closed"]


def test_background_without_standard_descriptors(directory, point):
    """What is kept is not written over by the log, twice."""
    kept = directory / "kept"
    kept.mkdir()
    for names in [], ["web"]:
        command = [*CLOSED, BUILD / "mmfs", "-o", f"state={kept}/state,identity={kept}/identity", "127.0.0.1:1", point]
        assert run_any(*command, env={**os.environ, **surroundings(directory)}).returncode == 0
        assert os.listdir(point / "services") == names
        pid = usable_daemon(point)
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
        if not names:
            os.mkdir(point / "services/web")
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: usable_daemon(point) is None, what="it ends")
        assert "mmfs" not in (kept / "identity").read_text()
    assert "service web" in (kept / "state").read_text()


def test_background_lets_go_of_what_it_inherited(directory, point):
    """Whoever started it under a lock, or reads a pipe to its end, does not wait for the daemon."""
    script = 'exec 9> "$0/lock"; flock 9; "$@" 8>&1'
    done = bash_in(directory, script, BUILD / "mmfs", "127.0.0.1:1", point)
    assert done.returncode == 0, done.stderr
    run("flock", "-n", directory / "lock", "true")
    assert usable_daemon(point)


def bash_in(directory, script, *arguments, **options):
    return run_any("bash", "-c", script, directory, *arguments, env={**os.environ, **surroundings(directory)}, **options)


def hostile():
    """What a program may inherit of whoever starts it: every signal blocked, those ignored that it needs, a directory
    that is gone."""
    gone = tempfile.mkdtemp(prefix="mm-")
    os.chdir(gone)
    os.rmdir(gone)
    for number in signal.SIGCHLD, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.umask(0o077)


def test_odd_surroundings(world):
    """They neither fail for them, nor are deaf to a signal."""
    odd = {"HOME": None, "TZ": "No/Where", "LC_ALL": "xx_YY", "PATH": None}
    router = world.router(env=odd, preexec_fn=hostile)
    mount = world.mount(router, env=odd, preexec_fn=hostile)
    mount.service("web", "127.0.0.1:1")
    assert os.stat(mount / "services/web").st_mode & 0o777 == 0o755
    assert mount.stop() == 0 and not is_mounted(mount.path)
    assert router.stop() == 0


def test_a_router_without_standard_descriptors(directory):
    """Its log does not get into what it opens."""
    router = subprocess.Popen([*CLOSED, BUILD / "mmrouter", "--listen", "127.0.0.1:0"], env={**os.environ, **surroundings(directory)})
    try:
        folder = pathlib.Path(f"/proc/{router.pid}/fd")
        eventually(lambda: b"mmrouter" in (folder.parent / "cmdline").read_bytes().split(b"\0")[0] and len(list(folder.iterdir())) > 4)
        assert [os.readlink(folder / str(fd)) for fd in range(3)] == ["/dev/null"] * 3
    finally:
        router.terminate()
        assert router.wait(PATIENCE) == 0
    assert not sanitizer_reports(directory)


def test_what_is_noticed_before_the_start_is_logged(directory, point):
    """On the terminal, too, while there is one."""
    (directory / "file").write_text("x")
    done = mmfs_at(directory / "file", directory, "127.0.0.1:1", point)
    assert done.returncode == 0 and "the identity could not be kept" in done.stderr, done.stderr
    assert "the identity could not be kept" in (point / "events").read_text()


def test_background_that_fails_says_so(directory):
    refusal(mmfs(directory, "127.0.0.1:1", directory / "missing"))


FSTAB = "rw,nosuid,nodev,noexec,noatime,_netdev,nofail,noauto,user,x-systemd.automount,x-anything=1"


def test_options_of_fstab_are_taken(world, router, directory, point):
    done = mmfs(directory, "-o", FSTAB, router.address, point)
    assert done.returncode == 0, done.stderr
    table = pathlib.Path("/proc/self/mountinfo").read_text()
    (line,) = [line for line in table.splitlines() if line.split()[4] == str(point)]
    assert "fuse.mmfs" in line and all(word in line for word in ("nosuid", "nodev", "noexec", "noatime"))


@pytest.mark.parametrize("arguments", [["-o", "rw"], ["-o", FSTAB], ["-s", "-o", "rw,nosuid"], ["-n", "-v", "-o", "rw"]], ids=" ".join)
def test_the_helper(world, router, directory, point, arguments):
    """As mount(8) calls it."""
    helper = directory / "mount.fuse.mmfs"
    helper.symlink_to(BUILD / "mmfs")
    done = run_any(helper, router.address, point, *arguments, env={**os.environ, **surroundings(directory)})
    assert done.returncode == 0, done.stderr
    assert is_mounted(point) and (point / "status").exists()


# mount(8) finds what runs a type in fixed places: the session has /usr/local/bin for itself.
BY_TYPE = """
set -e
mount -t tmpfs none /usr/local/bin
cp {build}/mmfs /usr/local/bin
mount {arguments}
cat {point}/status
umount {point}
"""

# What is declared is kept, and others see the tree.
DOCUMENTED = BY_TYPE + """
until mount {arguments}; do sleep 0.1; done
setpriv --reuid 65534 --clear-groups ls {point}/services
mkdir {point}/services/web
umount {point}
until mount {arguments}; do sleep 0.1; done
setpriv --reuid 65534 --clear-groups ls {point}/services
umount {point}
"""


@pytest.mark.skipif(os.getuid() != 0, reason="mount(8) of this type needs root")
@pytest.mark.parametrize("how", ["by type", "from fstab", "as documented"])
def test_mount_by_type(world, router, directory, point, how):
    table = directory / "fstab"
    options = "noauto,x-systemd.automount"
    if how == "as documented":
        options = f"allow_other,state={directory}/state"
    table.write_text(f"{router.address} {point} fuse.mmfs nofail,_netdev,{options} 0 0\n")
    arguments = f"-T {table} {point}" if how != "by type" else f"-t fuse.mmfs -o noatime,_netdev {router.address} {point}"
    script = (DOCUMENTED if how == "as documented" else BY_TYPE).format(build=BUILD, point=point, arguments=arguments)
    done = run_any("unshare", "-m", "bash", "-c", script, env={**os.environ, **surroundings(directory)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("router") and done.stdout.endswith("\nweb\n") == (how == "as documented"), done.stdout
    eventually(lambda: usable_daemon(point) is None, what="the daemon ends with its mount")


# What docker gives a container by default.
CAPABILITIES = "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+setfcap"


@pytest.mark.skipif(os.getuid() != 0, reason="a container of its own needs root")
@pytest.mark.parametrize("more,status", [("", 2), (",+sys_admin", 0)], ids=["by default", "with SYS_ADMIN"])
def test_in_a_container(directory, point, more, status):
    """Its own processes and mounts, and what it may do there."""
    script = '"$@" && cat "$point/status" && umount "$point"'
    container = ["unshare", "-m", "-p", "-f", "--mount-proc", "setpriv", f"--bounding-set=-all,{CAPABILITIES}{more}"]
    environment = {**os.environ, **surroundings(directory), "point": str(point)}
    done = run_any(*container, "sh", "-c", script, "sh", BUILD / "mmfs", "127.0.0.1:1", point, env=environment)
    assert done.returncode == status, done.stderr
    assert "router 127.0.0.1:1" in done.stdout if status == 0 else "mount failed: Operation not permitted" in done.stderr


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_a_signal_unmounts(world, router, sign):
    mount = world.mount(router)
    assert mount.stop(sign) == 0
    assert not is_mounted(mount.path)


@pytest.mark.parametrize("how", ["background", "nohup"])
def test_who_outlives_its_terminal(world, router, directory, point, how):
    command = [BUILD / "mmfs", router.address, point]
    if how == "nohup":
        command = ["bash", "-c", 'nohup "$0" -f "$@" < /dev/null > /dev/null 2>&1 &', *command]
    assert run_any(*command, env={**os.environ, **surroundings(directory)}).returncode == 0
    eventually(lambda: is_mounted(point))
    os.mkdir(point / "services/web")
    os.kill(usable_daemon(point), signal.SIGHUP)
    os.rmdir(point / "services/web")
    assert "hung up" not in (point / "events").read_text() and (point / "services").is_dir()


def test_a_signal_unmounts_what_is_busy(world, router, a):
    inside = subprocess.Popen(["sleep", "60"], cwd=a / "services")
    try:
        held = os.open(a / "status", os.O_RDONLY)
        assert a.stop() == 0
        with contextlib.suppress(OSError):
            os.close(held)
        assert not is_mounted(a.path)
    finally:
        inside.kill()
        inside.wait()


def test_an_unmount_ends_the_daemon(world, router, a):
    run("umount" if os.getuid() == 0 else "fusermount3", *([] if os.getuid() == 0 else ["-u"]), a.path)
    assert a.process.wait(PATIENCE) == 0


def test_a_tree_that_nobody_can_come_to_is_over(world, router, directory, point):
    """Who stays in it does not keep its ports and names."""
    assert mmfs(directory, router.address, point).returncode == 0
    pid, port = usable_daemon(point), free_port()
    (point / "services/web").mkdir()
    (point / "services/web/target").write_text("127.0.0.1:1\n")
    (point / "forwards/web").write_text(f"{port}\n")
    events = open(point / "events")
    with events, subprocess.Popen(["sleep", "60"], cwd=point / "services", stdin=events) as inside:
        events.close()
        run("umount" if os.getuid() == 0 else "fusermount3", "-l" if os.getuid() == 0 else "-uz", point)
        eventually(lambda: pid not in daemons(point), what="it ends")
        assert mmfs(directory, router.address, point).returncode == 0
        assert os.listdir(point / "services") == []
        assert inside.poll() is None
        inside.kill()
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.skipif(os.getuid() != 0, reason="a mount namespace of its own needs root")
def test_a_tree_that_is_held_elsewhere_is_told(directory, point):
    """The new mmfs says which process serves it, and where it is still mounted; it ends with that namespace."""
    assert mmfs(directory, "127.0.0.1:1", point).returncode == 0
    pid = usable_daemon(point)
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as elsewhere:
        assert elsewhere.stdout.readline() == "ready\n"
        run("umount", point)
        said = refusal(mmfs(directory, "127.0.0.1:1", point), status=1)
        assert f"(pid {pid}) runs with this identity" in said and f"namespace, that of pid {elsewhere.pid}:" in said, said
        elsewhere.kill()
    eventually(lambda: pid not in daemons(point), what="it ends")


def test_an_unmount_is_refused_while_busy(world, router, a):
    with open(a / "status"):
        assert run_any("umount", a.path).returncode != 0
        assert a.values("status")["state"] == "connected"


def test_install(directory):
    """Programs, manual, the helper's name, and units that name the programs."""
    root = directory / "root"
    for prefix, destination in ("/usr", str(root)), (str(root / "opt/a b"), None), ("relative", None):
        done = run_any("cmake", "--install", BUILD, "--prefix", prefix, cwd=directory, env={**os.environ, "DESTDIR": destination or ""})
        assert done.returncode == 0, done.stderr
        place = pathlib.Path(f"{destination}{prefix}" if destination else directory / prefix)
        named = place if destination is None else pathlib.Path(prefix)
        for path in ("bin/mmfs", "bin/mmrouter", "share/man/man1/mmfs.1", "share/man/man1/mmrouter.1", "share/man/man7/mindmeld.7"):
            assert (place / path).is_file(), path
        for unit, program in (("mmfs@.service", "mmfs"), ("mmrouter.service", "mmrouter")):
            assert f'ExecStart="{named}/bin/{program}" ' in (place / "lib/systemd/system" / unit).read_text(), unit
        helper = place / "sbin/mount.fuse.mmfs"
        assert helper.is_symlink() and helper.resolve() == (place / "bin/mmfs").resolve()


@pytest.mark.parametrize("unit,exposure", [("mmfs@.service", 50), ("mmrouter.service", 20)])
def test_units_are_confined(directory, unit, exposure):
    """By systemd's own figures, ten times as large."""
    template = (pathlib.Path(__file__).resolve().parents[2] / "dist" / f"{unit}.in").read_text()
    (directory / unit).write_text(template.replace("@BINDIR@", "/usr/bin"))
    run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={exposure}", directory / unit)
