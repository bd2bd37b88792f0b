"""Worker processes as a value: a part of the tree that runs in several processes of its own.

```python
hashers = process(child(Hasher), workers=4, name="hashers")
tree = one_for_one(child(Feed), hashers)
```

Such a group is a supervisor in the tree, whose children are processes, called by their numbers: `/hashers/0`. Each one
runs the whole subtree below its own path, so the actor above is `/hashers/0/hasher` in the first of them. What stands
below all of them is told of with a star: `/hashers/*/hasher`.
"""

from __future__ import annotations

from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

import attrs

from trouper.actors.options import is_seconds
from trouper.errors import SpecError, UsageError, Words, show, type_name
from trouper.supervision.child import Child
from trouper.supervision.spec import DEFAULT_LIMIT, Supervisor, one_for_one
from trouper.workers.copies import Copies

if TYPE_CHECKING:
    from trouper.actors.ref import Ref
    from trouper.supervision.spec import Limit

M = TypeVar("M")

Start = Literal["forkserver", "spawn"]
"""How a worker comes to be: forked by a process that has imported everything, or by a new interpreter."""

EACH: Final = "*"  # the name of what each of them runs
STAFF: Final = "trouper.workers.staff"  # by name: it needs this module, and 18 more that only such trees need
SHUTDOWN: Final = 30.0
WORKERS_RULE: Final = "an int of 0 or more (processes)"
SECONDS_RULE: Final = "seconds: a number above 0, or math.inf"


@attrs.frozen(eq=False, repr=False)
class Process(Supervisor):
    """A group of processes that all run the same subtree. Made by `process`.

    It stands wherever a `Supervisor` does and has its options.

    Args:
        subtree: what each of them runs, with the options of each: after which ends it is restarted (`restart`), the
            delays (`backoff`), and the seconds for its stop (`shutdown`).
        workers: how many there are in the beginning; `Daemon.scale` changes that.
        start: how they come to be.
        start_timeout: seconds for the start of each.
        answer_within: seconds without a sign of life after which one is killed.
        spares: how many processes wait to become a worker.
    """

    subtree: Supervisor = attrs.field(kw_only=True)
    workers: int = attrs.field(kw_only=True)
    start: Start = attrs.field(kw_only=True)
    start_timeout: float = attrs.field(kw_only=True)
    answer_within: float = attrs.field(kw_only=True)
    spares: int = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Who describes one is going to need what runs it."""
        import_module(STAFF)

    @property
    def kind(self) -> str:
        """What it is called, as other supervisors are called after their strategy."""
        return "process"

    def copies(self, ref: Ref[M]) -> Copies[M]:
        """Return the address of one of its actors as what it is outside of the processes: a router over all copies.

        Args:
            ref: that of a child in the subtree, once a daemon was made of the tree.

        Returns:
            The same object, typed so that `.worker(worker_id)` and `.size` can be asked for.

        Raises:
            UsageError: it is no such address, or no daemon has it yet; inside of a worker it means the own copy.

        Example:
            `await hashers.copies(hasher.ref).worker(0).ask(Hash(data))`
        """
        if not isinstance(ref, Copies):
            raise UsageError(f"{self!r}: given {ref!r}, allowed: the ref of a child in it, seen from outside of it")
        return ref

    def __repr__(self) -> str:
        """Say how many there are, and the name of the group if it has one of its own."""
        text = f"process({self.subtree!r}, workers={self.workers})"
        return text if self.name is None else f"{text}.options(name={self.name!r})"


def process(
    subtree: Child[Any] | Supervisor,
    *,
    workers: int = 1,
    name: str | None = None,
    start: Start = "forkserver",
    restarts: Limit | None = None,
    start_timeout: float = 60.0,
    shutdown: float | None = None,
    answer_within: float = 15.0,
    spares: int = 0,
) -> Process:
    """Describe a part of the tree that runs in processes of its own.

    Each process has lanes of its own and runs the whole subtree; in it, `current(self).daemon.worker_id` is its number.
    They start side by side, stop side by side, and are restarted each for itself. A process ends when a failure reaches
    the root of its subtree, by `SystemExit`, by a signal, by a crash of the interpreter: all of these are ends of a
    child, and `restarts` counts them.

    What the subtree is made of travels by pickle: classes by reference (also those of `__main__`), arguments by value.
    So classes and functions stand at the top level of a module, and `run` below `if __name__ == "__main__":`.

    Args:
        subtree: a child or a supervisor, without a `process` in it. The options `restart` and `backoff` of the
            supervisor on its top are those of each process.
        workers: how many processes; 0 is allowed, for what `Daemon.scale` makes larger.
        name: its name in the tree; `None` is `process`.
        start: `"forkserver"`: they are forked, within milliseconds, by a process without threads that has imported
            trouper and the modules that the subtree names. `"spawn"`: each is a new interpreter.
        restarts: how many restarts each process is allowed; `None` is `Limit(3, within=30.0)`.
        start_timeout: seconds until the subtree must be up in a process that was asked for.
        shutdown: seconds for the stop of a process, after which it is killed; `None` is that of the subtree if it has
            one, else 30.
        answer_within: seconds without a sign of life after which a process is killed; `math.inf` is never.
        spares: how many more processes are kept that have come up and wait for their part of the tree, so that a worker
            which has died is replaced sooner, and `Daemon.scale` has more of them sooner. Each has memory of
            its own, as a worker has.

    Returns:
        A supervisor for a tree.

    Raises:
        SpecError: one of them is not allowed; the text says what is.

    Example:
        `process(child(Hasher), workers=4, name="hashers")`
    """
    where = "process()" if name is None else f"process(name={name!r})"
    root = _root_of(where, subtree)
    check_workers(where, workers)
    check_workers(where, spares, "spares")
    if start not in get_args(Start):
        raise SpecError(where, "start", start, " | ".join(map(repr, get_args(Start))))
    if shutdown is None:
        shutdown = root.shutdown if root.shutdown < inf else SHUTDOWN
    for field, seconds in (("start_timeout", start_timeout), ("shutdown", shutdown), ("answer_within", answer_within)):
        if not is_seconds(seconds, zero=False):
            raise SpecError(where, field, seconds, SECONDS_RULE)
    each = root.options(name=EACH, shutdown=shutdown)
    limit = DEFAULT_LIMIT if restarts is None else restarts
    return Process(
        "one_for_one",
        (each,),
        limit,
        name=name,
        subtree=each,
        workers=workers,
        start=start,
        start_timeout=start_timeout,
        answer_within=answer_within,
        spares=spares,
    )


def check_workers(where: str, workers: object, field: str = "workers") -> None:
    """Refuse what is no number of processes.

    Raises:
        SpecError: with `where` as its path.
    """
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 0:
        raise SpecError(where, field, workers, WORKERS_RULE)


def _root_of(where: str, subtree: object) -> Supervisor:
    if isinstance(subtree, Child):
        return one_for_one(subtree)
    if not isinstance(subtree, Supervisor):
        given = Words(f"the class {type_name(subtree)}") if isinstance(subtree, type) else subtree
        hint = f"; write child({subtree.__name__}, ...)" if isinstance(subtree, type) else ""
        raise SpecError(where, "subtree", given, f"child(...) or a supervisor{hint}")
    refuse_nested(where, subtree)
    if subtree.name is not None:
        raise SpecError(where, "name of the subtree", subtree.name, "none: processes are called 0, 1 ...; name those")
    for option in ("significant", "optional"):
        if getattr(subtree, option):
            allowed = f"False; the processes can be {option}: process(...).options({option}=True)"
            raise SpecError(where, f"{option} of the subtree", True, allowed)  # noqa: FBT003 - the value that was given
    return subtree


def refuse_nested(where: str, node: Child[Any] | Supervisor) -> None:
    """Refuse a part of a tree for a worker that has processes of its own.

    Raises:
        SpecError: it has.
    """
    if isinstance(node, Process):
        given = Words(f"{show(node)} in it")
        raise SpecError(where, "subtree", given, "one without processes of its own: let them stand side by side")
    for below in node.children if isinstance(node, Supervisor) else ():
        refuse_nested(where, below)
