"""A payload: a function or a coroutine function that somebody wants to be run; what is wrong with it, and its name."""

from __future__ import annotations

from functools import partial
from inspect import CO_ASYNC_GENERATOR, isasyncgenfunction, iscoroutinefunction
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import trio

from trouper.actors.flavour import flavour_name
from trouper.actors.options import is_name, is_seconds
from trouper.errors import SpecError, StrayCancellation, UsageError, show
from trouper.lanes.errand import no_loop, payload_name
from trouper.lanes.hygiene import asyncio_cancelled

if TYPE_CHECKING:
    from trouper.actors.flavour import FlavourName


def check_payload(call: str, payload: Any, flavour: Any, timeout: Any = None) -> FlavourName:
    """Refuse what cannot be run. Returns the name of the flavour.

    Raises:
        UsageError: the text says what was given, and what is allowed.
    """
    function = payload.__func__ if type(payload) is MethodType else payload
    if type(function) is not FunctionType:
        check_callable(call, payload)
    elif function.__code__.co_flags & CO_ASYNC_GENERATOR:
        raise no_payload(call, payload)
    try:
        name = flavour_name(flavour, call)
    except SpecError as error:
        raise UsageError(str(error)) from None
    if name == "threading" and iscoroutinefunction(payload):
        raise no_loop(payload_name(payload))
    if timeout is not None and not is_seconds(timeout, zero=True):
        raise UsageError(f"{call}: given timeout={timeout!r}, allowed: seconds, a number of 0 or more, or None")
    return name


def check_callable(call: str, payload: Any) -> None:
    if type(payload) is CoroutineType:
        payload.close()  # nobody will await it
        raise UsageError(
            f"{call}: given a coroutine, allowed: the function that makes it, and its arguments:"
            f" {call}({payload.__name__}, ..., flavour=...)"
        )
    if not callable(payload) or isasyncgenfunction(payload):
        raise no_payload(call, payload)


def no_payload(call: str, payload: Any) -> UsageError:
    return UsageError(f"{call}: given {show(payload)}, allowed: a function or a coroutine function")


def short_name(payload: Any) -> str:
    """The name that a payload has in the tree, without its number."""
    while isinstance(payload, partial):
        payload = payload.func
    name = getattr(payload, "__name__", None) or type(payload).__name__
    return name if name.isidentifier() or is_name(name) else "payload"


def as_failure(path: str, error: BaseException) -> BaseException:
    """A cancellation that nobody asked for is a failure like others, and tells no loop of another lane anything."""
    if not (isinstance(error, trio.Cancelled) or asyncio_cancelled(error)):
        return error
    stray = StrayCancellation(path)
    stray.__cause__ = error
    return stray
