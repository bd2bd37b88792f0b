"""Plans: trees, and what the lives of their actors come to, as values that hypothesis draws.

The text of a plan is a program: one that fails can be pasted into a test and played again.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs
from hypothesis import strategies as st

from tests.actors.stage import FLAVOURS, FlavourName
from trouper import Backoff, Limit, Mailbox, Persist
from trouper.supervision.members import Strategy
from trouper.supervision.spec import AutoShutdown

Deed: TypeAlias = str | tuple[Any, ...]
"""What an actor does in a hook or over a message.

`fine`, `crash`, `decline`, `quit`; `nap`; `hang` until it is released; `endure`: a nap that nobody can cut short;
`mute`: it does not say that it is ready; `forget`: it claims the right to answer, and lets go of it; `stash` and
`unstash`. `("spawn", leaf)` and `("stop", n)`: the n-th that it spawned; `("watch", n)`, `("tell", n, deed)` and
`("ask", n, deed, timeout)`: the n-th of all actors; `("later", seconds, deed)`: told to itself.
"""


@attrs.frozen
class Leaf:
    """An actor: its options, and what its first starts and stops come to. Those after them are fine."""

    flavour: FlavourName = "trio"
    style: Literal["receive", "run"] = "receive"
    options: dict[str, Any] = attrs.field(factory=dict)
    starts: tuple[Deed, ...] = ()
    stops: tuple[Deed, ...] = ()


@attrs.frozen
class Group:
    """A supervisor."""

    strategy: Strategy
    children: tuple[Plan, ...]
    limit: Limit
    auto_shutdown: AutoShutdown = "never"
    options: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Crowd:
    """A pool; messages have a key if it is `hashed`."""

    template: Leaf
    size: int
    limit: Limit
    hashed: bool = False
    options: dict[str, Any] = attrs.field(factory=dict)


Plan: TypeAlias = Leaf | Group | Crowd
Drawn: TypeAlias = st.SearchStrategy[Any]

# -- how they are drawn ------------------------------------------------------------------------------------------------
indices = st.one_of(st.integers(0, 2), st.integers(0, 15))
pauses = st.sampled_from([None, None, 0.0, 0.1, 1.0, 10.0])
seconds = st.sampled_from([0.0, 0.1, 1.0, 4.0, 10.0])
timeouts = st.sampled_from([0.0, 0.5, 3.0])
names = st.sampled_from(["0", "1", "x", "y"])
verbs = st.sampled_from(["terminate", "restart", "hold", "release", "delete"])
limits = st.builds(Limit, st.sampled_from([3, 10, 10, 1, 0]), within=st.sampled_from([5.0, 1.0, 30.0]))
backoffs = st.sampled_from([None, None, Backoff(first=1.0, base=2.0, reset_after=5.0), Persist(first=0.5, base=1.0)])
mailboxes = st.sampled_from([Mailbox(2), Mailbox(2, overflow="drop_oldest"), Mailbox(1, overflow="reject")])

first_starts = st.sampled_from(
    [*["fine"] * 20, "crash", "decline", "nap", "hang", "mute", ("spawn", Leaf()), *[("watch", n) for n in range(4)]]
)
later_starts = st.sampled_from(
    ["fine", "fine", "crash", "crash", "decline", "nap", "hang", "endure", ("spawn", Leaf("asyncio", "run"))]
)
starts = st.one_of(
    st.just(()), st.builds(lambda one, rest: (one, *rest), first_starts, st.lists(later_starts, max_size=3))
)
stops = st.lists(st.sampled_from(["fine", "crash", "nap", "hang", "endure"]), max_size=2).map(tuple)


@st.composite
def options(draw: Any, kinds: dict[str, Drawn], *, vital: bool) -> dict[str, Any]:
    """Some of these kinds of options, and some that say how it stands with the supervisor above."""
    every = {"backoff": backoffs, "optional": st.just(value=True), **kinds}
    chosen = {name: draw(every[name]) for name in draw(st.lists(st.sampled_from(sorted(every)), max_size=4))}
    restarts = ["permanent", "permanent", "transient", "temporary"]
    if vital and draw(st.booleans()):
        chosen["significant"], restarts = True, restarts[2:]
    return chosen | {"restart": draw(st.sampled_from(restarts))}


@st.composite
def leaves(draw: Any, *, vital: bool = False) -> Leaf:
    """An actor; it may be significant if it is `vital`."""
    kinds = {
        "shutdown": st.sampled_from([2.0, 0.0]),
        "start_timeout": st.just(0.2),
        "drain": st.just(value=True),
        "readiness": st.just("notify"),
        "mailbox": mailboxes,
    }
    flavour, style = draw(st.sampled_from(FLAVOURS)), draw(st.sampled_from(["receive", "run"]))
    return Leaf(flavour, style, draw(options(kinds, vital=vital)), draw(starts), draw(stops))


@st.composite
def crowds(draw: Any, *, vital: bool = False) -> Crowd:
    """A pool."""
    template = draw(leaves())
    template.options.pop("optional", None)
    above = draw(options({}, vital=vital))
    return Crowd(template, draw(st.integers(0, 3)), draw(limits), draw(st.booleans()), above)


@st.composite
def groups(draw: Any, depth: int = 3, *, vital: bool = False, least: int = 0) -> Group:
    """A supervisor, and so many storeys of further ones below it."""
    auto_shutdown = draw(st.sampled_from(["never", "never", "any_significant", "all_significant"]))
    below: list[Any] = [leaves, leaves, leaves, crowds]
    if depth:
        below += [lambda *, vital: groups(depth - 1, vital=vital)] * 2
    children = st.one_of([make(vital=auto_shutdown != "never") for make in below])
    return Group(
        draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])),
        tuple(draw(st.lists(children, min_size=least, max_size=4))),
        draw(limits),
        auto_shutdown,
        draw(options({"shutdown": st.sampled_from([2.0, 0.0])}, vital=vital)),
    )


trees = groups(least=2).flatmap(lambda tree: st.sampled_from([attrs.evolve(tree, limit=Limit(30, within=1.0)), tree]))

simple: Drawn = st.one_of(
    st.sampled_from(["fine", "crash", "quit", "nap", "hang", "endure", "forget", "stash", "unstash"]),
    st.builds(lambda leaf: ("spawn", leaf), leaves()),
    st.tuples(st.just("stop"), st.integers(0, 2)),
    st.tuples(st.just("watch"), indices),
)
deeds: Drawn = st.one_of(
    st.just("crash"),
    simple,
    simple,
    st.tuples(st.just("tell"), indices, simple),
    st.tuples(st.just("ask"), indices, simple, st.sampled_from([0.5, 3.0, None])),
    st.tuples(st.just("later"), seconds, simple),
)
