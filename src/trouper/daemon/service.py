"""`@service`: each instance of a class becomes an actor of a daemon, once its whole construction is done.

```python
@service(flavour=trio)
class Controller:
    async def run(self) -> None: ...
```

When the construction is done, nobody tells: the constructors of subclasses go on after the one of the class, and
decorators such as `attrs.define` and `dataclass` write constructors after the class was made. But `__new__` is called
for every instance, before its constructor, and there the class is known that is really constructed. So `__new__` sees
to it that the constructor of that very class is replaced, once, by one that enlists the instance at its end; called
from a subclass's, it does not.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, TypeVar, Unpack

from trouper.actors.definition import MARK as ACTOR_MARK
from trouper.actors.definition import Definition
from trouper.actors.flavour import flavour_name
from trouper.actors.options import NAME_RULE, Options, is_name, refuse_abandon
from trouper.actors.protocols import Serves
from trouper.actors.signature import shape_of
from trouper.daemon.services import here
from trouper.errors import DefinitionError, SpecError, show, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trouper.actors.flavour import Flavour
    from trouper.actors.options import Restart
    from trouper.patience import Backoff

S = TypeVar("S", bound=Serves)

MARK: Final = "__trouper_service__"
"""The attribute of a service class that holds what is known of it."""

_DEFAULTS: Final = Options(restart="transient")


class ServiceChoices(TypedDict, total=False):
    """The options of a service as keywords; `Child.options` says what they mean."""

    restart: Restart
    shutdown: float
    start_timeout: float
    reload_timeout: float
    backoff: Backoff | None
    abandon: bool


class Known(NamedTuple):
    """What is known of a service class.

    Args:
        definition: as of an actor class.
        name: of its instances, or what gives one its name.
    """

    definition: Definition
    name: str | Callable[[Any], str] | None

    def name_of(self, instance: object) -> str | None:
        return self.name(instance) if callable(self.name) else self.name


def service(
    *, flavour: Flavour, name: str | Callable[[Any], str] | None = None, **options: Unpack[ServiceChoices]
) -> Callable[[type[S]], type[S]]:
    """Have every instance of a class run by a daemon: an actor below `/services`, without messages.

    The class has `run(self)`, `async def` in the async flavours and `def` in threading, and perhaps the hooks of an
    actor: `on_start`, `on_stop`, `on_reload`, and `interrupt` in threading. An instance starts when its whole
    construction is done, that of subclasses included, and the tree of its daemon is up; it is stopped before the tree.
    Nobody needs to keep it. A restart runs `run` of the same instance again. In its methods `current(self)` is what an
    actor has.

    It is run by the daemon in one of whose lanes (or in whose `async with` block) it is made; else by the one that
    takes `default_services`, the first `run()`. `with services.here():` chooses another `Services`.

    Args:
        flavour: the module trio, asyncio or threading, or its name.
        name: its name in the tree, or a function of the finished instance that gives it; by default the class in
            snake_case, with a number for the second and later ones.
        options: `restart` (`"transient"`: when it fails), `shutdown`, `start_timeout`, `reload_timeout`, `backoff`,
            `abandon`; `Child.options` says what they mean. A service has a limit of 3 restarts in 30 seconds for
            itself; one more is the daemon's failure.

    Returns:
        A decorator, which returns the same class. Plain classes, attrs classes and dataclasses will do.

    Raises:
        DefinitionError: something in the class is wrong; the text says where, what, and what is allowed.

    Making an instance raises `SpecError` if its name is another service's, and `NotRunning` if its daemon is stopping.

    Example:
        ```python
        @service(flavour=threading, restart="permanent", name=lambda self: self.host)
        class Probe:
            def __init__(self, host: str) -> None:
                self.host = host

            def run(self) -> None: ...
        ```
    """

    def decorate(cls: type[S]) -> type[S]:
        if not isinstance(cls, type):
            raise DefinitionError("@service", show(cls), "a class")
        where = type_name(cls)
        if not (name is None or callable(name) or is_name(name)):
            raise DefinitionError(f"{where}: @service(name=...)", show(name), f"{NAME_RULE}; or a function")
        try:
            flavour_ = flavour_name(flavour, where)
            check_names(where, options)
            chosen = _DEFAULTS.replace(where, **options)
            refuse_abandon(where, chosen, flavour_)
        except SpecError as error:
            raise DefinitionError(f"{where}: @service({error.field}=...)", show(error.given), error.allowed) from None
        setattr(cls, MARK, Known(define(cls, flavour_, chosen), name))
        hook(cls)
        return cls

    return decorate


def check_names(where: str, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if name not in ServiceChoices.__annotations__:
            raise SpecError(where, name, value, f"the options {', '.join(ServiceChoices.__annotations__)}")


def define(cls: type, flavour: Any, options: Options) -> Definition:
    where = type_name(cls)
    if hasattr(cls, ACTOR_MARK):
        raise DefinitionError(where, "an actor class", "a plain class: an actor stands in a tree, by child(...)")
    if hasattr(cls, "__struct_fields__"):
        raise DefinitionError(where, "a message class", "a plain class")
    shape = shape_of(cls, flavour)
    if shape.style != "service":
        raise DefinitionError(where, f"`{shape.style}` with messages", "`run(self)`; an @actor takes messages")
    return Definition(cls, flavour, shape, options)


def known_of(cls: type) -> Known:
    """What is known of a class; a subclass that is not decorated itself is a service as its base is."""
    known: Known = getattr(cls, MARK)
    definition = known.definition
    if definition.cls is not cls:
        known = Known(define(cls, definition.flavour, definition.options), known.name)
        setattr(cls, MARK, known)
    return known


def hook(cls: Any) -> None:
    """Have `__new__` see to it that the constructor tells when it is done; once for a class and all below it."""
    if hasattr(cls.__new__, MARK):
        return
    own = cls.__new__ if "__new__" in vars(cls) else None

    def __new__(this: Any, /, *args: Any, **kwargs: Any) -> Any:  # noqa: N807 - it is one
        takes_nothing = complete(this)
        make = own or next_new(this, hooked)
        if make is not object.__new__:
            return make(this, *args, **kwargs)
        if takes_nothing and (args or kwargs):
            raise TypeError(f"{this.__name__}() takes no arguments")  # as Python says where nobody looks
        return make(this)

    setattr(__new__, MARK, True)
    hooked = cls.__new__ = staticmethod(__new__)


def next_new(this: type, hooked: object) -> Any:
    """What `super().__new__` would be where `hooked` stands."""
    bases = iter(this.__mro__)
    while vars(next(bases)).get("__new__") is not hooked:
        pass
    return next(base.__new__ for base in bases if "__new__" in vars(base))


def complete(cls: Any) -> bool:
    """Have the constructor of this very class enlist what it constructed. Returns whether it takes no arguments."""
    init = cls.__init__
    if getattr(init, MARK, None) is not cls:
        known = known_of(cls)

        @wraps(init)
        def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it is one
            if init is not object.__init__:
                init(self, *args, **kwargs)
            if type(self) is cls:
                here.get()._enlist(self, known.definition, known.name_of(self))

        setattr(__init__, MARK, cls)
        cls.__init__ = __init__
    return original(cls.__init__) is object.__init__


def original(init: Any) -> Any:
    """Below the wrappers of this module."""
    while hasattr(init, MARK):
        init = init.__wrapped__
    return init
