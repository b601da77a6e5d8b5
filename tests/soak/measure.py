"""What mmfs and mmrouter cost at rest, and how fast they are against HAProxy in TCP mode, three in a chain as ours are.
Rounds alternate, so that what else the machine does falls on both; medians are printed, and their ratio."""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

from harness import World, dial, eventually, free_port

ROUNDS, SECONDS = int(os.environ.get("MM_ROUNDS", "5")), float(os.environ.get("MM_SECONDS", "3"))


def haproxy(world, target):
    """Three processes in a row; the port of the first."""
    port = target
    for number in range(3):
        front = free_port()
        config = world.directory / f"haproxy{number}"
        config.write_text(
            f"defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n option splice-auto\n"
            f"listen hop\n bind 127.0.0.1:{front}\n server next 127.0.0.1:{port}\n"
        )
        process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        world.closing.append(Ended(process))
        eventually(lambda: dial(front).close() is None)
        port = front
    return port


class Ended:
    def __init__(self, process):
        self.process = process

    def close(self):
        self.process.terminate()
        self.process.wait(10)


def main():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    flood = directory / "flood"
    subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", flood, HERE / "flood.c"], check=True)
    world = World(directory)
    try:
        router = world.router()
        a, b = world.mount(router, name="A"), world.mount(router, name="B")
        print(f"at rest: mmrouter {router.rss() >> 10} KiB, mmfs {a.rss() >> 10} KiB")
        target = free_port()
        a.service("flood", f"127.0.0.1:{target}")
        ways = {"direct": target, "mindmeld": b.forward("flood"), "haproxy": haproxy(world, target)}
        for streams in (1, 8):
            seen = {way: [] for way in ways}
            for _ in range(ROUNDS):
                for way, port in ways.items():
                    done = subprocess.run(
                        [flood, str(target), str(port), str(streams), str(SECONDS)],
                        check=True, stdout=subprocess.PIPE, text=True, timeout=SECONDS + 30,
                    )
                    seen[way].append(int(done.stdout))
            median = {way: statistics.median(figures) for way, figures in seen.items()}
            print(f"{streams} streams, MB/s: " + ", ".join(f"{way} {median[way]:.0f}" for way in ways)
                  + f"; mindmeld / haproxy {median['mindmeld'] / median['haproxy']:.2f}; rounds {seen}")
        print(f"afterwards: mmrouter {router.rss() >> 10} KiB, A {a.rss() >> 10} KiB, B {b.rss() >> 10} KiB")
    finally:
        world.close()
        subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)


if __name__ == "__main__":
    main()
