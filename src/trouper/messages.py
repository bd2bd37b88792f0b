"""Messages, requests, and what their annotations mean at run time.

```python
class Sample(Message):
    name: str
    value: float


class Mean(Request[float]):
    name: str
```

A message is an immutable value, a frozen and tagged `msgspec.Struct`. A request is a message with a reply, whose type
is its argument.

A type checker reads a mailbox in full; at run time a message is held against plain classes by one `isinstance`.
`runtime_types` is the translation: parametrised generics count by their origin (`list[int]` takes any list), what can
be anything is not checked at all.
"""

from __future__ import annotations

import collections
import sys
import types
import typing
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, dataclass_transform

import msgspec

from trouper.errors import type_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)

Types = tuple[type, ...] | None
"""Classes for `isinstance`; `()` takes nothing, `None` takes anything."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Message(msgspec.Struct, frozen=True, tag=True):
    """The base of messages. Subclasses are frozen, compare by value and have their name as tag, without saying so.

    Example:
        ```python
        class Sample(Message):
            name: str
            value: float
        ```
    """


class ReceiveTimeout(Message):
    """No message was handled for as long as the actor said with `current(self).receive_timeout(seconds)`."""


class Request(Message, Generic[R]):
    """A message whose reply has the type `R`. Send it with `ask`.

    Example:
        ```python
        class Mean(Request[float]):
            name: str
        ```
    """

    if TYPE_CHECKING:

        def _self(self) -> Self: ...
        def _reply(self) -> R: ...


class Asked(Protocol[S_co, R_co]):
    """A request seen from both sides, for the type of `ask`: `S_co` must be in the mailbox, `R_co` is the reply."""

    def _self(self) -> S_co: ...
    def _reply(self) -> R_co: ...


# -- annotations at run time -------------------------------------------------------------------------------------------

_SPECIAL: Final[tuple[tuple[object, Types], ...]] = (
    (None, (types.NoneType,)),
    (typing.Never, ()),
    (typing.NoReturn, ()),
    (Any, None),
    (object, None),
    (float, (float, int)),  # a type checker takes an int for a float
    (complex, (complex, float, int)),
)


def runtime_types(annotation: object, names: Mapping[str, Any] | None = None) -> Types:
    """Return the classes that the values of an annotation are instances of.

    Args:
        annotation: a class, a union, a parametrised generic, `Never`, `Literal`, an alias, a type variable ...
        names: what a string in it (a forward reference) can refer to.

    Returns:
        The classes, without repetition; `()` for `Never`; `None` when anything goes (`Any`, `object`, a free type
        variable).

    Raises:
        TypeError: nothing can be checked against this annotation.
        NameError, AttributeError: a forward reference refers to what is not there (yet).
    """
    if isinstance(annotation, str | typing.ForwardRef):
        return runtime_types(_evaluated(annotation, names), names)
    if isinstance(annotation, TypeVar):
        return _of_variable(annotation, names)
    if isinstance(annotation, typing.NewType):
        return runtime_types(annotation.__supertype__, names)
    if type(annotation).__name__ == "TypeAliasType":  # typing's from Python 3.12 on, or that of typing_extensions
        return runtime_types(typing.cast("Any", annotation).__value__, names)
    origin = typing.get_origin(annotation)
    return _of_plain(annotation) if origin is None else _of_generic(origin, typing.get_args(annotation), names)


def reply_types(request: type) -> Types:
    """Return the classes that a reply to a request of this class is an instance of, as `runtime_types` does.

    The answer is kept on the class. Forward references are looked up in the modules of the class and of its bases.

    Raises:
        TypeError: this is no class of requests, or its reply cannot be checked.
    """
    kept = request.__dict__.get("__trouper_reply__", _NOT_YET)
    if kept is not _NOT_YET:
        return typing.cast("Types", kept)
    reply = _reply_annotation(request)
    try:
        result = runtime_types(reply, _names_around(request))
    except (NameError, AttributeError, TypeError) as error:
        allowed = "the R of Request[R] is a type known in the module of the class"
        raise TypeError(
            f"{type_name(request)}: found the reply type {reply!r} ({error}), allowed: {allowed}"
        ) from error
    request.__trouper_reply__ = result  # type: ignore[attr-defined]
    return result


def reply_annotation(request: type) -> object:
    """Return the reply type of a class of requests as an annotation, for who must know more of it than classes.

    Raises:
        TypeError: this is no class of requests.
        NameError, AttributeError: it refers to what is not there (yet).
    """
    reply = _reply_annotation(request)
    if isinstance(reply, str | typing.ForwardRef):
        return _evaluated(reply, _names_around(request))
    return Any if isinstance(reply, TypeVar) else reply


_NOT_YET: Final = object()


def _evaluated(annotation: str | typing.ForwardRef, names: Mapping[str, Any] | None) -> object:
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    return eval(text, {}, names or {})  # noqa: S307 - an annotation, read as typing.get_type_hints does


def _of_variable(variable: TypeVar, names: Mapping[str, Any] | None) -> Types:
    if variable.__constraints__:
        return _union(variable.__constraints__, names)
    return None if variable.__bound__ is None else runtime_types(variable.__bound__, names)


def _of_generic(origin: Any, args: tuple[Any, ...], names: Mapping[str, Any] | None) -> Types:
    if origin is typing.Annotated:
        return runtime_types(args[0], names)
    if origin is typing.Union or origin is types.UnionType:
        return _union(args, names)
    if origin is typing.Literal:
        return tuple(dict.fromkeys(type(value) for value in args))
    return runtime_types(origin, names)


def _of_plain(annotation: Any) -> Types:
    for special, found in _SPECIAL:
        if annotation is special:
            return found
    if typing.is_typeddict(annotation):
        return (dict,)
    if not isinstance(annotation, type):
        raise TypeError(f"{annotation!r} is not a type that a value can be held against")
    if getattr(annotation, "_is_protocol", False) and not getattr(annotation, "_is_runtime_protocol", False):
        raise TypeError(f"the protocol {type_name(annotation)} cannot be checked; make it @runtime_checkable")
    return (annotation,)


def _union(members: tuple[Any, ...], names: Mapping[str, Any] | None) -> Types:
    found: dict[type, None] = {}
    for member in members:
        inner = runtime_types(member, names)
        if inner is None:
            return None
        found.update(dict.fromkeys(inner))
    return tuple(found)


def _reply_annotation(request: type) -> object:
    """The argument of `Request` as this class sees it; type variables of the class stay in."""
    for base in request.__dict__.get("__orig_bases__", request.__bases__):
        origin = typing.get_origin(base) or base
        if origin is Request:
            return next(iter(typing.get_args(base)), Any)
        if isinstance(origin, type) and issubclass(origin, Request):
            return _substituted(_reply_annotation(origin), origin, typing.get_args(base))
    raise TypeError(f"{type_name(request)}: found no reply type, allowed: a subclass of Request[R]")


def _substituted(reply: Any, origin: Any, args: tuple[Any, ...]) -> object:
    bound = dict(zip(origin.__parameters__, args, strict=False)) if args else {}
    if isinstance(reply, TypeVar):
        return bound.get(reply, reply)
    variables = getattr(reply, "__parameters__", ())
    return reply[tuple(bound.get(variable, variable) for variable in variables)] if variables and bound else reply


def _names_around(request: type) -> Mapping[str, Any]:
    modules = (sys.modules.get(cls.__module__) for cls in request.__mro__ if issubclass(cls, Request))
    return collections.ChainMap(*(vars(module) for module in modules if module is not None))
