"""How much may be under way, by the tree's own account, and within what the options allow."""
import contextlib
import threading

import pytest

from harness import BUILD, eventually, hear_exactly, run_any, settled
from test_stalls import Link, saying, small
from traffic import Flow

pytestmark = pytest.mark.threads

START, MUCH = 256 << 10, 96 << 20


def numbers(connection):
    return {key: int(connection[key]) for key in ("window", "unacked", "queued", "rate", "rtt_us")}


def only(mount):
    """What is told of its one connection."""
    found = mount.connections()
    assert len(found) == 1
    return numbers(found[0])


@pytest.mark.parametrize("options,most", [("", 16 << 20), ("window=256K", 256 << 10), ("window=1M,budget=64M", 1 << 20)], ids=str)
def test_a_stalled_transfer_is_told_and_bounded(world, router, options, most):
    a, b = (world.mount(router, options, name=name) for name in "AB")
    link = Link(world, a, b)
    speaker, hearer = link.ends()
    small(hearer)
    flow = Flow("stalled", MUCH, pauses=False)
    with saying(flow, speaker):
        eventually(lambda: only(b)["queued"] > START // 2, what="it queues up")
        said, heard = only(a), only(b)
        assert START <= said["window"] <= most
        assert 0 < said["unacked"] <= said["window"]
        assert heard["queued"] <= most
        assert heard["unacked"] <= heard["window"]
        assert said["queued"] == 0
        for mount in (a, b):
            values = mount.values("status")
            assert int(values["window"]) == most
            assert int(values["windows"]) <= int(values["budget"])
        flow.hear(hearer)
        eventually(lambda: only(a)["unacked"] == 0 and only(b)["queued"] == 0, what="all is taken, and said to be")
    link.target.close()
    settled(a, b)
    eventually(lambda: [a.values("status")[key] for key in ("windows", "queued")] == ["0", "0"], what="all is given back")
    eventually(lambda: [b.values("status")[key] for key in ("windows", "queued")] == ["0", "0"], what="all is given back")


def test_a_live_transfer_is_told(world, a, b):
    """While it runs: a rate and a round trip, of whoever speaks."""
    link = Link(world, a, b)
    for way, mount in (("down", a), ("up", b)):
        speaker, hearer = link.ends(way)
        flow, stop = Flow(way, 1 << 60, pauses=False), threading.Event()

        def hear():
            with contextlib.suppress(OSError):
                while not stop.is_set() and flow.take(hearer):
                    pass
            hearer.close()

        with saying(flow, speaker):
            thread = threading.Thread(target=hear)
            thread.start()
            try:
                seen = eventually(lambda: (found := only(mount))["rate"] > 0 and found["rtt_us"] > 0 and found, what="it is measured")
                assert seen["window"] >= START and seen["unacked"] <= seen["window"]
            finally:
                stop.set()
                thread.join()
        settled(a, b)


def test_the_budget_is_for_all_together(world, router):
    """Far more is stalled than it allows: each has what it begins with, and new ones still work."""
    a, b = (world.mount(router, "budget=1M", name=name) for name in "AB")
    link, count = Link(world, a, b), 16
    with contextlib.ExitStack() as stack:
        hearers = []
        for number in range(count):
            speaker, hearer = link.ends()
            small(hearer)
            flow = Flow(number, 16 << 20, pauses=False)
            stack.enter_context(saying(flow, speaker))
            eventually(lambda f=flow: f.said >= START, what="it fills up")
            hearers.append((flow, hearer))
        eventually(lambda: int(b.values("status")["queued"]) > 0, what="something is queued")
        for mount in (a, b):
            values = mount.values("status")
            assert int(values["budget"]) == 1 << 20
            assert int(values["windows"]) <= 1 << 20
            assert int(values["queued"]) <= (1 << 20) + count * START
            for found in map(numbers, mount.connections()):
                assert found["unacked"] <= found["window"] <= START + (1 << 20)
        near, far = link.target.ends(link.port)
        near.sendall(b"still here")
        assert hear_exactly(far, 10) == b"still here"
        for flow, hearer in hearers:
            flow.hear(hearer)
            hearer.close()


@pytest.mark.parametrize("option", ["window=", "window=x", "window=255K", "window=65M", "window=1K1", "window=-1", "budget", "budget=1023K",
                                    "budget=1T", "budget=99999999999999999999"])
def test_limits_that_cannot_be(directory, option):
    done = run_any(BUILD / "mmfs", "-f", "-o", option, "127.0.0.1:1", directory)
    assert done.returncode == 2
    assert option.split("=")[0] in done.stderr and done.stderr.startswith("mmfs: ")
