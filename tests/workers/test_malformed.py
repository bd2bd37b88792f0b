"""100,000 streams that are broken in all ways: each is refused, or gives exactly what the receiver's types say."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextvars import copy_context
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.mail import Batch, Colour, Mean, Place, Sample, Taker, Where, conforms
from trouper import FrameError, Ref, RemoteError, TrouperError
from trouper.actors.ask import Ask
from trouper.actors.definition import definition_of
from trouper.actors.watching import Watching
from trouper.events import Bus
from trouper.reasons import crashed
from trouper.workers import frames
from trouper.workers.codec import MailboxTypes
from trouper.workers.frames import HEAD, VERSION, frame
from trouper.workers.link import Link, control
from trouper.workers.peer import Office, Peer
from trouper.workers.ports import Receipt
from trouper.workers.told import tell, tell_reason

pytestmark = pytest.mark.once

DEFINITION = definition_of(Taker)
SCHEMA = MailboxTypes(DEFINITION, "/taker").schema
encode = msgspec.msgpack.encode
BATCH = Batch([1, 2, 3], {"a": [1.5, None]}, (3, "x"), Colour.BLUE, "b", Place(1, Place(2)), b"data")


def nothing(*_: object) -> None: ...


def fake(**parts: Any) -> Any:
    return SimpleNamespace(**parts)


class Receiver:
    """One end of a link, without its thread: what comes lies in the box of one actor that nobody steps."""

    def __init__(self) -> None:
        self.dead: list[object] = []
        self.told: list[tuple[str, bytes]] = []
        self.world = fake(
            dead=lambda _ref, item, _why: self.dead.append(item), watching=Watching(), bus=Bus(), context=copy_context()
        )
        self.ref: Ref[Any] = Ref(DEFINITION, DEFINITION.options.mailbox)
        self.ref.cell = fake(refuses=False, path="/taker", world=self.world, generation=1, state="running")
        self.ref.lane = fake(ident=-1)
        self.wire = fake(wake=nothing, attach=nothing, forget=nothing, watch=nothing)
        office = Office(lambda path: self.ref if path == "/taker" else None)
        self.peer = Peer(
            "/other",
            self.world,
            self.wire,
            find=office.find,
            local=office.local,
            on_control=lambda name, payload: self.told.append((name, payload)),
        )
        self.ours, self.theirs = socket.socketpair()
        self.asks: list[Ask] = []

    def attach(self) -> Link:
        """A fresh link, with two asks and a watch under way."""
        if self.peer.link is not None:
            self.peer.lost(self.peer.link, None)
        link = self.peer.attach(self.ours)
        self.ref.make_box().clear()
        self.dead.clear()
        self.told.clear()
        remote = self.peer.ref("/far", DEFINITION)
        self.asks = [Ask(Mean("a")), Ask(Where(Place(1)))]
        out = bytearray()
        for item in (Sample("a", 1.0), *self.asks):
            remote.box.append(item) if remote.box else remote.make_box().append(item)
        remote.drain(out)
        self.peer.watch(self.peer.cells["/far"])
        return link

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def valid(peer: Peer) -> list[bytes]:
    """One good frame of each kind, in an order that can be."""
    return [
        frame(frames.HELLO, 0, VERSION, b"\xc0"),
        frame(frames.OPEN, 1, 0, encode(["/taker", SCHEMA.fingerprint, SCHEMA.text])),
        frame(frames.OPEN, 2, 0, encode(["/nobody", SCHEMA.fingerprint, SCHEMA.text])),
        frame(frames.OPEN, 3, 0, encode(["/taker", "0123456789abcdef", "another"])),
        frame(frames.SEND, 1, 3, encode([Sample("load", 1.5), BATCH, Mean("load")])),
        frame(frames.SEND, 2, 1, encode([Sample("load", 1.5)])),
        frame(frames.ASK, 1, 7, encode(Mean("load"))),
        frame(frames.ASK, 1, 8, encode(Where(Place(1, Place(2))))),
        frame(frames.ASK, 3, 9, encode(Mean("load"))),
        frame(frames.TAKEN, 1, 1),
        frame(frames.ANSWER, 0, 1, encode(2.5)),
        frame(frames.FAIL, 0, 2, encode(tell(ValueError("no", 3)))),
        frame(frames.WATCH, 0, 5, encode(["/nobody"])),
        frame(frames.ENDED, 0, next(iter(peer.watches)), encode(tell_reason(crashed(ValueError("x"))))),
        control("ready", b"\x00\x01"),
    ]


def a_value(random: Random, depth: int = 0) -> Any:
    """Anything that msgpack can say."""
    kind = random.randrange(11 if depth < 4 else 8)
    if kind < 8:
        word, number = "x" * random.randrange(40), random.randrange(-(2**63), 2**64)
        return [None, True, number, random.random(), word, b"yyyyy", -1, "Sample"][kind]
    if kind == 8:
        return [a_value(random, depth + 1) for _ in range(random.randrange(4))]
    keys = random.sample(["type", "name", "value", "numbers", "extra", "place", "x", "inner", "colour", "pair", 7], 3)
    return {key: random.choice(["Sample", "Batch", "Mean", "Where", a_value(random, depth + 1)]) for key in keys}


def flip(random: Random, parts: list[bytes]) -> bytes:
    stream = bytearray(b"".join(parts))
    for _ in range(random.randrange(1, 6)):
        stream[random.randrange(len(stream))] = random.randrange(256)
    return bytes(stream)


def cut(random: Random, parts: list[bytes]) -> bytes:
    stream = b"".join(parts)
    begin = random.randrange(len(stream))
    return stream[:begin] + stream[begin + random.randrange(1, 20) :]


def insert(random: Random, parts: list[bytes]) -> bytes:
    stream = b"".join(parts)
    at = random.randrange(len(stream))
    return stream[:at] + random.randbytes(random.randrange(1, 20)) + stream[at:]


def truncate(random: Random, parts: list[bytes]) -> bytes:
    stream = b"".join(parts)
    return stream[: random.randrange(len(stream))]


def shuffle(random: Random, parts: list[bytes]) -> bytes:
    chosen = random.choices(parts[1:], k=random.randrange(1, 2 * len(parts)))
    return b"".join([parts[0], *([parts[1]] if random.random() < 0.7 else []), *chosen])


def lie_in_the_head(random: Random, parts: list[bytes]) -> bytes:
    parts = list(parts)
    at = random.randrange(len(parts))
    length, kind, channel, number = HEAD.unpack_from(parts[at])
    odd = random.choice([0, 1, 2**32 - 1, 2**31, frames.MAX_BODY, frames.MAX_BODY + 1, random.randrange(300)])
    head = [length, kind, channel, number]
    field = random.randrange(4)
    head[field] = odd & 0xFF if field == 1 else odd
    parts[at] = HEAD.pack(*head) + parts[at][HEAD.size :]
    return b"".join(parts)


def confuse(random: Random, parts: list[bytes]) -> bytes:
    """Good msgpack that says something else."""
    parts = list(parts)
    at = random.randrange(1, len(parts))
    _, kind, channel, number = HEAD.unpack_from(parts[at])
    value = a_value(random)
    if kind == frames.SEND:
        value = [a_value(random) for _ in range(random.choice([number, number, random.randrange(5)]))]
    parts[at] = frame(kind, channel, number, encode(value)) if kind != frames.TAKEN else frame(kind, channel, 2)
    return b"".join(parts)


def claim(random: Random, parts: list[bytes]) -> bytes:
    """Containers and texts that say that they have thousands of millions of values."""
    parts = list(parts)
    at = random.randrange(1, len(parts))
    _, kind, channel, number = HEAD.unpack_from(parts[at])
    body = random.choice([b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"]) + struct.pack(">I", 2**32 - 1)
    nested = random.choice([b"\x91", b"\x81\xa1x", b"\xdd\x00\x00\x00\x01"]) * random.choice([3, 70, 3000])
    if kind != frames.TAKEN:
        parts[at] = frame(kind, channel, number, random.choice([body, nested + b"\xc0", nested + body]))
    return b"".join(parts)


def garbage(random: Random, parts: list[bytes]) -> bytes:
    return parts[0] + random.randbytes(random.randrange(1, 200))


Break = Callable[[Random, list[bytes]], bytes]
BREAKS: list[Break] = [
    flip, cut, insert, truncate, shuffle, lie_in_the_head, confuse, confuse, confuse, claim, garbage,
]  # fmt: skip


def hear(receiver: Receiver, stream: bytes, sizes: Callable[[], int]) -> bool:
    """Feed a stream in pieces; returns whether it was refused."""
    link = receiver.peer.link
    assert link is not None
    try:
        while stream:
            size = sizes()
            for one in link.decoder.feed(stream[:size]):
                link.take(one)
            stream = stream[size:]
        link.decoder.finish()
    except FrameError as error:
        return bool(str(error))
    else:
        return False


def hold_against_the_types(receiver: Receiver) -> None:
    """Nothing has come through that is not what it should be."""
    for item in receiver.ref.box:
        if type(item) is not Receipt:
            message = item.request if isinstance(item, Ask) else item
            assert conforms(message), message
    mean, where = receiver.asks
    for ask, kind in ((mean, float), (where, Place)):
        if ask.done and ask._error is None:
            assert type(ask._value) is kind
        elif ask.done:
            assert isinstance(ask._error, TrouperError)
    for cell in receiver.peer.cells.values():
        assert 0 <= cell.credit.unacknowledged <= 3
    for name, payload in receiver.told:
        assert type(name) is str
        assert type(payload) is bytes


def break_streams(count: int, seed: int) -> tuple[int, int]:
    """Returns how many were refused, and how many messages came through."""
    receiver, random = Receiver(), Random(seed)
    refused = passed = 0
    for _ in range(count):
        receiver.attach()
        stream = random.choice(BREAKS)(random, valid(receiver.peer))
        refused += hear(receiver, stream, lambda: random.choice([1 << 20, 1 << 20, random.randrange(1, 50)]))
        hold_against_the_types(receiver)
        passed += len(receiver.ref.box)
    receiver.close()
    return refused, passed


def test_a_good_stream_is_heard_whole() -> None:
    receiver = Receiver()
    receiver.attach()
    assert not hear(receiver, b"".join(valid(receiver.peer)), lambda: 7)
    hold_against_the_types(receiver)
    asks = [item.request for item in receiver.ref.box if isinstance(item, Ask)]
    messages = [item for item in receiver.ref.box if not isinstance(item, Ask | Receipt)]
    assert messages == [Sample("load", 1.5), BATCH, Mean("load")]
    assert asks == [Mean("load"), Where(Place(1, Place(2)))]
    assert receiver.asks[0].take() == 2.5
    with pytest.raises(RemoteError, match="ValueError") as caught:
        receiver.asks[1].take()
    assert caught.value.arguments == ("no", 3)
    assert receiver.told == [("ready", b"\x00\x01")]
    assert len(receiver.dead) == 1  # for nobody
    receiver.close()


@pytest.mark.usefixtures("no_log")
def test_broken_streams_are_refused_or_give_what_the_types_say() -> None:
    refused, passed = break_streams(1500, 1)
    assert refused > 500
    assert passed > 1500


@pytest.mark.long
@pytest.mark.usefixtures("no_log")
def test_a_hundred_thousand_broken_streams_are_refused_or_give_what_the_types_say() -> None:
    refused, passed = break_streams(100_000, 2)
    assert refused > 40_000
    assert passed > 100_000


bodies = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "name", "value", "numbers", "extra", "pair", "place", "x", "inner"]),
            st.sampled_from(["Sample", "Batch", "Mean", "Where"]) | inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@pytest.mark.usefixtures("no_log")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([kind for kind in frames.KINDS if kind not in (frames.TAKEN, frames.HELLO)]),
    st.integers(0, 4),
    st.integers(0, 9),
    bodies,
)
def test_whatever_a_frame_says_it_is_refused_or_gives_what_the_types_say(
    kind: int, channel: int, number: int, body: Any
) -> None:
    receiver = Receiver()
    receiver.attach()
    stream = b"".join(valid(receiver.peer)[:4]) + frame(kind, channel, number, encode(body))
    hear(receiver, stream, lambda: 1 << 20)
    hold_against_the_types(receiver)
    receiver.close()


def test_a_value_that_is_nested_too_deep_for_a_type_without_bounds_is_refused() -> None:
    receiver = Receiver()
    for depth, refused in ((frames.MAX_DEPTH - 3, False), (frames.MAX_DEPTH, True), (50_000, True)):
        receiver.attach()
        deep: Any = b"\x91" * depth + b"\xc0"
        body = b"\x91\x83" + encode("type") + encode("Batch") + encode("numbers") + b"\x90"
        body += encode("extra") + b"\x81" + encode("a") + deep
        stream = b"".join([*valid(receiver.peer)[:2], frame(frames.SEND, 1, 1, body)])
        assert hear(receiver, stream, lambda: 1 << 20) is refused
        assert len(receiver.ref.box) == (0 if refused else 2)
    receiver.close()


def test_one_bad_message_among_good_ones_is_a_dead_letter_and_the_others_arrive() -> None:
    receiver = Receiver()
    receiver.attach()
    body = encode([Sample("a", 1.0), {"type": "Sample", "name": "b", "value": "much"}, 5, Sample("c", 3.0)])
    stream = b"".join([*valid(receiver.peer)[:2], frame(frames.SEND, 1, 4, body)])
    assert not hear(receiver, stream, lambda: 1 << 20)
    assert [item for item in receiver.ref.box if type(item) is not Receipt] == [Sample("a", 1.0), Sample("c", 3.0)]
    assert len(receiver.dead) == 2
    receiver.close()
