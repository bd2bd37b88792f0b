"""`process` as a value: what it refuses, what a look at a whole tree finds, and what travels to a worker."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.workers.cast import Does, Idle, nothing
from trouper import (
    Backoff,
    Child,
    DuplicateChild,
    Limit,
    Message,
    Ref,
    Router,
    SpecError,
    Supervisor,
    actor,
    child,
    one_for_one,
    pool,
    process,
)
from trouper.daemon import Daemon
from trouper.supervision.describe import describe
from trouper.supervision.place import place
from trouper.workers.cargo import pack, unpack
from trouper.workers.staff import check_processes


class Note(Message):
    text: str


@actor(flavour="trio")
class Store:
    limit: int = 0

    async def receive(self, message: Note) -> None: ...


@actor(flavour="asyncio")
class Writer:
    store: Ref[Note]
    extra: Any = None

    async def receive(self, message: Note) -> None: ...


def by_text(message: Note) -> str:
    return message.text


# -- what is refused ---------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: process(42), "process(): subtree: given 42, allowed: child(...) or a supervisor"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (
        lambda: process(Store, name="cpu"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (
            "process(name='cpu'): subtree: given the class tests.workers.test_spec.Store,"
            " allowed: child(...) or a supervisor; write child(Store, ...)"
        ),
    ),
    (
        lambda: process(child(Store), workers=-1),
        "process(): workers: given -1, allowed: an int of 0 or more (processes)",
    ),
    (
        lambda: process(child(Store), spares=-1),
        "process(): spares: given -1, allowed: an int of 0 or more (processes)",
    ),
    (
        lambda: process(child(Store), workers=True),
        "process(): workers: given True, allowed: an int of 0 or more (processes)",
    ),
    (
        lambda: process(child(Store), start="fork"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "process(): start: given 'fork', allowed: 'forkserver' | 'spawn'",
    ),
    (
        lambda: process(child(Store), start_timeout=0),
        "process(): start_timeout: given 0, allowed: seconds: a number above 0, or math.inf",
    ),
    (
        lambda: process(child(Store), shutdown=math.nan),
        "process(): shutdown: given nan, allowed: seconds: a number above 0, or math.inf",
    ),
    (
        lambda: process(child(Store), answer_within=-1),
        "process(): answer_within: given -1, allowed: seconds: a number above 0, or math.inf",
    ),
    (
        lambda: process(child(Store), restarts=3),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        "process(): restarts: given 3, allowed: a Limit(n, within=seconds), or None for the default",
    ),
    (
        lambda: process(child(Store), name="a/b"),
        "process(name='a/b'): name: given 'a/b', allowed: ",
    ),
    (
        lambda: process(one_for_one(child(Store), name="group")),
        "process(): name of the subtree: given 'group', allowed: none",
    ),
    (
        lambda: process(one_for_one(child(Store)).options(optional=True)),
        "process(): optional of the subtree: given True, allowed: False; the processes can be optional",
    ),
    (
        lambda: process(one_for_one(process(child(Store), name="inner")), name="outer"),
        "process(name='outer'): subtree: given process(one_for_one(1 child).options(name='*'), workers=1).options(",
    ),
    (
        lambda: pool(process(child(Store)), size=2),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
        "pool(): template: given process(",
    ),
]


@pytest.mark.parametrize(("make", "text"), REFUSED)
def test_what_is_wrong_is_refused_where_it_is_written(make: Callable[[], object], text: str) -> None:
    with pytest.raises(SpecError) as refused:
        make()
    assert str(refused.value).startswith(text)


def test_one_child_cannot_stand_in_the_daemon_and_in_its_workers() -> None:
    store = child(Store)
    with pytest.raises(DuplicateChild, match=r"/cpu/\*/store"):
        place(one_for_one(store, process(store, name="cpu")))


def local_class() -> Child[Any]:
    @actor(flavour="trio")
    class Local:
        async def receive(self, message: Note) -> None: ...

    return child(Local)


STAYS: list[tuple[Callable[[], Child[Any] | Supervisor], str]] = [
    (lambda: child(Writer, child(Store).ref, lambda: 1), r"/cpu/\*/writer: argument 2: given <function"),
    (
        lambda: child(Writer, child(Store).ref, extra=threading.Lock()),
        r"/cpu/\*/writer: argument 'extra': given <unloc",
    ),
    (
        lambda: one_for_one(one_for_one(child(Does, "", lambda _: None), name="deep")),
        r"/cpu/\*/deep/does: argument 2: given <function",
    ),
    (local_class, r"/cpu/\*/local: class: given .*, allowed: what another process can import"),
    (
        lambda: one_for_one(pool(child(Store), size=1, routing="hash", key=lambda _: 1)),
        r"/cpu/\*/pool: key: given <function.*, allowed: what another process can import",
    ),
]


@pytest.mark.parametrize(("make", "text"), STAYS)
def test_what_cannot_travel_is_refused_by_a_look_at_the_tree(
    make: Callable[[], Child[Any] | Supervisor], text: str
) -> None:
    tree = one_for_one(process(make(), name="cpu"))
    with pytest.raises(SpecError, match=text):
        check_processes(place(tree))
    with pytest.raises(SpecError, match=text):
        Daemon(tree)


TYPED = """
from tests.workers.test_spec import Note
from trouper import actor

@actor(flavour="trio")
class Typed:
    async def receive(self, message: Note) -> None: ...
"""


def test_what_was_typed_at_a_prompt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typed: Any = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", typed)
    exec(TYPED, vars(typed))  # noqa: S102 - as a prompt does
    with pytest.raises(SpecError, match=r"/cpu/\*/typed: class: given .*: its main module is no file"):
        Daemon(one_for_one(process(child(typed.Typed), name="cpu")))


# -- what it is --------------------------------------------------------------------------------------------------------


def test_a_tree_with_processes_is_told_with_what_each_runs() -> None:
    cpu = process(one_for_one(child(Store), restarts=Limit(1, within=5.0)), workers=4, name="cpu").options(
        restart="transient"
    )
    assert [line.partition("; takes")[0] for line in describe(place(one_for_one(cpu)))] == [
        "/: one_for_one, 3 restarts in 30 s",
        "  cpu: 4 processes by forkserver, 3 restarts in 30 s for each; transient",
        "    *: one_for_one, 1 restarts in 5 s; permanent",
        "      store: Store, trio, permanent",
    ]
    assert repr(cpu) == "process(one_for_one(1 child).options(name='*'), workers=4).options(name='cpu')"


def test_the_options_of_the_subtree_are_those_of_each_process() -> None:
    part = one_for_one(child(Store)).options(restart="transient", backoff=None, shutdown=7.0)
    each = process(part).subtree
    assert (each.restart, each.backoff, each.shutdown) == ("transient", None, 7.0)
    each = process(part, shutdown=2.0).subtree
    assert each.shutdown == 2.0
    assert process(child(Store)).subtree.shutdown == 30.0


# -- what travels ------------------------------------------------------------------------------------------------------


def travelled(tree: Supervisor, where: str) -> Any:
    """What arrives of the subtree at `where`, after a daemon has given all of it its place."""
    placed = place(tree)
    Daemon(tree)
    [node] = [node for node in placed.walk() if node.path == where]
    return unpack(pack(node))


def test_addresses_within_arrive_as_new_ones_that_are_the_same_wherever_they_were() -> None:
    store = child(Store, limit=3).options(name="rows", backoff=Backoff(base=1.0))
    part = one_for_one(store, child(Writer, store.ref, {"also": [store.ref]}))
    arrived = travelled(one_for_one(process(part, name="cpu")), "/cpu/*")
    rows, writer = arrived.children
    assert rows.ref is not store.ref
    assert writer.args[0] is rows.ref
    assert writer.args[1] == {"also": [rows.ref]}
    assert rows.kwargs == {"limit": 3}
    assert rows.choice == store.choice
    assert rows.definition is store.definition
    assert [node.path for node in place(arrived, "/cpu/0").walk()] == ["/cpu/0", "/cpu/0/rows", "/cpu/0/writer"]


def test_a_pool_arrives_with_its_router_and_its_workers() -> None:
    stores = pool(child(Store), size=2, routing="hash", key=by_text)
    arrived = travelled(one_for_one(process(one_for_one(stores, child(Writer, stores.ref)), name="cpu")), "/cpu/*")
    copy, writer = arrived.children
    assert isinstance(copy.ref, Router)
    assert writer.args[0] is copy.ref
    assert [copy.ref.worker(number) for number in (1, 2)] == [worker.ref for worker in copy.children]
    assert copy.ref is not stores.ref
    copy.ref.send(Note("x"))
    assert sorted(len(worker.ref.box) if worker.ref.box else 0 for worker in copy.children) == [0, 1]


def test_an_address_without_travels_as_its_path() -> None:
    store = child(Store)
    tree = one_for_one(store, process(child(Writer, store.ref, store.ref), name="cpu"))
    placed = place(tree)
    Daemon(tree)
    asked: list[object] = []

    def outside(*known: Any) -> Ref[Any]:
        asked.append(known)
        return child(Store).ref

    [cpu] = [node for node in placed.walk() if node.path == "/cpu/*"]
    [writer] = unpack(pack(cpu), outside).children
    assert asked == [("/store", Store, store.choice.mailbox)]
    assert writer.args[0] is writer.args[1]


def test_an_address_of_nobody_is_refused() -> None:
    tree = one_for_one(process(child(Writer, child(Store).ref), name="cpu"))
    placed = place(tree)
    Daemon(tree)
    with pytest.raises(SpecError, match="an address of no actor in this tree"):
        pack(placed.children[0].children[0])


def test_a_part_of_everything_else_arrives_equal() -> None:
    part = one_for_one(child(Idle, "x"), child(Does, "y", nothing), restarts=Limit(2, within=3.0))
    arrived = travelled(one_for_one(process(part.options(backoff=None), name="cpu")), "/cpu/*")
    assert (arrived.limit, arrived.backoff, arrived.strategy) == (part.limit, None, "one_for_one")
