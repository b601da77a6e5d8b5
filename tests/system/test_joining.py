"""Who a daemon is, as the router sees it: who may join, whose names are whose, and who is told what."""
import grpc
import pytest

from harness import PATIENCE, eventually
from wire import Identity, Member, Peer

CODE = grpc.StatusCode
REFUSALS = (CODE.INVALID_ARGUMENT, CODE.PERMISSION_DENIED, CODE.UNAUTHENTICATED, CODE.FAILED_PRECONDITION, CODE.NOT_FOUND)

pytestmark = pytest.mark.threads


@pytest.fixture
def peer(world, router):
    return lambda **more: world.target(Peer, router.address, **more)


def refusal(call):
    with pytest.raises(grpc.RpcError) as trouble:
        call()
    return trouble.value.code()


def is_registered(call):
    return not call.done()


def ends_with(call, code):
    eventually(call.done, what="its stream ends")
    assert call.code() == code, call


def changed(**fields):
    def change(peer):
        request = peer.claim()
        for name, value in fields.items():
            setattr(request, name, value(request) if callable(value) else value)
        return request

    return change


def flipped(field):
    """One bit of it."""
    return lambda request: bytes([getattr(request, field)[0] ^ 1]) + getattr(request, field)[1:]


WRONG = {
    "no signature": changed(signature=b""),
    "a short signature": changed(signature=lambda r: r.signature[:63]),
    "a wrong signature": changed(signature=flipped("signature")),
    "another instance": changed(instance=2),
    "another challenge": changed(challenge=flipped("challenge")),
    "a short challenge": changed(challenge=lambda r: r.challenge[:31]),
    "no challenge": changed(challenge=b""),
    "another identity": changed(identity=Identity().public),
    "no identity": changed(identity=b""),
    "another member": changed(member=Member().name),
    "another member with its key": changed(**Member().fields),
    "another key": changed(member_key=b"x" * 32),
    "no key": changed(member_key=b""),
    "a short former key": changed(former_key=b"x"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_who_may_not_join(peer, wrong):
    one = peer(join=False)
    assert refusal(lambda: one.join(wrong(one))) in REFUSALS


def test_a_challenge_is_good_once(peer):
    """And of no use to anybody else."""
    one, two = peer(join=False), peer(join=False)
    request = one.claim()
    one.join(request)
    for again in (one, two):
        assert refusal(lambda: again.join(request)) in REFUSALS
    two.join()


def test_a_challenge_ends_with_its_watch(peer):
    one = peer(join=False)
    request = one.claim()
    one.watch.call.cancel()
    eventually(lambda: refusal(lambda: peer(join=False).join(request)) in REFUSALS, what="it is refused")


def test_challenges_differ(peer):
    assert len({peer(join=False).watch.first().challenge for _ in range(5)}) == 5


def test_a_newer_process_has_the_names(peer):
    """Of its identity, at once; the older one is told, and so is everybody else, now and later."""
    watcher, older = peer(), peer()
    call = older.register("web")
    assert is_registered(call)
    newer = peer(identity=older.identity, instance=2)
    ends_with(call, CODE.ABORTED)
    eventually(older.watch.superseded, what="it is told")
    assert is_registered(newer.register("web"))
    for one in (watcher, newer, peer()):
        eventually(lambda o=one: older.member.name in o.watch.lost(), what="it is told who is lost")
    assert not newer.watch.superseded() and not watcher.watch.superseded()


def test_an_older_process_does_not_join(peer):
    newer = peer(instance=2)
    call = newer.register("web")
    older = peer(identity=newer.identity, instance=1, join=False)
    assert refusal(older.join) == CODE.FAILED_PRECONDITION
    assert is_registered(call) and not newer.watch.superseded()


def test_the_former_process_is_lost(peer):
    """The router has never seen it: the next one proves that it was the same, by its key."""
    former, watcher = Member(), peer()
    peer(instance=2, former=former.key)
    for one in (watcher, peer()):
        eventually(lambda o=one: former.name in o.watch.lost(), what="it is told")


def test_nobody_declares_another_lost(peer):
    """Only who has the key."""
    one, watcher = peer(), peer()
    thief = peer(join=False)
    request = thief.claim()
    request.former_key = one.member.name * 2
    thief.join(request)
    last = Member()
    peer(instance=2, former=last.key)
    eventually(lambda: last.name in watcher.watch.lost(), what="it is told of the others")
    assert one.member.name not in watcher.watch.lost()


def test_a_name_is_its_owners(peer):
    owner, other = peer(), peer()
    call = owner.register("web")
    ends_with(other.register("web"), CODE.ALREADY_EXISTS)
    assert is_registered(call)


def test_the_same_process_replaces_its_own(peer):
    """As it does when it has connected anew and the router has not noticed that the former stream is dead."""
    owner = peer()
    first = owner.register("web")
    second = owner.register("web")
    ends_with(first, CODE.ABORTED)
    assert is_registered(second)


def test_the_same_process_joins_again(world, router, peer):
    """With a new watch beside the old one: it is no newer process, and nobody is lost."""
    one, watcher = peer(), peer()
    call = one.register("web")
    again = peer(key=one.member.key, identity=one.identity, instance=one.instance)
    assert is_registered(call)
    last = Member()
    peer(instance=2, former=last.key)
    eventually(lambda: last.name in watcher.watch.lost(), what="it is told of others")
    assert one.member.name not in watcher.watch.lost() and not again.watch.superseded()


def test_a_name_may_be_asked_for_by_who_has_not_joined(peer):
    """Clients of the first version know no Join."""
    assert is_registered(peer(join=False).register("web"))


def test_a_dial_waits_for_a_name_that_was_there(peer):
    """Its daemon may be on its way back."""
    owner, caller = peer(), peer()
    call = owner.register("web")
    call.cancel()
    eventually(lambda: any("web" in message.removed for message in list(caller.watch.heard)), what="it is gone")
    raw = caller.dial("web", b"c" * 16)
    token = next(owner.register("web")).token
    answer = owner.stream(token=token)
    assert answer.first().header.service == "web"
    for one in (raw, answer):
        one.close()


def test_an_attachment_waits_for_its_member(peer):
    """The router may be younger than both."""
    caller, owner = peer(), peer(join=False)
    raw = caller.attach(owner.member.name, b"c" * 16, 1)
    owner.join()
    parked = owner.stream(park=True)
    theirs = parked.first().header
    assert (theirs.connection, theirs.epoch, theirs.member, theirs.established) == (b"c" * 16, 1, caller.member.name, True)
    assert not theirs.member_key
    for one in (raw, parked):
        one.close()


@pytest.mark.parametrize("wrong", [{"member": Member().name}, {"member_key": b"x" * 32}, {"member_key": b""}], ids=["another", "a wrong key", "no key"])
def test_a_member_is_who_has_its_key(peer, wrong):
    """Also for a router that has never seen any of them."""
    one = peer()
    call = one.register("web", **wrong)
    eventually(call.done, what="it is refused")
    assert call.code() in REFUSALS
    for fields in ({"park": True}, {"service": "web", "connection": b"c" * 16}, {"attach": Member().name, "connection": b"c" * 16, "epoch": 1, "established": True}):
        raw = one.stream(**{**fields, **wrong})
        eventually(raw.call.done, PATIENCE, what="it is refused")
        assert raw.call.code() in REFUSALS
