"""The mailbox type of an actor class: which annotation says it, and which names that annotation can use."""

from __future__ import annotations

import collections
import inspect
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

from trouper.errors import DefinitionError, type_name
from trouper.messages import runtime_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trouper.actors.flavour import FlavourName
    from trouper.actors.signature import Method, Shape
    from trouper.messages import Types

_INBOXES: Final = {"trio": "Inbox", "asyncio": "Inbox", "threading": "SyncInbox"}
_MISSING: Final = inspect.Parameter.empty


class Unresolved(DefinitionError):
    """An annotation names what is not there, perhaps not yet."""


def accepted_types(shape: Shape, flavour: FlavourName, accepts: object, local_names: Mapping[str, Any]) -> Types:
    """Return the classes that the mailbox takes, as `runtime_types` does.

    Args:
        shape: the methods of the class.
        flavour: its flavour, which decides the kind of inbox.
        accepts: the type given by hand (or a tuple of them); `None` to read the annotation.
        local_names: names around the class, such as those of a function that defines it.

    Raises:
        Unresolved: the annotation names what is not there, perhaps not yet.
        DefinitionError: the annotation is missing, or no message can be checked against it.
    """
    parameter = shape.parameter
    if parameter is None:
        return ()
    where = f"{shape.handler.where}({parameter})"
    annotation = accepts
    try:
        names = _names(shape.handler, local_names)
        if accepts is not None:
            return _of_several(accepts, names)
        annotation = shape.handler.function.__annotations__.get(parameter, _MISSING)
        if shape.style == "receive":
            return _of_message(annotation, where, names)
        return _of_inbox(annotation, flavour, where, names)
    except DefinitionError:
        raise
    except (NameError, AttributeError) as error:
        module = shape.handler.owner.__module__
        allowed = f"names that exist in {module} when child() is called; or the classes by hand: @actor(accepts=...)"
        raise Unresolved(where, f"the annotation {_text(annotation)}, where {error}", allowed) from error
    except (TypeError, SyntaxError) as error:
        allowed = "classes, unions, generics, Never and Any; or the classes by hand: @actor(accepts=...)"
        raise DefinitionError(where, f"the annotation {_text(annotation)}: {error}", allowed) from error


def mailbox_annotation(shape: Shape, accepts: object) -> Any:
    """Return what the mailbox takes as an annotation, for who must know more of it than classes.

    Args:
        shape: the methods of the class.
        accepts: the type given by hand (or a tuple of them); `None` to read the annotation.

    Raises:
        Exception: the annotation names what is known only where the class was written, or is none.
    """
    if accepts is not None:
        return Union[accepts] if isinstance(accepts, tuple) else accepts  # noqa: UP007 - a tuple that is made at run time
    annotation = shape.handler.function.__annotations__[shape.parameter or ""]
    if isinstance(annotation, str):
        annotation = eval(annotation, {}, _names(shape.handler, {}))  # noqa: S307 - as in messages
    return get_args(annotation)[0] if shape.style == "run" else annotation


def _of_message(annotation: Any, where: str, names: Mapping[str, Any]) -> Types:
    if annotation is _MISSING:
        raise DefinitionError(where, "no annotation", "the type of the messages, as in `message: Sample | Mean`")
    return runtime_types(annotation, names)


def _of_inbox(annotation: Any, flavour: FlavourName, where: str, names: Mapping[str, Any]) -> Types:
    allowed = f"{_INBOXES[flavour]}[M] in the flavour {flavour}, where M is the type of the messages"
    if annotation is _MISSING:
        raise DefinitionError(where, "no annotation", allowed)
    inbox = eval(annotation, {}, names) if isinstance(annotation, str) else annotation  # noqa: S307 - as in messages
    origin = get_origin(inbox) or inbox
    if getattr(origin, "__name__", "") != _INBOXES[flavour] or not origin.__module__.startswith("trouper"):
        raise DefinitionError(where, f"the annotation {_text(annotation)}", allowed)
    messages = get_args(inbox)
    return runtime_types(messages[0], names) if messages else None


def _of_several(accepts: object, names: Mapping[str, Any]) -> Types:
    kinds = accepts if isinstance(accepts, tuple) else (accepts,)
    found: dict[type, None] = {}
    for kind in kinds:
        inner = runtime_types(kind, names)
        if inner is None:
            return None
        found.update(dict.fromkeys(inner))
    return tuple(found)


def _names(handler: Method, local_names: Mapping[str, Any]) -> Mapping[str, Any]:
    """The names that the annotation can use, from the inside out: type parameters, class body, local names, module."""
    function: Any = inspect.unwrap(handler.function)
    owner = handler.owner
    parameters = (*getattr(function, "__type_params__", ()), *getattr(owner, "__type_params__", ()))
    itself = {owner.__name__: owner}
    by_parameter = {parameter.__name__: parameter for parameter in parameters}
    layers: list[Any] = [by_parameter, vars(owner), local_names, itself, function.__globals__]
    return collections.ChainMap(*layers)


def _text(annotation: object) -> str:
    if isinstance(annotation, str):
        return f"`{annotation}`"
    return f"`{type_name(annotation)}`" if isinstance(annotation, type) else f"`{annotation}`"
