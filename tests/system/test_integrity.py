"""What is heard is what was said, whatever the sizes, pauses and ends."""
import random
import socket

import pytest

from harness import settled
from traffic import Flow, Meeting, any_size, together

pytestmark = pytest.mark.threads

CONNECTIONS, MOST = 8, 16 << 20


def some_size(source):
    """Of a direction: an end may come at once, after a few bytes, or long after the other side's."""
    return source.choice([0, any_size(source, 4096), any_size(source, MOST), MOST])


@pytest.mark.parametrize("options", ["", "window=256K,budget=1M"], ids=["as it is", "small windows"])
@pytest.mark.parametrize("seed", [1, 2, "new"])
def test_both_ways_with_any_sizes_and_ends(world, router, seed, options):
    """Several connections at once; each direction ends by itself."""
    a, b = (world.mount(router, options, name=name) for name in "AB")
    seed = random.randrange(1 << 32) if seed == "new" else seed
    source, target = random.Random(seed), world.target(Meeting)
    a.service("web", target.address)
    port = b.forward("web")

    def converse(number):
        up, down = (Flow(f"{seed} {number} {way}", size) for way, size in sizes[number].items())
        near, far = target.ends(port, 60)
        together(lambda: up.say(near), lambda: up.hear(far), lambda: down.say(far), lambda: down.hear(near))
        near.close()
        far.close()

    sizes = [{way: some_size(source) for way in ("up", "down")} for _ in range(CONNECTIONS)]
    together(*(lambda n=number: converse(n) for number in range(CONNECTIONS)))
    settled(a, b)


def test_the_smallest_pieces(world, a, b):
    """Byte after byte, without waiting for more: what a message costs must not lose or hold up any."""
    target = world.target(Meeting)
    a.service("web", target.address)
    near, far = target.ends(b.forward("web"), 60)
    up, down = (Flow(way, 20000, piece=3, pauses=False) for way in ("up", "down"))
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    together(lambda: up.say(near), lambda: up.hear(far), lambda: down.say(far), lambda: down.hear(near))
