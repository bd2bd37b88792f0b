"""A tree in words, and what a look at the whole of its messages finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trouper.errors import SpecError, Words, type_names
from trouper.mailbox.mailbox import DEFAULT_STASH
from trouper.supervision.pool import Pool
from trouper.supervision.spec import Child

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trouper.mailbox.mailbox import Mailbox
    from trouper.supervision.place import Placed


def describe(placed: Placed, depth: int = 0) -> Iterator[str]:
    """Yield a line for each node: its name, what it is and its options.

    Args:
        placed: a tree that knows its places.
        depth: how far to indent.
    """
    name = placed.name or "/"
    yield f"{'  ' * depth}{name}: {of_child(placed.spec) if isinstance(placed.spec, Child) else of_supervisor(placed)}"
    if isinstance(placed.spec, Pool):
        yield f"{'  ' * (depth + 1)}each: {of_child(placed.spec.template)}"
        return
    for node in placed.children:
        yield from describe(node, depth + 1)


def of_child(child: Child[Any]) -> str:
    definition, options = child.definition, child.choice
    types = definition.accepted()
    mailbox = "anything" if types is None else type_names(types)
    parts = [f"{definition.cls.__name__}, {definition.flavour}, {options.restart}", f"takes {mailbox}"]
    if types != ():
        parts.append(f"mailbox {of_mailbox(options.mailbox)}")
    parts.append(f"start within {options.start_timeout:g} s, shutdown {options.shutdown:g} s")
    parts += [f"reload within {options.reload_timeout:g} s"] if definition.has_on_reload else []
    parts += [word for word in ("significant", "drain") if getattr(options, word)]
    return "; ".join(parts)


def of_mailbox(mailbox: Mailbox) -> str:
    size = "no bound" if mailbox.capacity is None else f"{mailbox.capacity}, {mailbox.overflow}"
    if mailbox.stash == DEFAULT_STASH:
        return size
    return f"{size}, stash {'no bound' if mailbox.stash is None else mailbox.stash}"


def of_supervisor(placed: Placed) -> str:
    spec: Any = placed.spec
    restarts = f"{spec.limit.n} restarts in {spec.limit.within:g} s"
    parts = [f"{spec.kind}, {restarts}"]
    if isinstance(spec, Pool):
        parts = [f"pool of {spec.size}, {spec.routing}, {restarts} for each worker"]
    elif spec.kind == "process":  # of the room above
        parts = [f"{spec.workers} processes by {spec.start}, {restarts} for each"]
    if spec.auto_shutdown != "never":
        parts.append(f"auto-shutdown {spec.auto_shutdown}")
    if placed.path != "/":
        parts.append(spec.restart + (", significant" if spec.significant else ""))
    return "; ".join(parts)


def check_tags(placed: Placed) -> None:
    """Refuse a mailbox in which two classes of messages have one tag: encoded, they could not be told apart.

    Raises:
        SpecError: naming the actor, the tag and both classes.
    """
    for node in placed.walk():
        if isinstance(node.spec, Child):
            seen: dict[object, type] = {}
            for kind in node.spec.definition.accepted() or ():
                tag = tag_of(kind)
                if tag is not None and seen.setdefault(tag, kind) is not kind:
                    given = Words(f"the tag {tag!r} of both {type_names((seen[tag], kind))}")
                    raise SpecError(node.path, "mailbox", given, "different tags, such as `class X(Message, tag='x')`")


def tag_of(kind: type) -> object:
    """That of the class alone: whether the types of its fields are known is nobody's business here."""
    return kind.__struct_config__.tag if issubclass(kind, msgspec.Struct) else None
