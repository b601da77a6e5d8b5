"""A hundred thousand connections with what must not get in where raw streams are taken, in several waves, with those between them who
say half of it and wait: `MM_ATTACKS=100000 strangers.py`. The router's memory and descriptors stay under their bounds."""
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time

from stage import SEED

from harness import SANITIZED, World, make_stubs

ATTACKS, WAVES = int(os.environ.get("MM_ATTACKS", "100000")), 10


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, limit), limit))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mm-"))
    make_stubs(directory / "stubs")
    from attacks import Place

    print(f"MM_SEED={SEED}", flush=True)
    world = World(directory)
    try:
        router = world.router()
        place = Place(world, router, world.mount(router, name="A"), world.mount(router, name="B"), SEED)
        begin, sizes = time.monotonic(), []
        for wave in range(WAVES):
            place.besiege(ATTACKS // WAVES)
            place.crowd(1000)
            place.is_as_before()
            sizes.append(router.rss())
            print(f"{(wave + 1) * (ATTACKS // WAVES)} in {time.monotonic() - begin:.0f} s: router {sizes[-1] >> 10} KiB, at most {place.most} descriptors", flush=True)
        # A sanitizer keeps more and more of what was freed.
        assert SANITIZED or sizes[-1] < sizes[1] * 1.1 + (1 << 20), f"the router grew: {[size >> 10 for size in sizes]} KiB"
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)
    print("strangers: fine")


if __name__ == "__main__":
    main()
