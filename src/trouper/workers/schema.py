"""Schemas: the types of a mailbox, in a text that is the same in every process that runs the same code.

A type is looked at once, down to its last field: what cannot travel is refused, with the field named. The text of what
can has a fingerprint, by which two processes see that they mean the same: names of classes and fields, types, tags and
constraints are in it, modules, defaults and docstrings are not.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import attrs
from msgspec import inspect

from trouper.actors.ref import Ref
from trouper.errors import Words, type_name
from trouper.workers.frames import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWED: Final = "what msgspec can decode: plain values, collections, `Message`s, dataclasses, refs, exceptions"
_CUSTOM: Final = (Ref, BaseException)
_LENT: Final = (inspect.RawType, inspect.MemoryViewType, inspect.ExtType)


class Unfit(Exception):
    """A type cannot travel.

    Args:
        field: where in the mailbox: the message, and its field.
        given: what stands there.
    """

    def __init__(self, field: str, given: object) -> None:
        super().__init__(field, given)
        self.field = field
        self.given = given


@attrs.frozen
class Schema:
    """What is known of a type that can travel.

    Args:
        text: in words.
        deep: whether its values may be nested without end.
    """

    text: str
    deep: bool

    @property
    def fingerprint(self) -> str:
        """Of the text; 16 hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def with_reply(self, reply: Schema) -> Schema:
        """Return the schema of a mailbox with that of one more reply."""
        return Schema(f"{self.text} -> {reply.text}", self.deep or reply.deep)

    def __str__(self) -> str:
        """Short enough for an error."""
        return f"{self.text} ({self.fingerprint})"


def schema_of(annotation: Any, where: str = "message") -> Schema:
    """Look at a type.

    Args:
        annotation: whatever `msgspec` takes for a type.
        where: what it is, for the error.

    Raises:
        Unfit: it cannot travel.
    """
    walk = Walk()
    try:
        top = walk.told(inspect.type_info(annotation), where, 1)
    except (TypeError, NameError, AttributeError) as error:
        name = type_name(annotation) if isinstance(annotation, type) else str(annotation)
        raise Unfit(where, Words(f"{name} ({error})")) from error
    first = walk.named.get(top, top)
    text = "; ".join([first, *(walk.named[name] for name in sorted(walk.named) if name != top)])
    return Schema(text, walk.deep)


class Walk:
    """One look at a type, and what was met on the way."""

    def __init__(self) -> None:
        self.named: dict[str, str] = {}  # what has fields is told once
        self.deep = False

    def told(self, kind: inspect.Type, where: str, depth: int) -> str:
        """The text of a type."""
        if depth > MAX_DEPTH:
            self.deep = True
        if isinstance(kind, inspect.Metadata):
            return self.told(kind.type, where, depth)
        if isinstance(kind, _LENT):
            raise Unfit(where, Words(type(kind).__name__.removesuffix("Type").lower()))
        for of_kind, tell in TELL:
            if isinstance(kind, of_kind):
                return tell(self, kind, where, depth)
        return _plain(kind)

    def any(self, kind: inspect.AnyType, where: str, depth: int) -> str:
        self.deep = True
        return "any"

    def custom(self, kind: inspect.CustomType, where: str, depth: int) -> str:
        for known in _CUSTOM:
            if issubclass(kind.cls, known):
                return known.__name__
        raise Unfit(where, Words(type_name(kind.cls)))

    def union(self, kind: inspect.UnionType, where: str, depth: int) -> str:
        return "|".join(sorted(self.told(member, where, depth) for member in kind.types))

    def collection(self, kind: inspect.CollectionType, where: str, depth: int) -> str:
        return f"{_plain(kind)}[{self.told(kind.item_type, where, depth + 1)}]"

    def tuple(self, kind: inspect.TupleType, where: str, depth: int) -> str:
        return f"tuple[{','.join(self.told(item, where, depth + 1) for item in kind.item_types)}]"

    def dict(self, kind: inspect.DictType, where: str, depth: int) -> str:
        key, value = (self.told(part, where, depth + 1) for part in (kind.key_type, kind.value_type))
        return f"{_plain(kind)}[{key},{value}]"

    def enum(self, kind: inspect.EnumType, where: str, depth: int) -> str:
        values = sorted(repr(member.value) for member in kind.cls)
        return f"{kind.cls.__name__}({','.join(values)})"

    def literal(self, kind: inspect.LiteralType, where: str, depth: int) -> str:
        return f"({','.join(sorted(map(repr, kind.values)))})"

    def fields(self, kind: Any, where: str, depth: int) -> str:
        """A class with fields: its name stands for it, and what it is is told once."""
        name = _name(kind.cls)
        if name in self.named:
            self.deep = self.deep or not self.named[name]  # it is being told: it contains itself
            return name
        self.named[name] = ""
        place = name if where == "message" else f"{where} -> {name}"
        told = []
        for field in kind.fields:
            inner = self.told(field.type, f"{place}.{field.name}", depth + 1)
            told.append(f"{field.encode_name}{'' if field.required else '?'}: {inner}")
        tag = getattr(kind, "tag", None)
        marks = "" if tag in (None, name) else f"={tag!r}"
        marks += " array" if getattr(kind, "array_like", False) else ""
        marks += " closed" if getattr(kind, "forbid_unknown_fields", False) else ""
        self.named[name] = f"{name}{marks}({', '.join(told)})"
        return name


TELL: Final[tuple[tuple[Any, Callable[..., str]], ...]] = (
    (inspect.AnyType, Walk.any),
    (inspect.CustomType, Walk.custom),
    (inspect.UnionType, Walk.union),
    (inspect.CollectionType, Walk.collection),
    (inspect.TupleType, Walk.tuple),
    (inspect.DictType, Walk.dict),
    (inspect.EnumType, Walk.enum),
    (inspect.LiteralType, Walk.literal),
    (inspect.StructType, Walk.fields),
    (inspect.DataclassType, Walk.fields),
    (inspect.TypedDictType, Walk.fields),
    (inspect.NamedTupleType, Walk.fields),
)
_INNER: Final = frozenset({"item_type", "key_type", "value_type"})


def _plain(kind: Any) -> str:
    """Its name, and its constraints."""
    name = type(kind).__name__.removesuffix("Type").lower()
    said = {field: getattr(kind, field) for field in kind.__struct_fields__ if field not in _INNER}
    told = [f"{field}={value!r}" for field, value in sorted(said.items()) if value is not None]
    return f"{name}({','.join(told)})" if told else name


def _name(cls: Any) -> str:
    """What a class is called wherever it was defined; a generic one with its parameters."""
    name: str = getattr(get_origin(cls) or cls, "__qualname__", str(cls)).rpartition("<locals>.")[2]
    return f"{name}[{','.join(map(_name, get_args(cls)))}]" if get_args(cls) else name
