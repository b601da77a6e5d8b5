"""Peers that speak our wire by hand: what a daemon would say, and whatever else a test wants to be said."""
import contextlib
import ctypes
import hashlib
import queue
import secrets
import struct
import threading

import grpc

import mindmeld_pb2 as pb
import mindmeld_pb2_grpc as stubs
from harness import PATIENCE, eventually

VERSION = [("mindmeld-version", "2")]
LIMIT = 1 << 20
SODIUM = ctypes.CDLL("libsodium.so.23")


def header(**fields):
    return pb.Payload(header=pb.Header(**fields))


def bytes_of(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


def new_id():
    """Of a connection."""
    return secrets.token_bytes(16)


class Member:
    """One process: what it is called, and the key that proves it."""

    def __init__(self, key=None):
        self.key = key or secrets.token_bytes(32)
        self.name = hashlib.blake2b(self.key, digest_size=16).digest()
        self.fields = {"member": self.name, "member_key": self.key}


class Identity:
    """What lasts from process to process: a pair of keys."""

    def __init__(self):
        public, self.secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_seed_keypair(public, self.secret, secrets.token_bytes(32))
        self.public = public.raw

    def sign(self, text):
        signature = ctypes.create_string_buffer(64)
        SODIUM.crypto_sign_detached(signature, None, text, ctypes.c_ulonglong(len(text)), self.secret)
        return signature.raw

    def claim(self, member, instance, challenge):
        """What Join wants to see."""
        text = b"mindmeld join" + challenge + self.public + member.name + struct.pack("<Q", instance)
        return pb.JoinRequest(identity=self.public, instance=instance, challenge=challenge, signature=self.sign(text), **member.fields)


class Watch:
    """WatchServices; what came is kept."""

    def __init__(self, control):
        self.heard = []
        self.call = control.WatchServices(pb.WatchServicesRequest(), metadata=VERSION)
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        with contextlib.suppress(grpc.RpcError):
            for message in self.call:
                self.heard.append(message)

    def first(self):
        return eventually(lambda: self.heard[0], what="the watch's first message")

    def lost(self):
        return {member for message in list(self.heard) for member in message.lost}

    def superseded(self):
        return any(message.superseded for message in list(self.heard))


class Raw:
    """A stream of Connect on which anything can be said; what comes back is kept."""

    def __init__(self, channel, first, timeout=60):
        self.out, self.heard = queue.Queue(), []
        self.say(first)
        method = channel.stream_stream("/mindmeld.ProxyService/Connect", bytes_of, pb.Payload.FromString)
        self.call = method(iter(self.out.get, None), metadata=VERSION, timeout=timeout)
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        with contextlib.suppress(grpc.RpcError):
            for message in self.call:
                self.heard.append(message)

    def say(self, *messages):
        for message in messages:
            self.out.put(message)

    def end(self):
        self.out.put(None)

    def first(self):
        return eventually(lambda: self.heard[0], what="a first message")

    def data(self):
        return b"".join(message.data for message in list(self.heard))

    def answers(self, data):
        """What comes back for `data` of somebody who says again what was said."""
        before = len(self.data())
        self.say(pb.Payload(data=data))
        return eventually(lambda: self.data()[before:] == data, what="it is said again")

    def said(self, field):
        """The first message of this kind, or None."""
        return next((message for message in list(self.heard) if message.HasField(field)), None)

    def is_said(self):
        """All of it, unless the stream ended before."""
        eventually(lambda: self.out.empty() or self.call.done(), what="all is said")

    def is_ended(self):
        eventually(self.call.done, what="the stream ends")
        assert self.call.code() != grpc.StatusCode.OK

    def close(self):
        self.end()
        self.call.cancel()


class Peer:
    """A process with a connection of its own to the router, which watches and has joined."""

    def __init__(self, address, key=None, identity=None, instance=1, former=None, join=True):
        self.member, self.identity, self.instance, self.former = Member(key), identity or Identity(), instance, former
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.control = stubs.ControlServiceStub(self.channel)
        self.calls = []
        self.watch = Watch(self.control)
        if join:
            self.join()

    def claim(self):
        """The request with which it joins."""
        request = self.identity.claim(self.member, self.instance, self.watch.first().challenge)
        if self.former:
            request.former_key = self.former
        return request

    def join(self, request=None):
        return self.control.Join(request or self.claim(), metadata=VERSION, timeout=PATIENCE)

    def register(self, name, **wrong):
        """The call, once the name is registered or refused. It yields tokens."""
        call = self.control.CreateService(pb.CreateServiceRequest(**{"name": name, **self.member.fields, **wrong}), metadata=VERSION)
        self.calls.append(call)
        call.initial_metadata()
        return call

    def stream(self, **fields):
        return Raw(self.channel, header(**{**self.member.fields, **fields}))

    def dial(self, name, connection, **more):
        return self.stream(**{"service": name, "connection": connection, "limit": LIMIT, **more})

    def attach(self, to, connection, epoch, **more):
        """Goes on with a connection at that process."""
        fields = {"attach": to, "connection": connection, "epoch": epoch, "established": True, "limit": LIMIT}
        return self.stream(**{**fields, **more})

    def close(self):
        for call in self.calls:
            call.cancel()
        self.watch.call.cancel()
        self.channel.close()
