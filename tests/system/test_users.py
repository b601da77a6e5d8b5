"""A plain user with a mount of their own on a terminal, and others who look at it."""
import os
import pathlib
import pty
import select
import subprocess
import time

import pytest

from harness import BUILD, PATIENCE, Mount, bash, eventually, run, run_any, surroundings

NOBODY = 65534
root_only = pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: needs root")


def as_nobody(*command, **options):
    return run_any("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--", *command, **options)


def on_a_terminal(command, timeout=60):
    """Runs a command on a pty, with nobody to answer its questions, and returns status and output."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    output, end = b"", time.monotonic() + timeout
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([master], [], [], 0.2)
            if ready:
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break
                if not data:
                    break
                output += data
        return process.wait(max(1, end - time.monotonic())), output.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return None, output.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(master)


# What a plain user does, in a mount namespace where /dev/fuse is as on any desktop. `rm` on a terminal asks before it
# removes what is write-protected: it must not have to.
SESSION = r"""
set -eu
mmfs -f "$ROUTER" "$POINT" 2>"$POINT.log" & pid=$!
trap 'kill $pid; wait $pid' EXIT
for i in $(seq 600); do grep -qs '^state connected' "$POINT/status" && break; sleep 0.05; done
cd "$POINT"
mkdir services/web
echo localhost:80 > services/web/target
cat services/web/status
rm -r services/web
ls services
echo localhost:80 > services/other
rm -r services/other
ls services
id -u
cd /
trap - EXIT
kill $pid
wait $pid
echo "ended $?"
"""


@root_only
def test_a_plain_user_on_a_terminal(world, router, directory):
    point = directory / "plain"
    point.mkdir()
    os.chown(point, NOBODY, NOBODY)
    directory.chmod(0o777)
    programs = directory / "bin"
    programs.mkdir()
    run("cp", BUILD / "mmfs", programs)
    script = directory / "session"
    script.write_text(SESSION)
    device = directory / "fuse"
    outer = f"""
        mount -t tmpfs none {directory}/bin.dev 2>/dev/null || {{ mkdir {directory}/bin.dev && mount -t tmpfs -o dev none {directory}/bin.dev; }}
        mknod -m 666 {directory}/bin.dev/fuse c 10 229
        mount --bind {directory}/bin.dev/fuse /dev/fuse
        exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all env bash {script}
    """
    environment = {"ROUTER": router.address, "POINT": str(point), "PATH": f"{programs}:{os.environ['PATH']}", **surroundings(directory)}
    assignments = [f"{key}={value}" for key, value in environment.items()]
    status, output = on_a_terminal(["env", *assignments, "unshare", "-m", "--propagation", "private", "bash", "-c", outer])
    lines = output.split()
    assert status == 0, output + pathlib.Path(f"{point}.log").read_text()
    assert lines == ["online", str(NOBODY), "ended", "0"], output


def test_my_own_mount_on_a_terminal(world, router, a):
    a.service("web", "localhost:80")
    status, output = on_a_terminal(["rm", "-r", str(a / "services/web")])
    assert status == 0 and not output
    assert a.listing("services") == []


@root_only
def test_others_see_nothing_without_allow_other(world, router, a):
    assert "Permission denied" in as_nobody("ls", a.path).stderr


@root_only
def test_others_look_and_do_not_touch(world, router):
    a = world.mount(router, "allow_other", name="A")
    a.service("web", "localhost:80")
    assert as_nobody("cat", a / "services/web/status").stdout == "online\n"
    inspect = a / "services/web/inspect"  # what was sent to the service is its owner's
    assert as_nobody("ls", "-lR", a.path).stderr == f"ls: cannot open directory '{inspect}': Permission denied\n"
    for line in (
        f"mkdir {a.path}/services/mine",
        f"echo localhost:81 > {a.path}/services/web/target",
        f"echo localhost:81 > {a.path}/services/mine",
        f"echo 0 > {a.path}/forwards/web",
        f"rmdir {a.path}/services/web",
        f"rm -f {a.path}/services/web/target",
        f"rm -f {a.path}/services/web/status",
    ):
        done = as_nobody("bash", "-c", line)
        assert done.returncode != 0 and "Permission denied" in done.stderr, (line, done.stderr)
    assert a.read("services/web/target") == "localhost:80\n" and a.listing("services") == ["web"]
