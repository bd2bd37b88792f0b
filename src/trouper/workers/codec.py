"""The codec of a mailbox: messages to bytes, and bytes to what the types of the receiver say, or to an error.

Encoding looks at values only; decoding is strict, so a field of the wrong type is found where the message arrives. Refs
travel as addresses, the path of the actor and its class, exceptions as words. What the runtime itself puts into
mailboxes (`Terminated`, `ReceiveTimeout`) is no business of another process, and is left out.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final, Literal, Never, Union, get_args, get_origin
from weakref import WeakKeyDictionary

import msgspec

from trouper.actors.accepts import mailbox_annotation
from trouper.actors.ref import Ref
from trouper.actors.watching import Terminated
from trouper.errors import CannotTravel, FrameError, SpecError, Words, type_name
from trouper.messages import ReceiveTimeout, Request, reply_annotation, runtime_types
from trouper.workers.frames import MAX_BODY, check_depth
from trouper.workers.schema import ALLOWED, Unfit, schema_of
from trouper.workers.told import Told, rebuild, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.definition import Definition

OURS: Final = (Terminated, ReceiveTimeout)


# -- out ---------------------------------------------------------------------------------------------------------------
def reduce_value(value: object) -> object:
    """For msgspec: what it does not know itself."""
    if isinstance(value, Ref):
        return address_of(value)
    if isinstance(value, BaseException):
        return msgspec.to_builtins(tell(value), str_keys=False)
    raise NotImplementedError(f"given a value of the class {type_name(type(value))}, allowed: {ALLOWED}")


def address_of(ref: Ref[Any]) -> tuple[str, str]:
    """The path and the class of an actor.

    Raises:
        ValueError: it stands in no running tree.
    """
    path = ref.path
    if path is None:
        raise ValueError(f"{ref!r} has no place in a running tree, and so no address")
    return path, type_name(ref.definition.cls)


ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=reduce_value)


def encoded(value: object, where: object) -> bytes:
    """Return the bytes of a value.

    Raises:
        CannotTravel: it has none, or too many.
    """
    try:
        body = ENCODER.encode(value)
    except Exception as error:
        raise CannotTravel(value, where, str(error) or type(error).__name__) from error
    if len(body) > MAX_BODY:
        raise CannotTravel(value, where, f"it has {len(body)} bytes, allowed: {MAX_BODY}")
    return body


MALFORMED: Final = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""What decoding raises over what is no msgpack; `msgspec.ValidationError` is a `DecodeError`, too."""


# -- in ----------------------------------------------------------------------------------------------------------------
class Reader:
    """Decodes values of one type.

    Args:
        annotation: the type.
        find: the ref of an actor, by its path and the name of its class.
        where: who sent it, for notes.
        deep: whether the type does not bound how deep a value is nested.
    """

    __slots__ = ("decode_", "deep")

    def __init__(self, annotation: Any, find: Callable[[str, str], Ref[Any]], where: str, *, deep: bool) -> None:
        def restore(kind: Any, value: Any) -> Any:
            kind = get_origin(kind) or kind
            if issubclass(kind, Ref):
                return find(*msgspec.convert(value, tuple[str, str]))
            if issubclass(kind, BaseException):
                return rebuild(msgspec.convert(value, Told), where)
            raise ValueError(f"given a value of the class {type_name(kind)}, allowed: {ALLOWED}")

        self.decode_ = msgspec.msgpack.Decoder(annotation, dec_hook=restore).decode
        self.deep = deep

    def decode(self, body: memoryview | bytes) -> Any:
        """Return the value.

        Raises:
            msgspec.ValidationError: it is not of the type.
            FrameError: this is no msgpack, or it is too deep.
        """
        if self.deep:
            check_depth(memoryview(body))
        try:
            return self.decode_(body)
        except msgspec.ValidationError:
            raise
        except MALFORMED as error:
            raise FrameError(0, f"a body that is no msgpack: {error}", "one value in msgpack") from error


RAWS: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])


# -- mailboxes ---------------------------------------------------------------------------------------------------------
class NoMessage(msgspec.Struct, frozen=True, tag=True):
    """What an actor without a mailbox takes: nobody sends one."""

    never: Literal["a message"]


class MailboxTypes:
    """What one mailbox takes from other processes.

    Args:
        definition: of the actor.
        path: where it stands, for errors.

    Raises:
        SpecError: something in it cannot travel; it names the message and the field.
    """

    __slots__ = ("annotation", "exact", "schema")

    def __init__(self, definition: Definition, path: str) -> None:
        members = members_of(definition, path)
        self.annotation: Any = Union[tuple(members) or (NoMessage,)]  # noqa: UP007 - built at run time
        self.exact = frozenset(cls for member in members for cls in runtime_types(member) or ())
        try:
            schema = schema_of(self.annotation)
            for cls in filter(is_request, map(class_of, members)):
                schema = schema.with_reply(schema_of(reply_annotation(cls), f"the reply to {cls.__name__}"))
        except Unfit as unfit:
            raise SpecError(path, unfit.field, unfit.given, ALLOWED) from unfit
        self.schema = schema

    def readers(self, find: Callable[[str, str], Ref[Any]], where: str) -> tuple[Reader, Reader]:
        """Return what decodes a message, and what decodes a list of them."""
        deep = self.schema.deep
        return Reader(self.annotation, find, where, deep=deep), Reader(list[self.annotation], find, where, deep=deep)  # type: ignore[name-defined]


KNOWN: Final[WeakKeyDictionary[Definition, MailboxTypes]] = WeakKeyDictionary()
"""Of the whole process, for it says nothing but what the classes do, and is to be inherited by forks."""


def mailbox_types(definition: Definition, path: str) -> MailboxTypes:
    """What a mailbox takes, looked at once in a process: that takes as long as the rest of an actor's start.

    Raises:
        SpecError: it cannot travel.
    """
    types = KNOWN.get(definition)
    if types is None:
        types = KNOWN[definition] = MailboxTypes(definition, path)
    return types


def members_of(definition: Definition, path: str) -> list[Any]:
    """The members of the union that a mailbox takes, without what the runtime puts into it.

    Raises:
        SpecError: it takes anything, and so says nothing of what it takes.
    """
    classes = definition.accepted()
    if classes is None:
        raise SpecError(path, "mailbox", Words("any message"), f"types that are known: {ALLOWED}")
    try:
        annotation = mailbox_annotation(definition.shape, definition.accepts) if classes else Never
        schema_of(annotation)
        members = flat(annotation)
    except Exception:  # noqa: BLE001 - names known only where the class was written, or a type of a message: seen later
        members = list(classes)
    return [member for member in members if member not in (*OURS, Never)]


def flat(annotation: Any) -> list[Any]:
    """The members of a union, also of one within it; or the only one."""
    if type(annotation).__name__ == "TypeAliasType":
        return flat(annotation.__value__)
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in flat(part)]
    return [annotation]


def class_of(member: Any) -> Any:
    return get_origin(member) or member


def is_request(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Request)
