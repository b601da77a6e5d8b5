"""Daemons that could not start, or whose place was taken, and what others see of that."""
import pytest

from harness import PATIENCE, hear_exactly, is_reset, settled
from test_stalls import Link

pytestmark = pytest.mark.threads


def test_who_comes_after_a_failed_start_ends_what_was_before_it(world, router, b, directory):
    """The process that could not start has no connections; it is the one before it whose connections are over."""
    state = directory / "state-file"
    a = world.mount(router, f"state={state}", name="A")
    near, far = Link(world, a, b).ends("up")
    near.sendall(b"there")
    assert hear_exactly(far, 5) == b"there"
    a.kill()
    declared = state.read_bytes()
    for _ in range(2):
        state.write_bytes(b"damaged")
        failed = world.mount(router, f"state={state}", name="A", wait=None)
        failed.expected_exit = 2
        assert failed.process.wait(PATIENCE) == 2
    state.write_bytes(declared)
    world.mount(router, f"state={state}", name="A")
    assert is_reset(near)
    settled(b)


def test_who_comes_after_a_killed_start_ends_what_was_before_it(world, router, b, directory):
    """No router had heard of those that were killed, so that nobody has said yet that the first is over."""
    identity = f"identity={directory}/identity"
    a = world.mount(router, identity, name="A")
    near, far = Link(world, a, b).ends("up")
    near.sendall(b"there")
    assert hear_exactly(far, 5) == b"there"
    a.kill()
    for name in "first", "second":
        killed = world.mount("127.0.0.1:1", identity, name=name, wait="mounted")
        assert killed.values("status")["state"] == "connecting"
        killed.kill()
    world.mount(router, identity, name="A")
    assert is_reset(near)
    settled(b)


def test_who_is_superseded_lets_go(world, router, b, directory):
    """Of the targets of its services: nobody comes back to them."""
    older = world.mount(router, f"identity={directory}/identity", name="first")
    near, far = Link(world, older, b).ends("up")
    (directory / "copy").write_bytes((directory / "identity").read_bytes())
    (directory / "copy").chmod(0o600)
    world.mount(router, f"identity={directory}/copy", name="second")
    assert is_reset(near) and is_reset(far)
    settled(older, b)
