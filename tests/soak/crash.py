"""kill -9 of mmfs at random moments while things are declared in its tree; a supervisor starts it again, as systemd does with
Restart=always. What was answered before the kill must be declared when the tree is back; what was under way may be either."""
import os
import random
import signal
import statistics
import subprocess
import threading
import time

from harness import BUILD, PATIENCE, eventually, free_port, run_any, surroundings

KILLS = int(os.environ.get("MM_KILLS", "100"))
SEED = int(os.environ.get("MM_SEED") or random.randrange(1 << 32))
WORKERS, SERVICES = 4, 6
RESTART_SEC = 0.1  # as in dist/mmfs@.service.in
GOAL = 2.0


class Supervisor:
    """Restart=always."""

    def __init__(self, directory, *command):
        self.log = open(directory / "supervised.log", "ab")
        self.command, self.env = [str(part) for part in command], {**os.environ, **surroundings(directory)}
        self.stopping, self.process = threading.Event(), None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        eventually(lambda: self.process, what="the first start")

    def run(self):
        while not self.stopping.is_set():
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.env)
            self.process.wait()
            self.stopping.wait(RESTART_SEC)

    def stop(self):
        self.stopping.set()
        self.process.terminate()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the supervised mmfs did not end"
        self.log.close()


class Declarations:
    """What a worker has declared: for each path the values that may be read there. None: there is no such path."""

    def __init__(self, mount, number, gate, random_source):
        self.mount, self.gate, self.random = mount, gate, random_source
        self.services = [f"w{number}-{index}" for index in range(SERVICES)]
        self.forward = f"served-{number}"
        self.ports = [free_port() for _ in range(4)]
        self.may = {f"services/{name}": {None} for name in self.services} | {f"forwards/{self.forward}": {None}}
        self.step = threading.Lock()  # held while something is being declared
        self.answered = self.cut = 0
        self.ended = False
        self.trouble = None

    def change(self, path, value, act):
        before = self.may[path]
        self.may[path] = before | {value}
        try:
            act()
        except OSError:
            self.cut += 1
            return
        self.may[path] = {value}
        self.answered += 1

    def write(self, path, text, flags=os.O_TRUNC):
        descriptor = os.open(self.mount / path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def step_service(self):
        path = f"services/{self.random.choice(self.services)}"
        target = f"127.0.0.1:{self.random.randrange(1, 65536)}\n"
        if self.may[path] == {None}:
            if self.random.random() < 0.5:
                self.change(path, "", lambda: os.mkdir(self.mount / path))
            else:
                self.change(path, target, lambda: self.write(path, target))
        elif None in self.may[path] or self.random.random() < 0.3:
            self.change(path, None, lambda: os.rmdir(self.mount / path))
        else:
            self.change(path, target, lambda: self.write(f"{path}/target", target))

    def step_forward(self):
        path = f"forwards/{self.forward}"
        lines = [f"127.0.0.1:{port}\n" for port in self.ports]
        choice = self.random.random()
        (known, *others) = self.may[path]
        if choice < 0.3 and not others and known:
            self.change(path, None, lambda: os.unlink(self.mount / path))
        elif choice < 0.6 and not others and known and (more := [line for line in lines if line not in known]):
            line = self.random.choice(more)
            self.change(path, known + line, lambda: self.write(path, line, os.O_APPEND))
        else:
            line = self.random.choice(lines)
            self.change(path, line, lambda: self.write(path, line))

    def work(self):
        try:
            while self.gate.wait() and not self.ended:
                with self.step:
                    if not self.gate.is_set():
                        continue
                    if self.random.random() < 0.2:
                        self.step_forward()
                    else:
                        self.step_service()
        except BaseException as trouble:  # pylint: disable=broad-except
            self.trouble = trouble

    def check(self, found):
        """Those that are not as they must be; what is found is what counts from now on."""
        wrong = [f"{path}: {found.get(path)!r}, not {values!r}" for path, values in self.may.items() if found.get(path) not in values]
        self.may = {path: {found.get(path)} for path in self.may}
        return wrong


def read_all(mount):
    found = {}
    for name in os.listdir(mount / "services"):
        if (mount / "services" / name / "target").exists():
            found[f"services/{name}"] = (mount / "services" / name / "target").read_text()
    for name in os.listdir(mount / "forwards"):
        found[f"forwards/{name}"] = (mount / "forwards" / name).read_text()
    return found


def pid_of(mount):
    """Whose tree it is that answers; None while none does."""
    try:
        return int((mount / "status").read_text().split("\npid ")[1].split()[0])
    except (OSError, IndexError):
        return None


def kill(supervisor, mount, workers, gate):
    """One kill, and how long it took until a new process answers."""
    start = time.monotonic()
    old = supervisor.process.pid
    os.kill(old, signal.SIGKILL)
    gate.clear()
    eventually(lambda: pid_of(mount) not in (None, old), what="it is back")
    took = time.monotonic() - start
    for worker in workers:
        assert worker.step.acquire(timeout=PATIENCE), "a declaration has no answer"
    try:
        found = read_all(mount)
    finally:
        for worker in workers:
            worker.step.release()
    assert not any(worker.trouble for worker in workers), [worker.trouble for worker in workers]
    wrong = [line for worker in workers for line in worker.check(found)]
    known = {path for worker in workers for path in worker.may}
    return took, wrong + [f"{path} came from nowhere" for path in found if path not in known]


def crash(world, router, _a, b):
    """kill -9 within declarations, and back again."""
    mount = world.directory / "supervised.mnt"
    mount.mkdir()
    gate, source = threading.Event(), random.Random(SEED)
    for number in range(WORKERS):
        b.service(f"served-{number}", "127.0.0.1:9")
    workers = [Declarations(mount, number, gate, random.Random(source.random())) for number in range(WORKERS)]
    supervisor = Supervisor(world.directory, BUILD / "mmfs", "-f", "-o", f"state={world.directory}/kept", router.address, mount)
    threads = [threading.Thread(target=worker.work, daemon=True) for worker in workers]
    times, wrong, under_way = [], [], 0
    print(f"MM_SEED={SEED}", flush=True)
    try:
        eventually(lambda: pid_of(mount) == supervisor.process.pid, what="mounted")
        for thread in threads:
            thread.start()
        for number in range(KILLS):
            gate.set()
            time.sleep(source.uniform(0, 0.4))
            cut = sum(worker.cut for worker in workers)
            took, troubles = kill(supervisor, mount, workers, gate)
            times.append(took)
            wrong += [f"kill {number}: {trouble}" for trouble in troubles]
            under_way += sum(worker.cut for worker in workers) > cut
    finally:
        for worker in workers:
            worker.ended = True
        gate.set()
        for thread in threads:
            thread.join(PATIENCE)
        supervisor.stop()
        run_any("umount", "-l", mount)
    answered = sum(worker.answered for worker in workers)
    print(f"{KILLS} kills, {under_way} of them within a declaration; {answered} declarations were answered", flush=True)
    print(f"back after (with RestartSec={RESTART_SEC:.1f} s): median {statistics.median(times):.3f} s, most {max(times):.3f} s", flush=True)
    print(f"within {GOAL:.0f} s: {sum(took <= GOAL for took in times)} of {KILLS}; wrong declarations: {len(wrong)}", flush=True)
    assert not wrong, "\n".join(wrong[:20])
