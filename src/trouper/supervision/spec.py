"""Trees as values: children, supervisors and how many restarts they are allowed.

```python
averages = child(Averages).options(name="averages")
tree = one_for_all(
    averages,
    one_for_one(child(LoadReader, out=averages.ref), name="readers"),
    restarts=Limit(3, within=30.0),
)
```

Nothing runs here. Every value is checked where it is written; what can be seen only in a whole tree (two children of
one name, one child in two places) is checked by `place`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, Unpack, get_args

import attrs

from trouper.actors.options import (
    BOOL_RULE,
    NAME_RULE,
    RESTART_RULE,
    SHUTDOWN_RULE,
    is_bool,
    is_name,
    is_restart,
    is_seconds,
)
from trouper.errors import SpecError, Words, type_name
from trouper.patience import DEFAULT_BACKOFF, PATIENCE_RULE, is_patience
from trouper.supervision.child import Child, child

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.options import (
        Restart,
    )
    from trouper.patience import Backoff

__all__ = [
    "DEFAULT_LIMIT",
    "AutoShutdown",
    "Child",
    "Limit",
    "Strategy",
    "Supervisor",
    "child",
    "one_for_all",
    "one_for_one",
    "rest_for_one",
]

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]


def _rule(
    allows: Callable[[Any], bool], rule: str, keyword: str | None = None
) -> Callable[[Limit | Supervisor, attrs.Attribute[Any], Any], None]:
    """An attrs validator that refuses with a `SpecError`; `keyword` is how users call the field, if not by its name."""

    def validate(spec: Limit | Supervisor, attribute: attrs.Attribute[Any], value: object) -> None:
        if not allows(value):
            raise SpecError(_place(spec), keyword or attribute.name, value, rule)

    return validate


def _one_of(literal: Any) -> Callable[[Limit | Supervisor, attrs.Attribute[Any], Any], None]:
    return _rule(lambda value: value in get_args(literal), " | ".join(map(repr, get_args(literal))))


def _place(spec: Limit | Supervisor) -> str:
    if isinstance(spec, Limit):
        return "Limit"
    kind = spec.kind if spec.strategy in get_args(Strategy) else "Supervisor"
    return f"{kind}({'' if spec.name is None else f'name={spec.name!r}'})"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@attrs.frozen
class Limit:
    """How many automatic restarts a supervisor allows before it gives up (OTP's intensity and period).

    Args:
        n: the restarts allowed; one more is too many. 0 allows none.
        within: seconds; a restart counts for so long.

    Raises:
        SpecError: one of them is none of those.
    """

    n: int = attrs.field(validator=_rule(_is_count, "an int of 0 or more (restarts)"))
    within: float = attrs.field(
        validator=_rule(lambda value: is_seconds(value, zero=False), "seconds: a number above 0, or math.inf")
    )


DEFAULT_LIMIT: Final = Limit(3, within=30.0)


class SupervisorChoices(TypedDict, total=False):
    """The options of a supervisor in its own supervisor, as keywords."""

    name: str | None
    restart: Restart
    significant: bool
    shutdown: float
    backoff: Backoff | None
    optional: bool


def _check_children(supervisor: Supervisor, _: object, children: tuple[object, ...]) -> None:
    for number, node in enumerate(children, 1):
        if isinstance(node, Child | Supervisor):
            continue
        given = Words(f"the class {type_name(node)}") if isinstance(node, type) else node
        hint = f"; write child({node.__name__}, ...)" if isinstance(node, type) else ""
        raise SpecError(_place(supervisor), f"child {number}", given, f"child(...) or a supervisor{hint}")


@attrs.frozen(eq=False, repr=False)
class Supervisor:
    """A group of children with a strategy. Made by `one_for_one`, `one_for_all` and `rest_for_one`.

    Args:
        strategy: which of them are restarted together.
        children: children and further supervisors, in start order.
        limit: how many restarts are allowed.
        auto_shutdown: whether the end of significant children ends the group (as in OTP 24 and later).
        name: its name in the tree; `None` is the name of its strategy.
        restart: which of its own ends restart it, in its supervisor.
        significant: whether its own end can end its supervisor.
        shutdown: seconds for the stop of the whole group.
        backoff: the delays before its own restarts; None is none, as in OTP.
        optional: whether the boot above goes on without waiting for it, and does not fail with it.

    Raises:
        SpecError: one of them is not allowed; the text says what is.
    """

    strategy: Strategy = attrs.field(validator=_one_of(Strategy))
    children: tuple[Child[Any] | Supervisor, ...] = attrs.field(validator=_check_children)
    limit: Limit = attrs.field(
        default=DEFAULT_LIMIT,
        validator=_rule(
            lambda value: isinstance(value, Limit), "a Limit(n, within=seconds), or None for the default", "restarts"
        ),
    )
    auto_shutdown: AutoShutdown = attrs.field(default="never", validator=_one_of(AutoShutdown))
    name: str | None = attrs.field(
        default=None, validator=_rule(lambda value: value is None or is_name(value), NAME_RULE)
    )
    restart: Restart = attrs.field(default="permanent", validator=_rule(is_restart, RESTART_RULE))
    significant: bool = attrs.field(default=False, validator=_rule(is_bool, BOOL_RULE))
    shutdown: float = attrs.field(
        default=math.inf, validator=_rule(lambda value: is_seconds(value, zero=True), SHUTDOWN_RULE)
    )
    backoff: Backoff | None = attrs.field(default=DEFAULT_BACKOFF, validator=_rule(is_patience, PATIENCE_RULE))
    optional: bool = attrs.field(default=False, validator=_rule(is_bool, BOOL_RULE))

    @property
    def kind(self) -> str:
        """What it is called: its strategy, or `pool`."""
        return self.strategy

    def options(self, **choices: Unpack[SupervisorChoices]) -> Self:
        """Return this supervisor with other options of its own place in the tree.

        Args:
            choices: name, restart, significant, shutdown, backoff, optional; `Supervisor` says what they mean.

        Raises:
            SpecError: an option does not exist or does not allow its value.
        """
        for name, value in choices.items():
            if name not in SupervisorChoices.__annotations__:
                allowed = f"the options {', '.join(SupervisorChoices.__annotations__)}"
                raise SpecError(_place(self), name, value, allowed)
        return attrs.evolve(self, **choices)

    def __repr__(self) -> str:
        """Name the strategy and the group."""
        count = len(self.children)
        text = f"{self.strategy}({count} {'child' if count == 1 else 'children'})"
        return text if self.name is None else f"{text}.options(name={self.name!r})"


def one_for_one(
    *children: Child[Any] | Supervisor,
    name: str | None = None,
    restarts: Limit | None = None,
    auto_shutdown: AutoShutdown = "never",
) -> Supervisor:
    """Describe a group in which only the child that ended is restarted (as OTP's `one_for_one`).

    Args:
        children: children and further supervisors, in start order.
        name: its name in the tree; `None` is the name of its strategy.
        restarts: how many restarts are allowed; `None` is `Limit(3, within=30.0)`.
        auto_shutdown: whether the group stops by itself when a significant child ends by itself (`"any_significant"`)
            or the last one of them (`"all_significant"`).

    Raises:
        SpecError: one of them is not allowed; the text says what is.
    """
    return Supervisor("one_for_one", children, _limit(restarts), auto_shutdown, name)


def one_for_all(
    *children: Child[Any] | Supervisor,
    name: str | None = None,
    restarts: Limit | None = None,
    auto_shutdown: AutoShutdown = "never",
) -> Supervisor:
    """Describe a group that is restarted as a whole when one of it ended (as OTP's `one_for_all`).

    The others are stopped in reverse start order, then all start in start order. Arguments and errors are those of
    `one_for_one`.
    """
    return Supervisor("one_for_all", children, _limit(restarts), auto_shutdown, name)


def rest_for_one(
    *children: Child[Any] | Supervisor,
    name: str | None = None,
    restarts: Limit | None = None,
    auto_shutdown: AutoShutdown = "never",
) -> Supervisor:
    """Describe a group in which those after the child that ended are restarted with it (as OTP's `rest_for_one`).

    Arguments and errors are those of `one_for_one`.
    """
    return Supervisor("rest_for_one", children, _limit(restarts), auto_shutdown, name)


def _limit(restarts: Limit | None) -> Limit:
    return DEFAULT_LIMIT if restarts is None else restarts
