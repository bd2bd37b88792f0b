"""A registry of services: what is to run beside a tree, and waits for a daemon, or is run by one.

An instance of a `@service` class enlists itself `here`: with the daemon in whose lanes it was made; else in the default
registry, which the first `run()` takes.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self, TypeVarTuple, Unpack, final

from trouper.actors.options import NAME_RULE, RESTART_RULE, is_name, is_restart
from trouper.actors.ref import Ref
from trouper.daemon.adopted import Adopted
from trouper.daemon.payload import check_payload, short_name
from trouper.errors import NotRunning, SpecError, UsageError, Words
from trouper.lanes.whose import beside, handling
from trouper.supervision.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trouper.actors.definition import Definition
    from trouper.actors.flavour import Flavour
    from trouper.actors.life import Life
    from trouper.actors.options import Restart
    from trouper.daemon.annex import Annex

Ts = TypeVarTuple("Ts")


@final
class Tenancy:
    """An instance that is registered."""

    __slots__ = ("child", "instance", "name", "services")

    def __init__(self, services: Services, name: str, instance: object, definition: Definition) -> None:
        self.services, self.name, self.instance = services, name, instance
        choice = definition.options.replace(name, name=name)
        self.child: Child[Any] = Child(definition, (instance,), {}, choice, Ref(definition, choice.mailbox))

    def _start(self, annex: Annex) -> None:
        annex.wings["services"].house(self.name, self.child, self.gone)

    def gone(self, _: Life) -> None:
        self.services._dismiss(self)


@final
class Services:
    """Instances of `@service` classes, and payloads, that a daemon runs beside its tree; they wait until one does.

    `run` and `open_daemon` take one as `services=`. A daemon has one, as `daemon.services`, and a registry has one
    daemon at a time. Any thread may use it.

    Example:
        ```python
        services = Services()
        with services.here():
            Controller(interval=1.0)
        run(tree, services=services)
        ```
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = count(1)
        self._counts: Counter[str] = Counter()
        self._tenancies: dict[str, Tenancy] = {}
        self._known: set[int] = set()  # the identities of their instances, which need no hash
        self._adopted: dict[str, Adopted] = {}
        self._waiting: deque[Tenancy | Adopted] = deque()
        self._annex: Annex | None = None

    @contextmanager
    def here(self) -> Iterator[Self]:
        """Have the instances that are made within a `with` block enlist themselves here."""
        token = here.set(self)
        try:
            yield self
        finally:
            here.reset(token)

    def __len__(self) -> int:
        """How many instances are registered: those that wait for a daemon, and those that did not end for good."""
        return len(self._tenancies)

    def __iter__(self) -> Iterator[object]:
        """Iterate over these instances."""
        return iter([tenancy.instance for tenancy in self._tenancies.copy().values()])

    def adopt(
        self,
        payload: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        flavour: Flavour,
        name: str | None = None,
        restart: Restart | None = None,
    ) -> Adopted:
        """Run `payload(*args)` in the background, as soon as a daemon runs these services and its tree is up.

        See `Daemon.adopt`; arguments and errors are the same.
        """
        flavour_ = check_payload("adopt", payload, flavour)
        if name is not None and not is_name(name):
            raise SpecError("adopt", "name", name, NAME_RULE)
        if restart is not None and not is_restart(restart):
            raise SpecError("adopt", "restart", restart, f"{RESTART_RULE} | None")
        annex = self._living_annex("adopts")
        context = copy_context()
        if context or annex is None:
            context.run(settle_in, self)
        else:  # of a thread that has none, as most foreign ones
            context = annex.daemon.world.context.copy()
        chosen = name or self._numbered(short_name(payload))
        adopted = Adopted(chosen, payload, args, flavour_, restart, context, self)
        if self._adopted.setdefault(chosen, adopted) is not adopted:
            raise SpecError("adopt", "name", Words(f"{chosen!r}, which a running payload has"), "a name that is free")
        if restart is None and annex is not None and annex.opened:
            adopted._begin(annex)
            if annex.halted:  # looked at last: who halts the others finds this one, or is seen here
                adopted.cancel()
        else:
            self._waiting.append(adopted)
            self._tell()
        return adopted

    # -- inside ------------------------------------------------------------------------------------------------------
    def _enlist(self, instance: object, definition: Definition, name: str | None) -> None:
        """The construction of this instance is done.

        Args:
            instance: of a service class.
            definition: what is known of its class.
            name: one that was chosen for it.

        Raises:
            SpecError: another one has this name, or it cannot be one.
            NotRunning: the daemon here is stopping.
        """
        self._living_annex("starts")
        where = definition.cls.__name__
        with self._lock:
            if id(instance) in self._known:
                return  # constructed a second time
            if name is None:
                name = self._free(definition.default_name)
            elif not is_name(name):
                raise SpecError(where, "name", name, NAME_RULE)
            elif name in self._tenancies:
                raise SpecError(where, "name", Words(f"{name!r}, which another service has"), "a name that is free")
            tenancy = self._tenancies[name] = Tenancy(self, name, instance, definition)
            self._known.add(id(instance))
        self._waiting.append(tenancy)
        self._tell()

    def _numbered(self, name: str) -> str:
        """A name for a payload that nobody named; somebody may have chosen the like for another one."""
        while (numbered := f"{name}-{next(self._numbers)}") in self._adopted:
            pass
        return numbered

    def _free(self, name: str) -> str:
        while True:
            self._counts[name] += 1
            number = self._counts[name]
            free = name if number == 1 else f"{name}-{number}"
            if free not in self._tenancies:
                return free

    def _living_annex(self, verb: str) -> Annex | None:
        annex = self._annex
        if annex is not None and annex.halted:
            raise NotRunning(f"the daemon is stopping, and {verb} nothing any more")
        return annex

    def _tell(self) -> None:
        """Published before the look at the annex, which opens before it looks at what waits."""
        annex = self._annex
        if annex is not None:
            annex.look()

    def _dismiss(self, tenancy: Tenancy) -> None:
        """It has ended for good."""
        with self._lock:
            if self._tenancies.get(tenancy.name) is tenancy:
                del self._tenancies[tenancy.name]
                self._known.discard(id(tenancy.instance))

    def _forget(self, adopted: Adopted) -> bool:
        """It is over. False: that is known."""
        return self._adopted.pop(adopted.name, None) is adopted

    # -- for the daemon ----------------------------------------------------------------------------------------------
    def _taken_by(self, annex: Annex) -> None:
        with self._lock:
            if self._annex is not None:
                raise UsageError("given services that a daemon runs already, allowed: one daemon at a time")
            self._annex = annex

    def _take_waiting(self) -> Iterator[Tenancy | Adopted]:
        while self._waiting:
            try:
                yield self._waiting.popleft()
            except IndexError:  # another thread
                return

    def _refuse_waiting(self) -> None:
        """What waits does not begin any more. Payloads are the daemon's; instances wait for the next one."""
        waiting = list(self._take_waiting())
        for one in waiting:
            if isinstance(one, Adopted):
                one._settle("cancelled")
        self._waiting.extendleft(one for one in reversed(waiting) if isinstance(one, Tenancy))

    def _running(self) -> list[Adopted]:
        """The payloads that run, and are no actors."""
        return [adopted for adopted in self._adopted.copy().values() if adopted._restart is None]

    def _released(self) -> None:
        """The daemon is over."""
        self._refuse_waiting()
        for adopted in self._adopted.copy().values():
            adopted._settle("abandoned")
        self._annex = None


def settle_in(services: Services) -> None:
    """In the context of an adopted payload: it belongs to these services, and to no actor."""
    handling.set(None)
    beside.set(None)
    here.set(services)


default_services: Final = Services()
"""The services that nobody put elsewhere. The first `run()` takes them."""

here: ContextVar[Services] = ContextVar("trouper.services", default=default_services)
"""Where an instance enlists itself that is made in this context."""
