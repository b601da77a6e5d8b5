"""Where raw streams are taken, strangers come too: nothing of theirs gets in, and they cost the router a bounded list."""
import pytest

from attacks import Place
from harness import SANITIZED

ATTACKS = 3000

pytestmark = pytest.mark.threads


@pytest.fixture
def place(world, router, a, b):
    return Place(world, router, a, b, world.directory.name)


def test_nothing_is_accepted(place):
    """Random bytes, flipped ones, preambles that are used, of others, or cut, by the thousand."""
    counts = place.besiege(ATTACKS)
    assert sum(counts.values()) == ATTACKS and len(counts) == len(place.armoury.kinds)
    place.is_as_before()
    assert SANITIZED or place.router.rss() < place.memory + (16 << 20)


def test_those_who_say_half_of_it_are_thrown_out(place):
    """The oldest when they are too many, the others soon."""
    place.crowd(300)
    place.is_as_before()
