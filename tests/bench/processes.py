"""What processes use, and the end of all that were started here."""
import contextlib
import ctypes
import os
import pathlib
import re
import signal
import time


def adopt():
    """Whatever loses its parent becomes our child, so that nothing that was started here gets out of sight."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def children():
    """By parent."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parent = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            found.setdefault(parent, []).append(int(pid))
    return found


def family(pid, known=None):
    """A process and all that descend from it."""
    known = known or children()
    found = [pid]
    for one in found:
        found += known.get(one, [])
    return found


def used(pids):
    """Seconds of the processor: as a user, and in the kernel."""
    ticks = [0, 0]
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks = [total + int(field) for total, field in zip(ticks, fields[11:13])]
    return [total / os.sysconf("SC_CLK_TCK") for total in ticks]


def processor_seconds(pids):
    return sum(used(pids))


def memory(pid):
    """Bytes; what several processes share is shared out between them. What the kernel holds for a process is not in it."""
    with contextlib.suppress(OSError):
        return int(re.search(r"^Pss:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) << 10
    return 0


def memory_of(way):
    """Of each of its programs, with its children."""
    known = children()
    return {at: sum(map(memory, family(one.pid, known))) for at, one in way.programs.items()}


def wait_for_quiet(way, patience=10):
    """Until its processes have done nothing for a moment, as they will when connections have ended."""
    pids, end, used = [pid for one in way.programs.values() for pid in family(one.pid)], time.monotonic() + patience, -1
    while (now := processor_seconds(pids)) > used and time.monotonic() < end:
        used = now
        time.sleep(0.5)


def end_children():
    """All that is left of what was started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + 5
        while (left := family(os.getpid())[1:]) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            time.sleep(0.05)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
