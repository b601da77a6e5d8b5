"""The units, under a systemd of their own: a machine of which this one's files are the lower layer, and nothing is kept."""
import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from harness import BUILD, PATIENCE, eventually, run_any

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="boots a machine: needs root")

# Sees no control groups of this machine, and no file systems that are mounted below /.
BOOT = r"""
set -e
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$3"
echo $$ >"/sys/fs/cgroup/$3/cgroup.procs"
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" none "$1/root"
cd "$1/root"
rm -rf etc/mindmeld var/lib/mindmeld etc/fstab etc/systemd
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
DESTDIR=$1/root cmake --install "$2" --prefix /usr/local
for unit in mmfs@ mmrouter; do
  mkdir -p "etc/systemd/system/$unit.service.d"
  printf '[Service]\nEnvironment=ASAN_OPTIONS=detect_leaks=0\n' >"etc/systemd/system/$unit.service.d/sanitizer.conf"
done
mkdir -p etc/mindmeld
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' >etc/systemd/system/bare.target
set +e
systemd-nspawn -q -D "$1/root" -M "$3" --register=no --keep-unit --bind=/dev/fuse --private-network -b systemd.unit=bare.target
echo $$ >/sys/fs/cgroup/cgroup.procs
for i in 1 2 3 4 5 6 7 8 9 10; do
  find "/sys/fs/cgroup/$3" -depth -type d -exec rmdir {} + && exit
  sleep 0.1
done
"""


class Machine:
    def __init__(self, directory):
        self.log, self.leader = directory / "boot.log", None
        (directory / "machine").mkdir()
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation=private", "sh", "-c", BOOT, "sh", directory / "machine", BUILD, directory.name.replace("_", "-0")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )
        try:
            eventually(lambda: self.find_leader() or self.process.poll() is not None, what="a machine")
            self.leader = self.find_leader()
            eventually(lambda: self.shell("systemctl is-active bare.target").stdout == "active\n", what="it has booted")
        except BaseException as error:
            self.close()
            raise AssertionError(self.log.read_text(errors="replace")[-4000:]) from error

    def find_leader(self):
        """The child of systemd-nspawn that has the number 1 in there."""
        nspawn = children(self.process.pid, "systemd-nspawn")
        return nspawn and children(nspawn, "systemd")

    def shell(self, script, **options):
        return run_any("nsenter", f"--target={self.leader}", "--all", "--root", "--wd", "--", "sh", "-c", script, timeout=PATIENCE, **options)

    def does(self, script):
        done = self.shell(script)
        assert done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.shell('journalctl --no-pager -n 60').stdout}"
        return done.stdout

    def shows(self, unit, what):
        return self.does(f"systemctl show --value -p {what} '{unit}'").strip()

    def close(self):
        """Its processes go with the first one, and its files with the last one that sees them."""
        leader = self.leader or self.find_leader()
        if leader:
            os.kill(leader, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(PATIENCE)


def children(parent, name):
    """The pid of its child of this name."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if fields["Name"] == name[:15] and int(fields["PPid"]) == parent:
                return int(fields["Pid"])
    return None


@pytest.fixture
def machine(directory):
    machine = Machine(directory)
    yield machine
    machine.close()


WRITES = "mkdir /mnt/mm/services/app && echo localhost:8080 >/mnt/mm/services/app/target"


def test_a_tree_is_there_when_it_is_said_to_be(machine):
    """What is written right after the start is not written below it; the router on a port of its own right, with a key that nobody else
    can read; and after a crash all is as it was."""
    machine.does("""
        mkdir -p /mnt/mm
        (umask 077; echo secret >/etc/mindmeld/key; echo secret >/etc/mindmeld/router.key; chown mmrouter /etc/mindmeld/router.key)
        echo 'ARGUMENTS=--listen 127.0.0.1:443 --key /etc/mindmeld/router.key --domain a.test --http 80' >/etc/mindmeld/mmrouter.conf
        printf 'ROUTER=127.0.0.1:443\nOPTIONS=key=/etc/mindmeld/key\n' >/etc/mindmeld/mnt-mm.conf
    """)
    machine.does(f"systemctl start mmfs@mnt-mm && {WRITES}")
    assert machine.shows("mmfs@mnt-mm", "StatusText").startswith("not connected to 127.0.0.1:443: nothing listens")
    machine.does("systemctl start mmrouter && grep -qx 'state connected' /mnt/mm/status || tail -f /mnt/mm/events | grep -qm1 connected.to")
    eventually(lambda: machine.shows("mmfs@mnt-mm", "StatusText") == "connected to 127.0.0.1:443")
    assert machine.shows("mmrouter", "StatusText") == "listening on 127.0.0.1:443"
    router = machine.shows("mmrouter", "MainPID")
    assert machine.does(f"stat -c %U /proc/{router}; grep CapEff /proc/{router}/status").split() == ["mmrouter", "CapEff:", "0000000000000400"]
    eventually(lambda: machine.does("cat /mnt/mm/services/app/status") == "online\n")
    machine.does("echo another >/etc/mindmeld/key && echo another >/etc/mindmeld/router.key && systemctl reload mmrouter mmfs@mnt-mm")
    eventually(lambda: "the key that is in use is the one in" in machine.does("journalctl -o cat -u mmrouter"), what="the router has another key")
    eventually(lambda: "connected to 127.0.0.1:443 anew" in machine.does("cat /mnt/mm/events") or machine.does("grep ^connects /mnt/mm/status") > "connects 1")
    eventually(lambda: machine.does("cat /mnt/mm/services/app/status") == "online\n")
    assert machine.shows("mmrouter", "MainPID") == router and machine.shows("mmrouter", "ActiveState") == "active"
    gate = eventually(lambda: len(machine.does("pgrep mmgate").split()) == 1 and machine.does("pgrep mmgate").split(), what="the gate has another key, too")
    machine.does("systemctl kill -s KILL mmfs@mnt-mm && systemctl kill -s KILL --kill-who=main mmrouter")
    eventually(lambda: machine.shell("cat /mnt/mm/services/app/status").stdout == "online\n", what="all is as it was")
    assert machine.does("cat /mnt/mm/services/app/target") == "localhost:8080\n"
    eventually(lambda: "makes way for the gate of the next router" in machine.does("journalctl -o cat -u mmrouter"), what="the unit has left it alone")
    eventually(lambda: machine.does("pgrep mmgate").split() not in (gate, []) and len(machine.does("pgrep mmgate").split()) == 1,
               what="the gate of now is the only one")
    machine.does("systemctl stop mmfs@mnt-mm mmrouter && rmdir /mnt/mm && ! ls -d /run/mindmeld/mnt-mm /run/mmrouter")
    for unit in "mmfs@mnt-mm", "mmrouter":
        assert machine.shows(unit, "Result") == "success"


# What stands in the configuration, what is done before, and what the unit's status says.
FINAL = [
    (None, "true", "ROUTER is empty"),
    ("", "true", "ROUTER is empty"),
    ("ROUTER=", "true", "ROUTER is empty"),
    ("ROUTER=127.0.0.1\nOPTIONS=nonsense", "true", 'unknown option "nonsense"'),
    ("ROUTER=127.0.0.1\nOPTIONS=key=/nowhere", "true", "No such file or directory"),
    ("ROUTER=127.0.0.1", "rmdir /mnt/mm", "does not exist"),
    ("ROUTER=127.0.0.1", "mkdir -p /mnt/mm/services/app", '"services" was written there while the tree was not mounted'),
]


def test_what_cannot_succeed_is_not_tried_again(machine):
    for conf, before, sentence in FINAL:
        write = "rm -f /etc/mindmeld/mnt-mm.conf" if conf is None else f"printf '{conf}\n' >/etc/mindmeld/mnt-mm.conf"
        machine.does(f"rm -rf /mnt/mm && mkdir /mnt/mm && {write} && {before}")
        assert machine.shell("systemctl start mmfs@mnt-mm").returncode == 1, (conf, before)
        assert machine.shows("mmfs@mnt-mm", "ActiveState,ExecMainStatus,NRestarts".replace(",", " -p ")).split() == ["0", "2", "failed"]
        assert sentence in machine.shows("mmfs@mnt-mm", "StatusText")
    machine.does("echo ARGUMENTS=--kye=/k >/etc/mindmeld/mmrouter.conf")
    assert machine.shell("systemctl start mmrouter").returncode == 1
    assert machine.shows("mmrouter", "StatusText") == "--kye=/k is not an option; did you mean --key FILE?"
    assert machine.shows("mmrouter", "NRestarts") == "0"
    machine.does("rm -rf /mnt/mm && mkdir /mnt/mm")
    for options in "allow_other", ",allow_other", "nosuid,allow_other,", "":
        machine.does(f"printf 'ROUTER=127.0.0.1\nOPTIONS={options}\n' >/etc/mindmeld/mnt-mm.conf && systemctl restart mmfs@mnt-mm")
        assert ("allow_other" in machine.does("findmnt -no OPTIONS /mnt/mm")) == ("allow_other" in options)


def test_what_may_succeed_is_tried_again_and_again_later(machine):
    """A port that is taken, by a router that the unit knows nothing of."""
    machine.does("systemd-run --unit=taken -p Type=notify /usr/local/bin/mmrouter")
    machine.shell("systemctl start --no-block mmrouter")
    eventually(lambda: int(machine.shows("mmrouter", "NRestarts")) >= 2)
    assert int(machine.does("cat /run/mmrouter/pause")) >= 3
    machine.does("systemctl stop taken")
    eventually(lambda: machine.shows("mmrouter", "ActiveState") == "active", timeout=4 * PATIENCE, what="it has its port")
    assert machine.shows("mmrouter", "StatusText") == "listening on 127.0.0.1:7000"
    machine.does("systemctl restart mmrouter")
    assert machine.does("cat /run/mmrouter/pause") == "1\n", "who starts it again has not to wait"
