"""Errors and reasons on their way to another process.

An exception travels as the name of its class, its arguments and its text, with its traceback in words and the errors
that caused it. One of trouper's own arrives as itself; another one as a `RemoteError`: to hear of an error is no reason
to import the module that it is of.
"""

from __future__ import annotations

import traceback
from typing import Any, Final

import msgspec

from trouper import errors
from trouper.errors import RemoteError, TrouperError, Words, show, type_name
from trouper.reasons import Kind, Reason

CAUSES: Final = 8  # errors behind an error that are told
TRACE: Final = 16_384  # characters of a traceback

_PLAIN: Final = (type(None), bool, int, float, str)
_INTS: Final = range(-(2**63), 2**64)
_OWN: Final = {
    type_name(value): value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, TrouperError)
}


class Value(msgspec.Struct, array_like=True, frozen=True):
    """An argument of an error: a plain value, several, or anything else in words."""

    plain: bool | int | float | str | None = None
    data: bytes | None = None
    items: list[Value] | None = None
    words: str | None = None


class Told(msgspec.Struct, array_like=True, frozen=True):
    """An exception, to be read elsewhere."""

    kind: str
    args: list[Value]
    text: str
    trace: str = ""
    cause: Told | None = None


class ToldReason(msgspec.Struct, array_like=True, frozen=True):
    """Why an actor ended."""

    kind: Kind
    cause: Told | None
    why: Value


def tell(error: BaseException, causes: int = CAUSES) -> Told:
    """Put an exception into words."""
    cause, trace = error.__cause__, ""
    if error.__traceback__ is not None:
        trace = "".join(traceback.format_exception(error, chain=False))[-TRACE:]
    return Told(
        type_name(type(error)),
        [tell_value(argument) for argument in error.args],
        _text(error),
        trace,
        tell(cause, causes - 1) if cause is not None and causes > 0 else None,
    )


def rebuild(told: Told, where: str) -> BaseException:
    """Return the exception as it arrives: one of ours as itself, another as a `RemoteError`.

    Args:
        told: what came.
        where: the other process, for the note.
    """
    error = _own(told) or RemoteError(told.kind, tuple(map(rebuild_value, told.args)), told.text)
    if told.trace:
        error.add_note(f"in {where}:\n{told.trace.rstrip()}")
    if told.cause is not None:
        error.__cause__ = rebuild(told.cause, where)
    return error


def tell_reason(reason: Reason) -> ToldReason:
    """Put a reason into words."""
    return ToldReason(reason.kind, None if reason.cause is None else tell(reason.cause), tell_value(reason.why))


def rebuild_reason(told: ToldReason, where: str) -> Reason:
    """Return the reason as it arrives."""
    cause = None if told.cause is None else rebuild(told.cause, where)
    return Reason(told.kind, cause, rebuild_value(told.why))


def tell_value(value: Any, depth: int = 4) -> Value:
    if isinstance(value, Words) or (isinstance(value, int) and value not in _INTS):
        return Value(words=str(value))
    if type(value) in _PLAIN:
        return Value(value)
    if type(value) is bytes:
        return Value(data=value)
    if isinstance(value, list | tuple) and depth > 0:
        return Value(items=[tell_value(item, depth - 1) for item in value])
    return Value(words=show(value))


def rebuild_value(value: Value) -> Any:
    if value.words is not None:
        return Words(value.words)
    if value.items is not None:
        return tuple(map(rebuild_value, value.items))
    return value.plain if value.data is None else value.data


def _own(told: Told) -> BaseException | None:
    """One of trouper's own errors, if it can be made again out of what came."""
    cls = _OWN.get(told.kind)
    if cls is None:
        return None
    try:
        error = cls(*map(rebuild_value, told.args))
        str(error)
    except Exception:  # noqa: BLE001 - its arguments are no plain values
        return None
    return error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the user's own text may fail
        return ""
