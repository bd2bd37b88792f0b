"""A stream is cut into exactly the frames that were put together, or refused with what was wrong and where."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trouper import FrameError
from trouper.workers.frames import (
    ASK,
    CONTROL,
    FIRST_BUFFER,
    HEAD,
    KINDS,
    MAX_BODY,
    MAX_DEPTH,
    SEND,
    TAKEN,
    Decoder,
    check_depth,
    frame,
    name_of,
)

Whole = tuple[int, int, int, bytes]
numbers = st.integers(0, 2**32 - 1)
frames = st.one_of(
    st.tuples(st.sampled_from([kind for kind in KINDS if kind != TAKEN]), numbers, numbers, st.binary(min_size=1)),
    st.tuples(st.just(TAKEN), numbers, numbers, st.just(b"")),
)


def feed(decoder: Decoder, data: bytes) -> list[Whole]:
    return [(kind, channel, number, bytes(body)) for kind, channel, number, body in decoder.feed(data)]


@given(st.lists(frames), st.lists(st.integers(1, 40)))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(wanted: list[Whole], cuts: list[int]) -> None:
    stream = b"".join(frame(*one) for one in wanted)
    decoder, found = Decoder(), list[Whole]()
    for size in cuts:
        found += feed(decoder, stream[:size])
        stream = stream[size:]
    found += feed(decoder, stream)
    decoder.finish()
    assert found == wanted


@given(st.lists(frames, min_size=1), st.data())
def test_a_stream_that_is_cut_off_within_a_frame_says_so(wanted: list[Whole], data: st.DataObject) -> None:
    stream = b"".join(frame(*one) for one in wanted)
    ends = {0}
    for one in wanted:
        ends.add(max(ends) + len(frame(*one)))
    size = data.draw(st.integers(0, len(stream)))
    decoder = Decoder()
    feed(decoder, stream[:size])
    if size in ends:
        decoder.finish()
    else:
        with pytest.raises(FrameError, match=f"byte {size}: found the end after"):
            decoder.finish()


def test_a_frame_larger_than_the_buffer_arrives_whole() -> None:
    decoder, body = Decoder(), bytes(range(256)) * (FIRST_BUFFER // 100)
    before, after = frame(ASK, 1, 2, b"x"), frame(SEND, 3, 4, b"y")
    assert feed(decoder, before + frame(ASK, 7, 8, body) + after) == [
        (ASK, 1, 2, b"x"),
        (ASK, 7, 8, body),
        (SEND, 3, 4, b"y"),
    ]


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (
            (MAX_BODY + 1, SEND, 0, 0),
            f"byte 14: found SEND with {MAX_BODY + 1} bytes, allowed: at most {MAX_BODY} bytes",
        ),
        ((2**32 - 1, ASK, 0, 0), f"byte 14: found ASK with {2**32 - 1} bytes, allowed: at most {MAX_BODY} bytes"),
        ((1, 0, 0, 0), f"byte 14: found a frame of kind 0, allowed: the kinds 1 to {CONTROL}"),
        ((1, CONTROL + 1, 0, 0), f"byte 14: found a frame of kind {CONTROL + 1}, allowed: the kinds 1 to {CONTROL}"),
        ((1, TAKEN, 0, 0), "byte 14: found TAKEN with 1 bytes, allowed: no body"),
        ((0, SEND, 0, 0), "byte 14: found SEND with 0 bytes, allowed: a body"),
    ],
)
def test_a_head_is_refused_before_its_body_comes_and_nothing_is_taken_after_it(
    head: tuple[int, int, int, int], says: str
) -> None:
    decoder = Decoder()
    taken: list[int] = []
    with pytest.raises(FrameError) as caught:
        taken.extend(kind for kind, *_ in decoder.feed(frame(ASK, 1, 2, b"x") + HEAD.pack(*head)))
    assert str(caught.value) == says
    assert taken == [ASK]  # what was whole before it is not lost
    for _ in range(2):
        with pytest.raises(FrameError, match="byte 14"):
            feed(decoder, frame(ASK, 1, 2, b"x"))
    with pytest.raises(FrameError, match="byte 14"):
        decoder.finish()


def test_the_buffer_grows_with_what_has_come_and_not_with_what_is_claimed() -> None:
    decoder = Decoder()
    feed(decoder, HEAD.pack(MAX_BODY, ASK, 0, 0) + bytes(1000))
    assert len(decoder._buffer) == FIRST_BUFFER
    feed(decoder, bytes(4 * FIRST_BUFFER))
    assert len(decoder._buffer) <= 16 * FIRST_BUFFER
    feed(decoder, bytes(MAX_BODY - 1000 - 4 * FIRST_BUFFER))
    assert len(decoder._buffer) == FIRST_BUFFER  # and it is not kept


def test_every_kind_has_a_name() -> None:
    assert len({name_of(kind) for kind in KINDS}) == len(KINDS)
    assert name_of(99) == "kind 99"


# -- depth -------------------------------------------------------------------------------------------------------------
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=40),
        st.binary(max_size=40),
    ),
    lambda inner: st.lists(inner, max_size=17) | st.dictionaries(st.text(max_size=40), inner, max_size=17),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0) if value else 0
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0) if value else 0
    return 0


@pytest.mark.once
@settings(max_examples=60)
@given(values)
def test_the_depth_is_that_of_the_value(value: object) -> None:
    body = memoryview(msgspec.msgpack.encode(value))
    depth = depth_of(value)
    check_depth(body, depth)
    if depth:
        with pytest.raises(FrameError, match=f"{depth} containers deep, allowed: at most {depth - 1}|containers deep"):
            check_depth(body, depth - 1)


@given(st.binary(max_size=200))
def test_counting_the_depth_of_garbage_ends(data: bytes) -> None:
    with suppress(FrameError):
        check_depth(memoryview(data), 3)


@pytest.mark.parametrize(
    "opener", [b"\x91", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01", b"\x81\x01", b"\xde\x00\x01\x01"]
)
def test_the_limit_is_exact_for_every_form_of_container(opener: bytes) -> None:
    check_depth(memoryview(opener * MAX_DEPTH + b"\xc0"))
    with pytest.raises(FrameError, match=f"a value {MAX_DEPTH + 1} containers deep, allowed: at most {MAX_DEPTH}"):
        check_depth(memoryview(opener * (MAX_DEPTH + 1) + b"\xc0"))
