"""A child of a tree, as a value: the class of an actor, its arguments and its options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Never, ParamSpec, TypeVar, Unpack, overload

import msgspec

from trouper.actors.definition import Definition, definition_of
from trouper.actors.options import Options, refuse_abandon
from trouper.actors.ref import Ref
from trouper.errors import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.options import Choices
    from trouper.actors.protocols import Receives, Runs, RunsSync, Serves

M = TypeVar("M")
P = ParamSpec("P")

_NO_KWARGS: Final[Mapping[str, Any]] = MappingProxyType({})


class Child(msgspec.Struct, Generic[M], frozen=True, eq=False):
    """An actor to be run: its class, the arguments of its constructor and its options. Made by `child`.

    Compared by identity, and never changed. A `msgspec.Struct`, unlike the other specs: 100,000 spawns a second make as
    many children, and a frozen attrs value takes ten times as long to fill.

    Args:
        definition: what is known of its class.
        args: the arguments of the constructor, used for each generation anew ...
        kwargs: ... and those by keyword.
        choice: its options.
        ref: its address, there before anything runs; a child with other options keeps it.
    """

    definition: Definition
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    choice: Options
    ref: Ref[M]

    def options(self, **choices: Unpack[Choices]) -> Child[M]:
        """Return this child with other options, at the same address.

        Args:
            choices: any of these.

                - name: its name in the tree; by default its class in snake_case.
                - restart: which ends restart it, as in OTP: `"permanent"` every one (the default), `"transient"` an
                  abnormal one, `"temporary"` none.
                - shutdown: seconds for its graceful stop (5); 0 is at once, `math.inf` as long as it takes.
                - start_timeout: seconds for construction and `on_start` (30).
                - reload_timeout: seconds for `on_reload`, and as many to wait for its turn (30).
                - significant: whether its own end can end its supervisor (see `auto_shutdown`).
                - mailbox: a `Mailbox`, its capacity and what happens beyond.
                - drain: whether a graceful stop handles what is queued first.
                - backoff: the delays before its restarts, a `Backoff` (the default) or a `Persist`; None is none, as in
                  OTP.
                - readiness: when it counts as started: when its `on_start` is done (`"on_start"`, the default), or when
                  it calls `current(self).ready()` (`"notify"`).
                - optional: whether the boot goes on without waiting for it, and does not fail with it.
                - abandon: in threading, whether a thread that has not stopped after `shutdown` seconds, at the end of
                  the daemon, is left behind, and no failure.

        Returns:
            Another value for the same actor; put one of them into a tree.

        Raises:
            SpecError: an option does not exist or does not allow its value.
        """
        choice = self.choice.replace(self, **choices)
        refuse_abandon(self, choice, self.definition.flavour)
        return Child(self.definition, self.args, self.kwargs, choice, self.ref)

    def __repr__(self) -> str:
        """Name the class, and the child if it has a name of its own."""
        text = f"child({type_name(self.definition.cls)})"
        return text if self.choice.name is None else f"{text}.options(name={self.choice.name!r})"


@overload
def child(cls: Callable[P, Receives[M]], /, *args: P.args, **kwargs: P.kwargs) -> Child[M]: ...
@overload
def child(cls: Callable[P, Runs[M]], /, *args: P.args, **kwargs: P.kwargs) -> Child[M]: ...
@overload
def child(cls: Callable[P, RunsSync[M]], /, *args: P.args, **kwargs: P.kwargs) -> Child[M]: ...
@overload
def child(cls: Callable[P, Serves], /, *args: P.args, **kwargs: P.kwargs) -> Child[Never]: ...
def child(cls: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Child[Any]:
    """Describe an actor to be run.

    Args:
        cls: an `@actor` class, or a parametrised one (`Latest[int]`).
        args: the arguments of its constructor. All generations of the actor get the same ones, so mutable ones are
            shared state.
        kwargs: the same, by keyword. Options are no such arguments: they go into `.options(...)`.

    Returns:
        A value for a tree or for `spawn`; its `.ref` can be given to others at once.

    Raises:
        DefinitionError: it is no actor class, or its mailbox type names what does not exist.
        SpecError: its constructor does not take these arguments.

    Example:
        `child(Web, port=80, store=store.ref).options(name="web")`
    """
    definition = definition_of(cls)
    definition.check_arguments(args, kwargs)
    choice = definition.options
    return Child(definition, args, kwargs or _NO_KWARGS, choice, Ref(definition, choice.mailbox))
