"""`@actor`: a plain class becomes an actor class, and everything that is wrong with it is refused here.

```python
@actor(flavour=trio)
class Averages:
    sums: dict[str, tuple[float, int]] = attrs.field(factory=dict)

    async def receive(self, message: Sample | Mean) -> float | None: ...
```

The class stays the same object; its `Definition` hangs on it as `__trouper__`. The mailbox type is read from the
annotation of the message (or of the inbox). An annotation that names what is defined later is read again when it is
needed first, at the latest by `child()`.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack, cast, dataclass_transform, get_origin

import attrs

from trouper.actors.accepts import Unresolved, accepted_types
from trouper.actors.fields import make_attrs
from trouper.actors.flavour import flavour_name
from trouper.actors.options import OPTION_NAMES, Options, refuse_abandon
from trouper.actors.signature import shape_of
from trouper.errors import Declined, DefinitionError, LeakedScope, Shutdown, SpecError, Words, show, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trouper.actors.flavour import Flavour, FlavourName
    from trouper.actors.options import Choices
    from trouper.actors.signature import Shape, Style
    from trouper.messages import Types

T = TypeVar("T")

_DEFAULTS: Final = Options()
_WORD_STARTS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_UNKNOWN: Final = object()
_NEVER_EXPECTED: Final = (MemoryError, Shutdown, Declined, LeakedScope)

MARK: Final = "__trouper__"
"""The attribute of an actor class that holds its definition."""


class Definition:
    """What is known of an actor class; nobody but this module changes it.

    Args:
        cls: the class.
        flavour: the name of its flavour.
        shape: what its methods are.
        options: the default options of its children.
        accepts: the mailbox type given by hand, or `None` to read the annotation.
        expected: the exceptions of a handler that do not crash the actor.
    """

    def __init__(  # noqa: PLR0917 - as they are listed
        self,
        cls: type[Any],
        flavour: FlavourName,
        shape: Shape,
        options: Options,
        accepts: object = None,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        self.cls, self.shape, self.options = cls, shape, options
        self.flavour: FlavourName = flavour
        self.accepts, self.expected = accepts, expected
        self.exact: frozenset[type] | None = None
        self._accepted: Any = _UNKNOWN
        self._signature: inspect.Signature | None = None
        self._fitting: set[object] = set()
        # the shape, spelled out: this is read on the way of every start
        hooks = shape.hooks
        self.default_name = _WORD_STARTS.sub("_", cls.__name__).lower().strip("_") or "actor"
        self.style: Style = shape.style
        self.is_async = shape.handler.is_async
        self.suspends = shape.handler.suspends
        self.has_on_start = "on_start" in hooks
        self.has_on_stop = "on_stop" in hooks
        self.has_on_reload = "on_reload" in hooks
        self.has_interrupt = "interrupt" in hooks

    def __repr__(self) -> str:
        """Name the class and the flavour."""
        return f"<actor class {type_name(self.cls)}, {self.flavour}>"

    def accepted(self, local_names: Mapping[str, Any] | None = None) -> Types:
        """Return the classes of the messages in the mailbox, and keep them once they are known.

        Args:
            local_names: names that the annotation can use beside those of its class and module.

        Returns:
            The classes; `()` takes no message, `None` takes anything.

        Raises:
            DefinitionError: the annotation names what is not there, or no message can be checked against it.
        """
        if self._accepted is _UNKNOWN:
            self._accepted = accepted_types(self.shape, self.flavour, self.accepts, local_names or {})
        return cast("Types", self._accepted)

    def exact_types(self) -> frozenset[type]:
        """Return the classes whose own instances (not those of subclasses) the mailbox surely takes.

        One set for all refs to actors of this class; empty when it takes anything, where no class is known beforehand.

        Raises:
            DefinitionError: as `accepted`.
        """
        if self.exact is None:
            self.exact = frozenset(self.accepted() or ())
        return self.exact

    def check_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that the constructor does not take.

        Whether they fit is a matter of how many there are and how they are called: a form that fitted before costs one
        look into a set.

        Raises:
            SpecError: naming the class, what is wrong, and the constructor.
            DefinitionError: the mailbox type cannot be read, see `accepted`.
        """
        form = (len(args), *kwargs) if kwargs else len(args)
        if form not in self._fitting:
            self._bind(args, kwargs)
            self.accepted()
            self._fitting.add(form)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._signature is None:
            self._signature = inspect.signature(self.cls).replace(return_annotation=inspect.Signature.empty)
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            form = ", ".join(["..."] * len(args) + [f"{name}=..." for name in kwargs])
            options = [name for name in OPTION_NAMES if name in kwargs and name not in self._signature.parameters]
            hint = f"; {', '.join(options)} in .options(...)" if options else ""
            allowed = f"{self.cls.__name__}{self._signature}{hint}"
            raise SpecError(
                f"child({type_name(self.cls)})", "arguments", Words(f"({form}): {error}"), allowed
            ) from None


@dataclass_transform(eq_default=False, field_specifiers=(attrs.field,))
def actor(
    *,
    flavour: Flavour,
    accepts: object = None,
    expected: type[Exception] | tuple[type[Exception], ...] = (),
    **options: Unpack[Choices],
) -> Callable[[type[T]], type[T]]:
    """Make an actor class of a plain class.

    The class becomes an attrs class, in place (compared by identity). It has either `receive(self, message: M)`, or
    `run(self, inbox: Inbox[M])` (`SyncInbox` in threading), or `run(self)`, which takes no messages; and perhaps the
    hooks `on_start(self)`, `on_stop(self, reason)`, `on_reload(self)` (see `Daemon.reload`) and, in threading,
    `interrupt(self)`.

    Args:
        flavour: the module trio, asyncio or threading, or its name.
        accepts: the class (or union, or tuple of classes) of the messages, if the annotation cannot say it.
        expected: exceptions of `receive` that are no failure of the actor: who asked gets them as they are, they are
            logged, and the actor goes on with the state that it has. `Shutdown`, and what goes to the root, such as
            `MemoryError`, are never among them.
        options: the default options of a child of this class; `Child.options` says what they mean.

    Returns:
        A decorator, which returns the same class.

    Raises:
        DefinitionError: something in the class is wrong; the text says where, what, and what is allowed.

    Example:
        ```python
        @actor(flavour=threading, restart="transient")
        class Rows:
            path: str

            def receive(self, message: Row) -> None: ...
        ```
    """

    def decorate(cls: type[T]) -> type[T]:
        if not isinstance(cls, type):
            raise DefinitionError("@actor", show(cls), "a class")
        where = type_name(cls)
        try:
            flavour_ = flavour_name(flavour, where)
            chosen = _DEFAULTS.replace(where, **options) if options else _DEFAULTS
            refuse_abandon(where, chosen, flavour_)
        except SpecError as error:
            raise DefinitionError(f"{where}: @actor({error.field}=...)", show(error.given), error.allowed) from None
        shape = shape_of(cls, flavour_)
        definition = Definition(cls, flavour_, shape, chosen, accepts, expected_errors(expected, shape, where))
        _resolve_early(definition, sys._getframe(1).f_locals)
        make_attrs(cls)
        setattr(cls, MARK, definition)
        return cls

    return decorate


def expected_errors(given: object, shape: Shape, where: str) -> tuple[type[Exception], ...]:
    """Return the classes of `expected`.

    Raises:
        DefinitionError: they are none that an actor can go on after, or it has no `receive`.
    """
    kinds: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)
    where = f"{where}: @actor(expected=...)"
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception) or issubclass(kind, _NEVER_EXPECTED):
            found = type_name(kind) if isinstance(kind, type) else show(kind)
            never = ", ".join(never.__name__ for never in _NEVER_EXPECTED)
            raise DefinitionError(where, found, f"subclasses of Exception, and not {never}")
    if kinds and shape.style != "receive":
        raise DefinitionError(where, "it for an actor with `run`", "it for `receive`; in `run`, try and except")
    return kinds


def _resolve_early(definition: Definition, local_names: Mapping[str, Any]) -> None:
    if definition.accepts is not None and definition.style == "service":
        where = f"{type_name(definition.cls)}: @actor(accepts=...)"
        raise DefinitionError(where, f"{definition.accepts!r} for `run(self)`, which takes no messages", "no accepts")
    try:
        definition.accepted(local_names)
    except Unresolved:
        return  # perhaps defined later; child() tries again


def definition_of(cls: object) -> Definition:
    """Return the definition of an actor class, or of a parametrised one (`Latest[int]`).

    Raises:
        DefinitionError: this is no actor class, or a subclass of one that is not decorated itself.
    """
    found: Definition | None = getattr(cls, "__trouper__", None)
    if found is not None and found.cls is cls:
        return found
    origin = get_origin(cls)
    if origin is not None:
        return definition_of(origin)
    if not isinstance(cls, type):
        raise DefinitionError("an actor", show(cls), "a class decorated with @actor")
    if found is not None:
        subclass = f"an undecorated subclass of the actor class {type_name(found.cls)}"
        raise DefinitionError(type_name(cls), subclass, f"one with its own @actor(flavour={found.flavour}, ...)")
    raise DefinitionError(type_name(cls), "a class without @actor", "a class decorated with @actor(flavour=...)")
