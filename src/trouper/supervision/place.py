"""Trees get their paths, and what is wrong with a tree as a whole is refused.

The root is `/`, its children are `/name`, theirs `/group/name`. A child without a name is called after its class in
snake_case, a supervisor after its strategy (a pool is a `pool`); where siblings would have one name the later ones get
`-2`, `-3` ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trouper.errors import DuplicateChild, SpecError, Words, show
from trouper.supervision.pool import Pool, refuse_template
from trouper.supervision.spec import Child, Supervisor, one_for_one

if TYPE_CHECKING:
    from collections.abc import Iterator

RESERVED: Final = frozenset({"services", "adopted"})
"""What stands beside the children of the root has these names: `@service` instances, and adopted payloads."""


class Placed(msgspec.Struct, frozen=True):
    """A node of a tree that knows its place.

    Args:
        path: `/` for the root, `/group/name` below.
        spec: the child or the supervisor that stands there.
        children: the nodes below, in start order; none below a child.
    """

    path: str
    spec: Child[Any] | Supervisor
    children: tuple[Placed, ...] = ()

    @property
    def name(self) -> str:
        """The last step of the path; the root has none."""
        return self.path.rpartition("/")[2]

    def walk(self) -> Iterator[Placed]:
        """Iterate over this node and all below it, in start order."""
        yield self
        for node in self.children:
            yield from node.walk()


def place(tree: Child[Any] | Supervisor, path: str = "/") -> Placed:
    """Give every node of a tree its path, and check the tree as a whole.

    Args:
        tree: a supervisor; a bare child stands for a `one_for_one` with this child.
        path: where its root stands.

    Raises:
        SpecError: two siblings have chosen one name, or a significant child cannot be one.
        DuplicateChild: a child, or a supervisor, stands in two places.
    """
    if not isinstance(tree, Child | Supervisor):
        raise SpecError(path, "tree", tree, "a supervisor or a child(...)")
    return _placed(one_for_one(tree) if isinstance(tree, Child) else tree, path, {})


def steps_below(root: str, path: str) -> list[str]:
    """Return the names on the way from the root to a place; the root of a worker process stands deeper than `/`."""
    if path in {root, "/"}:
        return []
    prefix = root if root == "/" else f"{root}/"
    return path.removeprefix(prefix).split("/") if path.startswith(prefix) else [path]


def check_reserved(name: str, path: str, spec: Child[Any] | Supervisor) -> None:
    """Refuse the names of what stands beside the children of the root.

    Raises:
        SpecError: this is one of them, and the root is at `path`.
    """
    if path == "/" and name in RESERVED:
        given = Words(f"{name!r} for {show(spec)}, below the root")
        raise SpecError(path, "name", given, f"another name; {' and '.join(sorted(RESERVED))} are the runtime's there")


def default_name(spec: Child[Any] | Supervisor) -> str:
    """Return the name of a node that has chosen none: its class in snake_case, its strategy, or `pool`."""
    if isinstance(spec, Supervisor):
        return spec.kind
    return spec.definition.default_name


def _placed(spec: Child[Any] | Supervisor, path: str, seen: dict[int, str]) -> Placed:
    _check_new(spec, path, seen)
    if isinstance(spec, Child):
        return Placed(path, spec)
    below = "" if path == "/" else path
    names = _names(spec, path)
    paths = [f"{below}/{name}" for name in names]
    for node, name, at in zip(spec.children, names, paths, strict=True):
        check_reserved(name, path, node)
        _check_significant(node, at, spec)
    return Placed(path, spec, tuple(_placed(node, at, seen) for node, at in zip(spec.children, paths, strict=True)))


def _check_new(spec: Child[Any] | Supervisor, path: str, seen: dict[int, str]) -> None:
    """A child is known by its ref, which it keeps under other options."""
    refuse_template(spec, path)
    identity = _identity(spec)
    earlier = seen.get(identity)
    if earlier is not None:
        kind, allowed = "supervisor", "one place in one tree for each supervisor"
        if isinstance(spec, Child):
            kind, allowed = (
                "child",
                "one place in one tree for each child(...); call child(...) again for another actor",
            )
        raise DuplicateChild(path, kind, Words(f"{show(spec)}, which stands at {earlier} already"), allowed)
    seen[identity] = path


def _identity(spec: Child[Any] | Supervisor) -> int:
    return id(spec.ref if isinstance(spec, Child | Pool) else spec)


def _names(supervisor: Supervisor, path: str) -> list[str]:
    """The names of the children in their order: the chosen ones first, then defaults around them."""
    chosen = [_chosen(node) for node in supervisor.children]
    taken: dict[str, Child[Any] | Supervisor] = {}
    for name, node in zip(chosen, supervisor.children, strict=True):
        if name is None:
            continue
        if name in taken and _identity(taken[name]) != _identity(node):  # one child twice has an error of its own
            given = Words(f"{name!r} for {show(node)}, which {show(taken[name])} has already")
            raise SpecError(path, "name", given, "different names for siblings")
        taken[name] = node
    return [
        name if name is not None else _free(default_name(node), node, taken)
        for name, node in zip(chosen, supervisor.children, strict=True)
    ]


def _chosen(spec: Child[Any] | Supervisor) -> str | None:
    return spec.choice.name if isinstance(spec, Child) else spec.name


def _free(name: str, node: Child[Any] | Supervisor, taken: dict[str, Child[Any] | Supervisor]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken[free] = node
    return free


def _check_significant(spec: Child[Any] | Supervisor, path: str, supervisor: Supervisor) -> None:
    """The two combinations that OTP refuses: such a child would never end its supervisor."""
    options = spec.choice if isinstance(spec, Child) else spec
    if not options.significant:
        return
    if options.restart == "permanent":
        given = Words('significant=True with restart="permanent"')
        raise SpecError(path, "significant", given, 'restart="transient" or "temporary" for a significant child')
    if supervisor.auto_shutdown == "never":
        given = Words(f'significant=True below {show(supervisor)} with auto_shutdown="never"')
        allowed = 'a supervisor with auto_shutdown="any_significant" or "all_significant"'
        raise SpecError(path, "significant", given, allowed)
