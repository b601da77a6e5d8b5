"""Raw streams from the client's side, by hand: preambles as a daemon makes them, and what the router answers."""
import ctypes
import hashlib
import itertools
import socket
import struct
import threading

from harness import PATIENCE

SODIUM = ctypes.CDLL("libsodium.so.23")
MAGIC, TAG, FIRST_MAX = b"mmraw1", 16, 1024
QUESTION = b"\0"  # whether raw streams work here
STATUS, FIRST = 1, 2  # kinds of words
HEAD, LENGTH, PLACE = struct.Struct(">6sH16sQ"), struct.Struct(">I"), struct.Struct(">QI")
IS_WORD = 1 << 31


def seal(key, counter, index, plain, beside):
    out, size = ctypes.create_string_buffer(len(plain) + TAG), ctypes.c_ulonglong()
    SODIUM.crypto_aead_chacha20poly1305_ietf_encrypt(
        out, ctypes.byref(size), plain, ctypes.c_ulonglong(len(plain)), beside, ctypes.c_ulonglong(len(beside)), None, PLACE.pack(counter, index), key)
    return out.raw


def opened(key, counter, index, sealed, beside):
    """Or None."""
    out, size = ctypes.create_string_buffer(max(len(sealed) - TAG, 0) or 1), ctypes.c_ulonglong()
    wrong = SODIUM.crypto_aead_chacha20poly1305_ietf_decrypt(
        out, ctypes.byref(size), None, sealed, ctypes.c_ulonglong(len(sealed)), beside, ctypes.c_ulonglong(len(beside)), PLACE.pack(counter, index), key)
    return None if wrong else out.raw[: size.value]


class Rights:
    """What the first message of a watch gives its client: where raw streams are taken, and a secret for their preambles."""

    def __init__(self, first, router):
        self.watch, self.address = first.stream_watch, address_of(first.stream_addr, router)
        self.to_router, self.from_router = (
            hashlib.blake2b(b"mindmeld raw %b router" % way, key=first.stream_secret, digest_size=32).digest() for way in (b"to", b"from"))
        self.counters, self.lock = itertools.count(1), threading.Lock()

    def counter(self):
        with self.lock:
            return next(self.counters)

    def preamble(self, plain, counter=None, watch=None):
        counter = self.counter() if counter is None else counter
        head = HEAD.pack(MAGIC, len(plain) + TAG, watch or self.watch, counter)
        return head + seal(self.to_router, counter, 0, plain, head)

    def word(self, data, counter, index=0):
        """(kind, what it says), if these bytes begin with a word of the router's that answers this preamble; or None."""
        if len(data) < LENGTH.size:
            return None
        size = LENGTH.unpack_from(data)[0] ^ IS_WORD
        plain = opened(self.from_router, counter, index, data[LENGTH.size : LENGTH.size + size], data[: LENGTH.size]) if TAG < size <= len(data) else None
        return plain and (plain[0], plain[1:])

    def asks(self):
        """Whether raw streams work."""
        counter = self.counter()
        with socket.create_connection(self.address, PATIENCE) as connection:
            connection.sendall(self.preamble(QUESTION, counter))
            return self.word(all_of(connection), counter) == (STATUS, b"\0")


def address_of(text, router):
    """":" is where the router itself is reached, ":PORT" another port there."""
    host, _, port = text.rpartition(":")
    own_host, _, own_port = router.rpartition(":")
    return host or own_host, int(port or own_port)


def all_of(connection):
    """Until it ends, in whatever way."""
    heard = b""
    try:
        while data := connection.recv(1 << 16):
            heard += data
    except OSError:
        pass
    return heard
