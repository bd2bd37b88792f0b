"""The checks of the methods of an actor class, one for each thing that can be wrong."""

from __future__ import annotations

import dis
import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import msgspec

from trouper.errors import DefinitionError, show, type_name

if TYPE_CHECKING:
    from trouper.actors.flavour import FlavourName

Style = Literal["receive", "run", "service"]
"""`service` is a `run(self)` without an inbox."""

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_YIELD_VALUE: Final = dis.opmap["YIELD_VALUE"]
_HOOKS: Final = {
    "on_start": "(self)",
    "on_stop": "(self, reason)",
    "on_reload": "(self)",
    "interrupt": "(self)",
}
_STYLES: Final = "one of `receive(self, message: M)`, `run(self, inbox: Inbox[M])` and `run(self)`"


class Method(msgspec.Struct, frozen=True):
    """One method of an actor class that the runtime calls.

    Args:
        where: its dotted name, for errors.
        function: what stands in the class.
        owner: the class that it stands in, the actor class or a base.
        is_async: whether calling it gives a coroutine.
    """

    where: str
    function: FunctionType
    owner: type
    is_async: bool

    @property
    def signature(self) -> inspect.Signature:
        """Its parameters; a wrapper made with `functools.wraps` shows those of the function it wraps."""
        return inspect.signature(self.function)

    @property
    def suspends(self) -> bool:
        """Whether its coroutine can suspend: there is a yield in its code for each `await`, whatever its form."""
        return self.is_async and _YIELD_VALUE in self.function.__code__.co_code[::2]

    def refuse(self, found: str, allowed: str) -> NoReturn:
        """Raise the error for this method."""
        raise DefinitionError(self.where, found, allowed)


class Shape(msgspec.Struct, frozen=True):
    """What the methods of an actor class say.

    Args:
        style: how it takes messages.
        handler: its `receive` or its `run`.
        hooks: the names of the hooks it has.
    """

    style: Style
    handler: Method
    hooks: frozenset[str]

    @property
    def parameter(self) -> str | None:
        """The name of the parameter for the message or the inbox; `None` for a service."""
        return None if self.style == "service" else list(self.handler.signature.parameters)[1]


def shape_of(cls: type, flavour: FlavourName) -> Shape:
    """Check the methods of a class against its flavour.

    Raises:
        DefinitionError: naming the class, the method, what was found and what is allowed.
    """
    receive, run = _method(cls, "receive"), _method(cls, "run")
    if receive is not None and run is not None:
        raise DefinitionError(type_name(cls), "both `receive` and `run`", _STYLES)
    handler = receive or run
    if handler is None:
        raise DefinitionError(type_name(cls), "neither `receive` nor `run`", _STYLES)
    style = _receive_style(handler) if receive is not None else _run_style(handler)
    _check_colour(handler, flavour, plain_allowed=receive is not None)
    hooks = frozenset(name for name in _HOOKS if _has_hook(cls, name, flavour))
    return Shape(style, handler, hooks)


def _method(cls: type, name: str) -> Method | None:
    static = inspect.getattr_static(cls, name, None)
    if static is None:
        return None
    where = f"{type_name(cls)}.{name}"
    if isinstance(static, staticmethod | classmethod | property):
        raise DefinitionError(where, f"a {type(static).__name__}", f"a method: `def {name}(self, ...)`")
    if not inspect.isfunction(static):
        raise DefinitionError(where, show(static), f"a method: `def {name}(self, ...)`")
    owner = next((base for base in cls.__mro__ if name in base.__dict__), cls)
    method = Method(where, static, owner, inspect.iscoroutinefunction(static))
    _check_kind(method, name)
    return method


def _check_kind(method: Method, name: str) -> None:
    if inspect.isgeneratorfunction(method.function) or inspect.isasyncgenfunction(method.function):
        method.refuse("a generator, with `yield` in it", f"a `{name}` without `yield`")
    if not method.is_async and inspect.iscoroutinefunction(inspect.unwrap(method.function)):
        method.refuse("a plain wrapper around an `async def`", "a wrapper that is an `async def` itself")


def _receive_style(method: Method) -> Style:
    if not _takes_one(method):
        method.refuse(_head(method), "`receive(self, message: M)`")
    return "receive"


def _run_style(method: Method) -> Style:
    if len(_positional(method)) == 1 and _takes(method, 1):
        return "service"
    if not _takes_one(method):
        method.refuse(_head(method), "`run(self, inbox: Inbox[M])` (SyncInbox in threading) or `run(self)`")
    return "run"


def _check_colour(method: Method, flavour: FlavourName, *, plain_allowed: bool) -> None:
    if flavour == "threading" and method.is_async:
        method.refuse("an `async def` in the flavour threading", "a plain `def`, or the flavour trio or asyncio")
    if flavour != "threading" and not method.is_async and not plain_allowed:
        method.refuse(f"a plain `def` in the flavour {flavour}", "an `async def`, or the flavour threading")


def _has_hook(cls: type, name: str, flavour: FlavourName) -> bool:
    method = _method(cls, name)
    if method is None:
        return False
    if name == "interrupt" and flavour != "threading":
        method.refuse(f"`interrupt` in the flavour {flavour}", "it in threading only; async code is cancelled instead")
    _check_colour(method, flavour, plain_allowed=False)
    head = _HOOKS[name]
    if not _takes(method, head.count(",") + 1):
        method.refuse(_head(method), f"`{name}{head}`")
    return True


def _positional(method: Method) -> list[inspect.Parameter]:
    return [parameter for parameter in method.signature.parameters.values() if parameter.kind in _POSITIONAL]


def _takes_one(method: Method) -> bool:
    """Whether it takes one thing beside `self`, in a parameter of its own."""
    return len(_positional(method)) > 1 and _takes(method, 2)


def _takes(method: Method, count: int) -> bool:
    placeholders: list[Any] = [None] * count
    try:
        method.signature.bind(*placeholders)
    except TypeError:
        return False
    return True


def _head(method: Method) -> str:
    return f"`{method.function.__name__}{method.signature}`"
