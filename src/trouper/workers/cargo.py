"""What a worker process is to run, on its way there: a tree as bytes.

Pickle does it, with three exceptions. Classes of actors travel by name, so what is known of them is found out anew.
Addresses within the subtree become new ones, the same one wherever it was the same before. Addresses of others travel
as their path.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from trouper.actors.definition import Definition, definition_of
from trouper.actors.ref import Ref
from trouper.actors.router import make_router
from trouper.errors import SpecError, Words, show
from trouper.supervision.child import Child
from trouper.supervision.pool import Pool
from trouper.workers.codec import mailbox_types
from trouper.workers.main_module import main_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trouper.actors.router import Router
    from trouper.mailbox.mailbox import Mailbox
    from trouper.supervision.place import Placed

NOWHERE = "an address of no actor in this tree"

Inside = Mapping[Ref[Any], "Child[Any] | Pool[Any]"]


class Packer(pickle.Pickler):
    """Makes bytes of a tree, or of a part of it.

    Args:
        file: where they go.
        inside: the addresses of the actors and pools that travel along, and what they are.
        path_of: where another actor stands; it raises for one that stands nowhere.
    """

    def __init__(self, file: io.BytesIO, inside: Inside, path_of: Callable[[Ref[Any]], object]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.inside, self.path_of = inside, path_of

    def persistent_id(self, value: object) -> object:
        if isinstance(value, Ref) and value not in self.inside:
            return self.path_of(value), value.definition.cls, value.mailbox
        return None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Ref):  # here it may lead to the workers by now
            known, spec = (value.definition.cls, value.mailbox), self.inside[value]
            if isinstance(spec, Pool):
                return new_router, (
                    *known,
                    tuple(copy.ref for copy in spec.children if isinstance(copy, Child)),
                    spec.key,
                )
            return new_ref, known
        if isinstance(value, Definition):
            return definition_of, (value.cls,)
        if isinstance(value, Child):
            return new_child, (value.definition, value.args, dict(value.kwargs), value.choice, value.ref)
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__" and main_module() is None:
            raise pickle.PicklingError("its main module is no file, which another process could import")
        return NotImplemented


class Unpacker(pickle.Unpickler):
    """Makes a tree of bytes.

    Args:
        file: where they come from.
        outside: makes the address of an actor of another process, of its path, its class and its mailbox.
    """

    def __init__(self, file: io.BytesIO, outside: Callable[[str, type, Mailbox], Ref[Any]]) -> None:
        super().__init__(file)
        self.outside = outside
        self.refs: dict[str, Ref[Any]] = {}

    def persistent_load(self, pid: tuple[str, type, Mailbox]) -> Ref[Any]:
        path = pid[0]
        if path not in self.refs:
            self.refs[path] = self.outside(*pid)
        return self.refs[path]


def new_ref(cls: type, mailbox: Mailbox) -> Ref[Any]:
    return Ref(definition_of(cls), mailbox)


def new_router(
    cls: type, mailbox: Mailbox, workers: tuple[Ref[Any], ...], key: Callable[[Any], Any] | None
) -> Router[Any]:
    return make_router(new_ref(cls, mailbox), workers, key)


def new_child(
    definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any], choice: Any, ref: Ref[Any]
) -> Child[Any]:
    return Child(definition, args, MappingProxyType(kwargs), choice, ref)


def pack(placed: Placed) -> bytes:
    """Make bytes of a subtree of a daemon, whose other actors have their places by now.

    Raises:
        SpecError: something in it cannot travel.
    """
    packed = _packed(placed.spec, refs_in(placed), _path_of)
    if isinstance(packed, bytes):
        return packed
    check_travel(placed)
    given = Words(f"{show(placed.spec)}, which pickle does not take: {packed}")
    raise SpecError(placed.path, "subtree", given, "what can travel to another process")


def unpack(cargo: bytes, outside: Callable[[str, type, Mailbox], Ref[Any]] = lambda _, *known: new_ref(*known)) -> Any:
    """Make a tree of bytes, with addresses of its own."""
    return Unpacker(io.BytesIO(cargo), outside).load()


def check_travel(placed: Placed) -> None:
    """Refuse what cannot travel to another process.

    Args:
        placed: a subtree that is to.

    Raises:
        SpecError: naming the actor and its argument.
    """
    inside = refs_in(placed)
    for node in placed.walk():
        if isinstance(node.spec, Child):
            mailbox_types(node.spec.definition, node.path)
        for field, value in _parts(node):
            outside: list[Ref[Any]] = []
            packed = _packed(value, inside, outside.append)
            if not isinstance(packed, bytes):
                given = Words(f"{show(value)}, which pickle does not take: {packed}")
                raise SpecError(node.path, field, given, _allowed(field))
            for ref in outside:
                _check_address(node.path, field, ref)


def _check_address(path: str, field: str, ref: Ref[Any]) -> None:
    """Refuse that of an actor without to whom nothing could be sent from within."""
    try:
        mailbox_types(ref.definition, path)
    except SpecError as error:
        given = Words(f"{show(ref)}, which takes: {error.field}: {show(error.given)}")
        raise SpecError(
            path, field, given, f"the ref of an actor whose messages can travel: {error.allowed}"
        ) from error


def _parts(node: Placed) -> Iterator[tuple[str, object]]:
    spec = node.spec
    if isinstance(spec, Pool):
        yield "key", spec.key
    if isinstance(spec, Child):
        yield "class", spec.definition.cls
        for number, value in enumerate(spec.args, 1):
            yield f"argument {number}", value
        for name, value in spec.kwargs.items():
            yield f"argument {name!r}", value


def _allowed(field: str) -> str:
    if field in {"class", "key"}:
        return "what another process can import: at the top level of a module, and not defined in a function"
    return (
        "what can travel to another process: values of classes at the top level of a module, refs; no lambda, no file"
    )


def _packed(value: object, inside: Inside, path_of: Callable[[Ref[Any]], object]) -> bytes | str:
    """The bytes, or why there are none."""
    file = io.BytesIO()
    try:
        Packer(file, inside, path_of).dump(value)
    except Exception as error:  # noqa: BLE001 - whatever a `__reduce__` raises
        return f"{type(error).__name__}: {error}"
    return file.getvalue()


def _path_of(ref: Ref[Any]) -> str:
    if ref.path is None:
        raise LookupError(f"{ref!r} is {NOWHERE}")
    return ref.path


def refs_in(placed: Placed) -> Inside:
    """The addresses of all that stand in a subtree."""
    inside: dict[Ref[Any], Child[Any] | Pool[Any]] = {}
    for node in placed.walk():
        if isinstance(node.spec, Child | Pool):
            inside[node.spec.ref] = node.spec
    return inside


def modules_of(placed: Iterable[Placed]) -> list[str]:
    """The modules that a subtree names: of its classes, and of the messages that they take."""
    names: dict[str, None] = {}
    for node in placed:
        if isinstance(node.spec, Child):
            definition = node.spec.definition
            for cls in (definition.cls, *(definition.accepted() or ())):
                names[cls.__module__] = None
    return [name for name in names if name != "__main__"]
