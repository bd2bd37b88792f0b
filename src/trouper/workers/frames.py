"""Frames: how a stream of bytes between two processes is cut, and what is refused of it.

```
 length   kind   channel   number   body
 4 bytes  1      4         4        length bytes of msgpack
```

| kind | channel | number | body |
|---|---|---|---|
| `HELLO` | | version of this table | nil |
| `OPEN` | a new one | | path, fingerprint and schema of the mailbox that it leads to |
| `SEND` | where to | how many | a list of messages |
| `ASK` | where to | the ask | a request |
| `ANSWER`, `FAIL` | where the request was taken now, or 0 | the ask | the reply; an error |
| `TAKEN` | where from | how many | none: so many messages were taken out of the mailbox |
| `REFUSED` | which | | why nothing of this channel is delivered |
| `WATCH` | | the watch | path of an actor |
| `ENDED` | | the watch | why that actor ended |
| `CONTROL` | length of a name | | that name, and bytes: for who keeps the processes |

A channel leads from one sender's process to one mailbox; the sender numbers it. All of this is decided without a
socket, a thread or a clock: `Decoder` is given bytes as they come, in pieces of any size. What is wrong is an error
that says what and where, and the end of the stream: nobody guesses where the next frame begins.

Sizes are looked at before memory is taken: a frame that claims too much is refused by its head, and the buffer grows
with what has come, never with what is claimed. How deep a body is nested is counted by `check_depth`, where the types
of the receiver do not bound it already.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from trouper.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
HEAD: Final = Struct(">IBII")
MAX_BODY: Final = 16 * 1024 * 1024  # bytes
MAX_DEPTH: Final = 64  # containers within each other
FIRST_BUFFER: Final = 128 * 1024
KEPT_BUFFER: Final = 1024 * 1024

HELLO, OPEN, SEND, ASK, ANSWER, FAIL, TAKEN, REFUSED, WATCH, ENDED, CONTROL = KINDS = range(1, 12)
NAMES: Final = ["HELLO", "OPEN", "SEND", "ASK", "ANSWER", "FAIL", "TAKEN", "REFUSED", "WATCH", "ENDED", "CONTROL"]
BARE: Final = frozenset({TAKEN})

Frame = tuple[int, int, int, memoryview]
"""Kind, channel, number and body; the body is valid until the next frame is taken."""


def frame(kind: int, channel: int, number: int, body: bytes = b"") -> bytes:
    """Put a frame together."""
    return HEAD.pack(len(body), kind, channel, number) + body


def name_of(kind: int) -> str:
    return NAMES[kind - 1] if kind in KINDS else f"kind {kind}"


class Decoder:
    """Cuts a stream into frames. After an error it takes nothing any more.

    Args:
        limit: bytes that a body may have.
    """

    def __init__(self, limit: int = MAX_BODY) -> None:
        self.limit = limit
        self._buffer = bytearray(FIRST_BUFFER)
        self._begin = self._end = 0
        self._before = 0  # bytes of the stream that are not in the buffer any more
        self._error: FrameError | None = None

    def room(self) -> memoryview:
        """Where the next bytes of the stream go; let go of it before `filled`."""
        if self._end == len(self._buffer):
            if self._begin:
                self._move_down()
            else:
                self._buffer += bytes(len(self._buffer))
        return memoryview(self._buffer)[self._end :]

    def filled(self, count: int) -> Iterator[Frame]:
        """Iterate over the frames that are complete now that so many bytes came into `room`.

        Raises:
            FrameError: the stream is wrong.
        """
        self._end += count
        with memoryview(self._buffer) as view:
            while (body := self._next()) is not None:
                kind, channel, number, begin, end = body
                with view[begin:end] as part:
                    yield kind, channel, number, part
        if self._begin == self._end:
            self._forget()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """As `room` and `filled`, for bytes that are somewhere else.

        Raises:
            FrameError: the stream is wrong.
        """
        rest = memoryview(data)
        while rest:
            with self.room() as room:
                count = min(len(room), len(rest))
                room[:count] = rest[:count]
            rest = rest[count:]
            yield from self.filled(count)

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            FrameError: within a frame: it was cut off.
        """
        if (left := self._end - self._begin) or self._error is not None:
            at = self._before + self._end
            raise self._error or FrameError(at, f"the end after {left} bytes of a frame", "an end between frames")

    def _next(self) -> tuple[int, int, int, int, int] | None:
        if self._error is not None:
            raise self._error
        begin = self._begin
        if self._end - begin < HEAD.size:
            return None
        length, kind, channel, number = HEAD.unpack_from(self._buffer, begin)
        if length > self.limit or not 1 <= kind <= CONTROL or (length > 0) is (kind in BARE):
            raise self._refuse(length, kind)
        end = begin + HEAD.size + length
        if end > self._end:
            return None
        self._begin = end
        return kind, channel, number, begin + HEAD.size, end

    def _refuse(self, length: int, kind: int) -> FrameError:
        at = self._before + self._begin
        if kind not in KINDS:
            self._error = FrameError(at, f"a frame of kind {kind}", f"the kinds 1 to {CONTROL}")
        elif length > self.limit:
            self._error = FrameError(at, f"{name_of(kind)} with {length} bytes", f"at most {self.limit} bytes")
        else:
            allowed = "no body" if kind in BARE else "a body"
            self._error = FrameError(at, f"{name_of(kind)} with {length} bytes", allowed)
        return self._error

    def _move_down(self) -> None:
        rest = self._buffer[self._begin : self._end]
        self._buffer[: len(rest)] = rest
        self._before += self._begin
        self._begin, self._end = 0, len(rest)

    def _forget(self) -> None:
        self._before += self._begin
        self._begin = self._end = 0
        if len(self._buffer) > KEPT_BUFFER:
            self._buffer = bytearray(FIRST_BUFFER)


# -- depth -------------------------------------------------------------------------------------------------------------

_CONTAINERS: Final = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
_OTHERS: Final = bytes(sorted(set(range(256)) - set(_CONTAINERS)))
_FIXED: Final = {  # bytes after the first, of what has always as many
    **dict.fromkeys((0xC0, 0xC2, 0xC3, *range(0x80), *range(0xE0, 0x100)), 0),
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
    0xD4: 2,
    0xD5: 3,
    0xD6: 5,
    0xD7: 9,
    0xD8: 17,
    **{0xA0 + size: size for size in range(32)},
}
_SIZED: Final = {  # bytes of the size, and bytes beside what it counts
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
}


def check_depth(body: memoryview, limit: int = MAX_DEPTH) -> None:
    """Refuse a body whose containers are nested deeper than `limit`; what is malformed is for the decoder to refuse.

    Raises:
        FrameError: it is too deep.
    """
    if len(bytes(body).translate(None, _OTHERS)) <= limit:
        return  # not so many bytes could begin a container
    at, size = 0, len(body)
    left: list[int] = []  # of each container around, how many values are still to come
    while at < size:
        count, at = _container(body, at)
        while left and not left[-1]:
            left.pop()
        if left:
            left[-1] -= 1
        if count:
            left.append(count)
            if len(left) > limit:
                raise FrameError(at, f"a value {len(left)} containers deep", f"at most {limit}")


def _container(body: memoryview, at: int) -> tuple[int, int]:
    """How many values are in what begins here (0: it is no container), and where the next value begins."""
    first = body[at]
    if first in _FIXED:
        return 0, at + 1 + _FIXED[first]
    if first in _SIZED:
        width, more = _SIZED[first]
        return 0, at + 1 + width + more + int.from_bytes(body[at + 1 : at + 1 + width], "big")
    if first < 0xA0:  # noqa: PLR2004 - fixmap and fixarray
        return (first & 0x0F) * (2 if first < 0x90 else 1), at + 1  # noqa: PLR2004 - the same
    width = 2 if first in (0xDC, 0xDE) else 4
    count = int.from_bytes(body[at + 1 : at + 1 + width], "big")
    return count * (2 if first >= 0xDE else 1), at + 1 + width  # noqa: PLR2004 - map 16 and map 32
