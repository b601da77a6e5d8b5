"""Bytes by the gigabyte, in pieces of any size, by connections whose directions end when they like: by raw streams, by gRPC, and
while connections change between the two because routers go, raw streams are shut out, and what passes is cut.

    MM_GIGABYTES=10 MM_SEED=7 integrity.py [raw | gRPC | changes]..."""
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

from stage import SEED, drained, restarted

from gate import GRPC, RAW, Gate
from harness import World, settled
from traffic import Meeting, Volume

TOTAL = int(float(os.environ.get("MM_GIGABYTES", "10")) * 1e9)
PATIENCE, WORKERS, MOST, HOLD = 3000, 4, 1 << 26, 60
CHANGES = "changes"
QUIET = (0.5, 1, 2, 4)  # seconds between two changes


class Changes:
    """One after the other until it is over, each kind once in every six; the router is there again at its end, and the gate open."""

    def __init__(self, world, gate, router):
        self.world, self.gate, self.router, self.draw = world, gate, router, random.Random(f"{SEED} changes")
        self.counts, self.over, self.thread = {}, threading.Event(), threading.Thread(target=self.run, daemon=True)

    def run(self):
        acts, deck = (self.kill, self.drain, self.shut, self.open, self.cut_raw, self.cut_all), []
        while not self.over.wait(self.draw.choice(QUIET)):
            deck = deck or self.draw.sample(acts, len(acts))
            act = deck.pop()
            self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
            act()

    def kill(self):
        self.router, _ = restarted(self.world, self.router, self.draw.choice((0, 0.2, 1)))

    def drain(self):
        self.router = drained(self.world, self.router)

    def shut(self):
        self.gate.shuts()

    def open(self):
        self.gate.opens()

    def cut_raw(self):
        self.gate.cut(RAW)

    def cut_all(self):
        self.gate.cut(RAW, GRPC)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.gate.opens()


def carry(plane):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    world = World(directory)
    try:
        router = world.router()
        gate = world.target(Gate, router.address)
        a, b = (world.mount(gate.address, "raw=off" if plane == GRPC else f"hold={HOLD}", name=name) for name in "AB")
        target = world.target(Meeting)
        a.service("bulk", target.address)
        volume, start = Volume(target, b.forward("bulk"), f"{SEED} {plane}", TOTAL, MOST), time.monotonic()
        if plane == CHANGES:
            with Changes(world, gate, router) as changes:
                volume.passes(WORKERS, PATIENCE)
            print(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(changes.counts.items())), flush=True)
        else:
            volume.passes(WORKERS, PATIENCE)
        passed = gate.bytes()
        print(f"{plane}: {TOTAL / 1e9:g} GB by {volume.connections} connections in {time.monotonic() - start:.0f} s, all as they were said; "
              + ", ".join(f"{size / 1e9:.1f} GB by {kind}" for kind, size in passed.items()), flush=True)
        # Each connection passes the gate twice.
        least = {RAW: {RAW: 1.9}, GRPC: {GRPC: 1.9}, CHANGES: {RAW: 0.02, GRPC: 0.02}}[plane]
        assert all(passed[kind] > part * TOTAL for kind, part in least.items()), f"not by the streams that it was to go by: {passed}"
        # A service that missed the end of a last stream cannot know that the other side has it.
        settled(a, b, timeout=2 * HOLD)
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    print(f"MM_SEED={SEED}", flush=True)
    for plane in sys.argv[1:] or (RAW, GRPC, CHANGES):
        carry(plane)
    print("integrity: fine")


if __name__ == "__main__":
    main()
