"""The path between a machine and the router goes, without a word: in a lab of long links, where packets can be swallowed
and addresses change."""

import pytest

from harness import eventually
from test_netlab import Lab, Link, pytestmark
from traffic import Conversation, Meeting

pytestmark = [pytestmark, pytest.mark.threads]


@pytest.fixture
def lab():
    with Lab(Link(50e6, 0.01), Link(50e6, 0.01)) as lab:
        yield lab


@pytest.fixture
def ends(lab, world):
    """Both machines' mounts, and both ends of a connection between them."""
    router = world.router("--open", listen="0.0.0.0:7000", host=lab.r)
    a, b = (world.mount(router, "insecure", name=name, host=host) for name, host in (("A", lab.s), ("B", lab.f)))
    with lab.s.inside():
        target = world.target(Meeting)
    for mount in (a, b):
        eventually(lambda m=mount: m.values("status")["streams"] == "raw", what="the router has answered whether it takes raw streams")
    a.service("web", target.address)
    port = b.forward("web")
    with lab.f.inside():
        near, far = target.ends(port, 80)
    return a, b, near, far


@pytest.mark.parametrize("at", ["forward", "service"])
def test_a_path_that_swallows_everything(lab, ends, at):
    """The machine notices by itself; once there is a path again, everything goes on."""
    a, b, near, far = ends
    mount, link = {"forward": (b, lab.rf), "service": (a, lab.sr)}[at]
    with Conversation("hole", near, far) as talk:
        talk.goes_on()
        link.hole()
        eventually(lambda: mount.values("status")["state"] == "connecting", 40, "it is noticed")
        link.unhole()
        mount.connected()
        talk.goes_on()
    assert b.values("status")["failed"] == "0"


@pytest.mark.parametrize("old", ["gone", "stays"])
def test_another_address(lab, ends, old):
    """Packets of the former one find no way, or still do; the kernel tells of the new one, and the link moves there."""
    a, b, near, far = ends
    with Conversation("address", near, far) as talk:
        talk.goes_on()
        before = b.links()
        lab.r.run("ip", "route", "add", "10.0.2.9/32", "dev", "f")
        if old == "gone":
            lab.f.run("ip", "address", "del", "10.0.2.1", "peer", "10.0.2.2", "dev", "r")
        lab.f.run("ip", "address", "add", "10.0.2.9", "peer", "10.0.2.2", "dev", "r")
        lab.f.run("ip", "route", "replace", "default", "via", "10.0.2.2", "src", "10.0.2.9")
        eventually(lambda: b.links() > before, what="it connects anew")
        talk.goes_on()
    assert b.values("status")["failed"] == "0"
