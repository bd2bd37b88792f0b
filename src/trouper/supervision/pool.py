"""Pools: several workers of one kind behind one address.

```python
resizers = pool(child(Resizer, quality=80), size=4, name="resizers")
tree = one_for_one(resizers, child(Web, resizers.ref))
```

A pool is a supervisor in the tree, whose children are copies of one *template*. They are called after its class, with
numbers, as spawned children are: `/resizers/resizer-1`. So a log record that shows no more than the last step of a path
still says what it is about; the pool itself is called `pool` where it has no name, as other supervisors are called
after their strategy.

The address of the template is that of the pool: whoever was given it sends to whichever worker has its turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, get_args, overload

import attrs

from trouper.actors.ref import Ref
from trouper.actors.router import Router, make_router
from trouper.errors import DuplicateChild, SpecError, Words, show, type_name
from trouper.supervision.child import Child
from trouper.supervision.spec import DEFAULT_LIMIT, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trouper.supervision.spec import Limit

M = TypeVar("M")

Routing = Literal["round_robin", "hash"]
"""Who gets a message: whoever has its turn, or whoever has those of the same key."""

SIZE_RULE: Final = "an int of 0 or more (workers)"


@attrs.frozen(eq=False, repr=False)
class Pool(Supervisor, Generic[M]):
    """A group of workers of one kind behind one address. Made by `pool`.

    It stands wherever a `Supervisor` does and has its options; the workers are its children.

    Args:
        template: what the workers are copies of.
        size: how many there are in the beginning; `Daemon.resize` changes that.
        routing: who gets a message.
        key: by what messages belong together, where the routing is `hash`.
        ref: the address of all of them.
    """

    template: Child[M] = attrs.field(kw_only=True)
    size: int = attrs.field(kw_only=True)
    routing: Routing = attrs.field(kw_only=True)
    key: Callable[[M], Hashable] | None = attrs.field(kw_only=True)
    ref: Router[M] = attrs.field(kw_only=True)

    @property
    def kind(self) -> str:
        """What it is called, as other supervisors are called after their strategy."""
        return "pool"

    def __repr__(self) -> str:
        """Name the class of the workers, and the pool if it has a name of its own."""
        text = f"pool({self.template!r}, size={self.size})"
        return text if self.name is None else f"{text}.options(name={self.name!r})"


@overload
def pool(
    template: Child[M],
    *,
    size: int,
    routing: Literal["round_robin"] = "round_robin",
    key: None = None,
    name: str | None = None,
    restarts: Limit | None = None,
) -> Pool[M]: ...
@overload
def pool(
    template: Child[M],
    *,
    size: int,
    routing: Literal["hash"],
    key: Callable[[M], Hashable],
    name: str | None = None,
    restarts: Limit | None = None,
) -> Pool[M]: ...
def pool(
    template: Child[M],
    *,
    size: int,
    routing: Routing = "round_robin",
    key: Callable[[M], Hashable] | None = None,
    name: str | None = None,
    restarts: Limit | None = None,
) -> Pool[M]:
    """Describe a group of workers of one kind behind one address.

    The workers start side by side, stop side by side, and are restarted each for itself (as children of OTP's
    `simple_one_for_one`). One that ends and is not restarted is gone, and the others go on; one over its limit ends the
    pool.

    Args:
        template: made by `child(...)`; each worker is a copy with its arguments and options. Its `.ref` becomes that of
            the pool, and it stands nowhere else.
        size: how many workers; 0 is allowed, for one that `Daemon.resize` makes larger.
        routing: `"round_robin"`: each worker in turn. `"hash"`: messages of one key go to the same worker, as long as
            the size stays; of a pool that grows from n to n + 1, one key in n + 1 moves, to the new worker.
        key: for `"hash"`, what messages belong together by: a function of a message that returns something hashable
            (else `send` raises `UsageError`).
            It must be quick, and give the same for the same message. It is called in the thread of the sender, and
            once more, in any thread, for a message that a worker left behind.
        name: its name in the tree; `None` is `pool`.
        restarts: how many restarts each worker is allowed; `None` is `Limit(3, within=30.0)`.

    Returns:
        A supervisor for a tree; its `.ref` is a `Router`.

    Raises:
        SpecError: one of them is not allowed; the text says what is.
        DuplicateChild: the template stands somewhere, or is that of another pool.

    Example:
        `pool(child(Resizer), size=4)`, `pool(child(Account), size=8, routing="hash", key=lambda it: it.owner)`
    """
    where = "pool()" if name is None else f"pool(name={name!r})"
    _check_template(where, template)
    check_size(where, size)
    _check_routing(where, routing, key)
    copies = tuple(copy_of(template, number) for number in range(1, size + 1))
    limit = DEFAULT_LIMIT if restarts is None else restarts
    spec = Pool(
        "one_for_one",
        copies,
        limit,
        name=name,
        template=template,
        size=size,
        routing=routing,
        key=key,
        ref=template.ref,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it is made one below
    )
    make_router(template.ref, tuple(copy.ref for copy in copies), key)
    return spec


def copy_of(template: Child[M], number: int) -> Child[M]:
    """Return a worker like the template, with a name and an address of its own."""
    definition, choice = template.definition, template.choice
    named = choice.replace(template, name=f"{definition.default_name}-{number}")
    return Child(definition, template.args, template.kwargs, named, Ref(definition, choice.mailbox))


def check_size(where: str, size: object) -> None:
    """Refuse what is no number of workers.

    Raises:
        SpecError: with `where` as its path.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise SpecError(where, "size", size, SIZE_RULE)


def refuse_template(spec: Child[Any] | Supervisor, path: str) -> None:
    """The template of a pool is no child for itself.

    Raises:
        DuplicateChild: this is one.
    """
    if isinstance(spec, Child) and type(spec.ref) is Router:
        allowed = "one place in one tree for each child(...); call child(...) again for another actor"
        raise DuplicateChild(path, "child", Words(f"{show(spec)}, the template of a pool"), allowed)


def _check_template(where: str, template: object) -> None:
    if not isinstance(template, Child):
        given = Words(f"the class {type_name(template)}") if isinstance(template, type) else template
        hint = f"; write child({template.__name__}, ...)" if isinstance(template, type) else ""
        raise SpecError(where, "template", given, f"child(...){hint}")
    refuse_template(template, where)
    if template.ref.cell is not None:
        raise DuplicateChild(where, "template", template, "a child that runs nowhere and never did")
    choice = template.choice
    if choice.name is not None:
        allowed = f"none: the workers are called {template.definition.default_name}-1, -2 ...; name the pool itself"
        raise SpecError(where, "name of the template", choice.name, allowed)
    for option in ("significant", "optional"):
        if getattr(choice, option):
            allowed = f"False; the pool can be {option}: pool(...).options({option}=True)"
            raise SpecError(where, f"{option} of the template", True, allowed)  # noqa: FBT003 - the value that was given


def _check_routing(where: str, routing: object, key: object) -> None:
    if routing not in get_args(Routing):
        raise SpecError(where, "routing", routing, " | ".join(map(repr, get_args(Routing))))
    if routing == "hash" and not callable(key):
        raise SpecError(where, "key", key, 'with routing="hash", a function of a message that returns its key')
    if routing != "hash" and key is not None:
        raise SpecError(where, "key", key, f'none with routing={routing!r}; a key is for routing="hash"')
