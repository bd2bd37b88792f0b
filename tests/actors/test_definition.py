from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar

import attrs
import msgspec
import pytest
import trio

from trouper.actors.context import current
from trouper.actors.definition import actor, definition_of
from trouper.actors.flavour import FlavourName, flavour_name
from trouper.actors.inbox import Inbox, SyncInbox
from trouper.actors.options import Options
from trouper.errors import DefinitionError, SpecError
from trouper.mailbox.mailbox import Mailbox
from trouper.messages import Message, Request

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")
HERE = __name__

anyhow: Any = actor
"""For classes that a type checker refuses as well."""


class Sample(Message):
    value: float


class Mean(Request[float]):
    name: str


@actor(flavour=trio)
class Averages:
    unit: str
    sums: dict[str, float] = attrs.field(factory=dict)

    async def receive(self, message: Sample | Mean) -> float | None:
        return None


@actor(flavour=threading, restart="transient", mailbox=Mailbox(10))
class Loop:
    def run(self, inbox: SyncInbox[Sample]) -> None: ...

    def on_start(self) -> None: ...

    def on_stop(self, reason: object) -> None: ...

    def interrupt(self) -> None: ...


@actor(flavour=asyncio)
class Service:
    async def run(self) -> None: ...

    async def on_reload(self) -> None: ...


@actor(flavour=trio)
class Latest(Generic[T]):
    value: T

    async def receive(self, message: T) -> None:
        self.value = message


@actor(flavour=trio)
class Early:
    def receive(self, message: Late) -> None: ...


class Late(Message): ...


@actor(flavour=trio)
class Hopeless:
    def receive(self, message: Decimal) -> None: ...


def hooks(cls: type) -> set[str]:
    known = definition_of(cls)
    return {name for name in ("on_start", "on_stop", "on_reload", "interrupt") if getattr(known, f"has_{name}")}


# -- what a definition knows -------------------------------------------------------------------------------------------
def test_the_decorated_class_stays_the_same_object() -> None:
    class Plain:
        def receive(self, message: int) -> None: ...

    assert actor(flavour=trio)(Plain) is Plain


def test_a_definition_tells_a_receiving_actor() -> None:
    known = definition_of(Averages)
    assert (known.cls, known.flavour, known.style, known.is_async) == (Averages, "trio", "receive", True)
    assert hooks(Averages) == set()
    assert known.accepted() == (Sample, Mean)
    assert known.options == Options()
    assert repr(known) == f"<actor class {HERE}.Averages, trio>"


def test_a_definition_tells_a_looping_actor_with_hooks() -> None:
    known = definition_of(Loop)
    assert (known.flavour, known.style, known.is_async) == ("threading", "run", False)
    assert hooks(Loop) == {"on_start", "on_stop", "interrupt"}
    assert known.accepted() == (Sample,)
    assert (known.options.restart, known.options.mailbox) == ("transient", Mailbox(10))
    assert known.options.given == {"restart", "mailbox"}


def test_a_service_takes_no_messages() -> None:
    known = definition_of(Service)
    assert (known.style, known.is_async) == ("service", True)
    assert hooks(Service) == {"on_reload"}
    assert known.accepted() == ()


def test_a_plain_receive_is_allowed_in_an_async_flavour() -> None:
    assert definition_of(Early).is_async is False


async def awaits(self: Any, message: Sample) -> None:
    await trio.lowlevel.checkpoint()


async def loops(self: Any, message: Sample) -> None:
    async for _ in self.samples:
        pass


async def enters(self: Any, message: Sample) -> None:
    async with self.lock:
        pass


async def comprehends(self: Any, message: Sample) -> None:
    self.found = [sample async for sample in self.samples]


async def generates(self: Any, message: Sample) -> None:
    self.found = [await sample for sample in self.samples]


async def awaits_in_one_case(self: Any, message: Sample) -> None:
    if message.value:
        await trio.lowlevel.checkpoint()


@functools.wraps(awaits)
async def wraps(self: Any, message: Sample) -> None:
    return await awaits(self, message)


async def defines(self: Any, message: Sample) -> None:
    async def inner() -> None:
        await trio.lowlevel.checkpoint()

    current(self).start_soon(inner)


async def iterates(self: Any, message: Sample) -> None:
    self.found = list(value for value in self.samples)  # noqa: C400 - a generator yields, its user does not


def plainly(self: Any, message: Sample) -> None: ...


@pytest.mark.parametrize(
    "receive", [awaits, loops, enters, comprehends, generates, awaits_in_one_case, wraps], ids=lambda it: it.__name__
)
def test_a_handler_with_an_await_of_any_form_suspends(receive: Any) -> None:
    assert definition_of(anyhow(flavour=trio)(type("Suspending", (), {"receive": receive}))).suspends


@pytest.mark.parametrize("receive", [defines, iterates, plainly], ids=lambda it: it.__name__)
def test_a_handler_without_one_does_not(receive: Any) -> None:
    assert not definition_of(anyhow(flavour=trio)(type("Immediate", (), {"receive": receive}))).suspends


@pytest.mark.parametrize(
    ("flavour", "name"),
    [(trio, "trio"), (asyncio, "asyncio"), (threading, "threading"), ("trio", "trio"), ("threading", "threading")],
)
def test_a_flavour_is_a_module_or_its_name(flavour: Any, name: FlavourName) -> None:
    assert flavour_name(flavour, "here") == name


def test_actors_are_compared_by_identity() -> None:
    assert Averages("K") != Averages("K")
    assert Averages("K").sums == {}


def test_methods_of_an_undecorated_base_count() -> None:
    class Base:
        def receive(self, message: int) -> None: ...

    @actor(flavour=trio)
    class Derived(Base): ...

    assert definition_of(Derived).accepted() == (int,)


def test_a_decorated_subclass_inherits_fields_and_methods_but_no_options() -> None:
    @actor(flavour=trio, restart="temporary")
    class Fast(Averages):
        speed: int = 1

    assert Fast("K", {}, 2).speed == 2
    assert definition_of(Fast).options.restart == "temporary"
    assert definition_of(Averages).options.restart == "permanent"


def test_a_parametrised_actor_class_has_the_definition_of_its_class() -> None:
    assert definition_of(Latest[int]) is definition_of(Latest)
    assert definition_of(Latest).accepted() is None


# -- the annotation of the mailbox -------------------------------------------------------------------------------------
def test_a_message_class_may_be_defined_after_the_actor() -> None:
    assert definition_of(Early).accepted() == (Late,)


def test_a_message_class_may_be_local_to_the_function_around_the_actor() -> None:
    class Local(Message): ...

    @actor(flavour=asyncio)
    class Worker:
        async def run(self, inbox: Inbox[Local | None]) -> None: ...

    assert definition_of(Worker).accepted() == (Local, type(None))


def test_a_message_class_may_stand_in_the_body_of_the_actor() -> None:
    @actor(flavour=trio)
    class Worker:
        class Job(Message): ...

        def receive(self, message: Job) -> None: ...

    assert definition_of(Worker).accepted() == (Worker.Job,)


def test_an_inbox_of_never_takes_nothing_and_a_bare_one_anything() -> None:
    @actor(flavour=asyncio)
    class Deaf:
        async def run(self, inbox: Inbox[Never]) -> None: ...

    @actor(flavour=trio)
    class Open:
        async def run(self, inbox: Inbox[Any]) -> None: ...

    assert definition_of(Deaf).accepted() == ()
    assert definition_of(Open).accepted() is None


def test_the_annotation_of_a_wrapped_handler_is_that_of_the_function_in_it() -> None:
    def traced(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        async def wrapper(*args: Any) -> Any:
            return await function(*args)

        return wrapper

    @anyhow(flavour=trio)
    class Worker:
        @traced
        async def receive(self, message: Sample) -> None: ...

    assert definition_of(Worker).accepted() == (Sample,)
    assert definition_of(Worker).is_async


@pytest.mark.parametrize(
    ("accepts", "types"),
    [
        (Sample, (Sample,)),
        (Sample | Mean, (Sample, Mean)),
        ((Sample, Mean), (Sample, Mean)),
        ("Late", (Late,)),
        (Any, None),
    ],
)
def test_accepts_replaces_the_annotation(accepts: object, types: object) -> None:
    @anyhow(flavour=trio, accepts=accepts)
    class Worker:
        async def receive(self, message: Decimal) -> None: ...

    assert definition_of(Worker).accepted() == types


def test_the_exact_types_are_one_set_for_the_class() -> None:
    known = definition_of(Averages)
    assert known.exact_types() == {Sample, Mean}
    assert known.exact_types() is known.exact_types()
    assert definition_of(Latest).exact_types() == frozenset()


def test_an_unknown_name_in_an_annotation_is_told_when_it_is_needed() -> None:
    with pytest.raises(DefinitionError) as caught:
        definition_of(Hopeless).accepted()
    assert str(caught.value) == (
        f"{HERE}.Hopeless.receive(message): found the annotation `Decimal`, where name 'Decimal' is not defined, "
        f"allowed: names that exist in {HERE} when child() is called; or the classes by hand: @actor(accepts=...)"
    )


# -- attrs -------------------------------------------------------------------------------------------------------------
def test_defaults_factories_validators_converters_keywords_and_fields_without_argument_are_supported() -> None:
    def positive(_: object, attribute: attrs.Attribute[int], value: int) -> None:
        if value <= 0:
            raise ValueError(attribute.name)

    @actor(flavour=trio)
    class Web:
        port: int = attrs.field(validator=positive)
        host: str = "localhost"
        routes: list[str] = attrs.field(factory=list)
        size: int = attrs.field(default=7, converter=int)
        realm: str = attrs.field(kw_only=True)
        hits: int = attrs.field(init=False, default=0)
        _open: bool = attrs.field(init=False, default=False)
        _alias: int = attrs.field(default=1, alias="alias")

        def receive(self, message: int) -> None: ...

    loose: Any = Web
    web = loose(80, size="7", realm="s", alias=3)
    assert attrs.astuple(web) == (80, "localhost", [], 7, "s", 0, False, 3)
    with pytest.raises(ValueError, match="port"):
        Web(0, realm="s")


def test_a_factory_that_takes_the_actor_is_supported() -> None:
    @actor(flavour=trio)
    class Web:
        port: int
        url: str = attrs.field(default=attrs.Factory(lambda self: f"http://:{self.port}", takes_self=True))

        def receive(self, message: int) -> None: ...

    assert Web(80).url == "http://:80"


def test_a_validator_in_the_class_body_is_supported_when_it_stands_before_its_field() -> None:
    @actor(flavour=trio)
    class Web:
        def positive(self, attribute: attrs.Attribute[int], value: int) -> None:
            if value <= 0:
                raise ValueError(attribute.name)

        port: int = attrs.field(validator=positive)

        def receive(self, message: int) -> None: ...

    with pytest.raises(ValueError, match="port"):
        Web(-1)


# -- what is refused ---------------------------------------------------------------------------------------------------
BAD: dict[str, tuple[Callable[[], object], str, str, str]] = {}
"""By name: what defines the class, and the place, the finding and the advice of its error."""


def refused(place: str, found: str, allowed: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    def remember(define: Callable[[], object]) -> Callable[[], object]:
        BAD[define.__name__.lstrip("_")] = (define, place, found, allowed)
        return define

    return remember


@refused("Bad", "both `receive` and `run`", "one of `receive(self, message: M)`, `run(self, inbox: Inbox[M])` and")
def _both() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def receive(self, message: int) -> None: ...
        async def run(self) -> None: ...

    return Bad


@refused("Bad", "neither `receive` nor `run`", "one of `receive(self, message: M)`")
def _neither() -> object:
    @anyhow(flavour=trio)
    class Bad:
        value: int

    return Bad


@refused("Bad.receive", "an `async def` in the flavour threading", "a plain `def`, or the flavour trio or asyncio")
def _async_in_a_thread() -> object:
    @anyhow(flavour=threading)
    class Bad:
        async def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.on_start", "an `async def` in the flavour threading", "a plain `def`")
def _async_hook_in_a_thread() -> object:
    @anyhow(flavour=threading)
    class Bad:
        async def on_start(self) -> None: ...
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.run", "a plain `def` in the flavour asyncio", "an `async def`, or the flavour threading")
def _plain_run() -> object:
    @anyhow(flavour=asyncio)
    class Bad:
        def run(self) -> None: ...

    return Bad


@refused("Bad.on_stop", "a plain `def` in the flavour trio", "an `async def`, or the flavour threading")
def _plain_hook() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def on_stop(self, reason: object) -> None: ...
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.receive", "`receive(self) -> 'None'`", "`receive(self, message: M)`")
def _receive_without_message() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def receive(self) -> None: ...

    return Bad


@refused("Bad.receive", "`receive(self, one: 'int', two: 'int') -> 'None'`", "`receive(self, message: M)`")
def _receive_with_two_messages() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def receive(self, one: int, two: int) -> None: ...

    return Bad


@refused("Bad.receive", "`receive(self, *messages: 'int') -> 'None'`", "`receive(self, message: M)`")
def _receive_with_any_number() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def receive(self, *messages: int) -> None: ...

    return Bad


@refused("Bad.run", "`run(self, inbox, more) -> 'None'`", "`run(self, inbox: Inbox[M])` (SyncInbox in threading) or")
def _run_with_two_inboxes() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def run(self, inbox, more) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    return Bad


@refused("Bad.on_stop", "`on_stop(self) -> 'None'`", "`on_stop(self, reason)`")
def _hook_without_its_argument() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def on_stop(self) -> None: ...
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.on_start", "`on_start(self, more: 'int') -> 'None'`", "`on_start(self)`")
def _hook_with_an_argument() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def on_start(self, more: int) -> None: ...
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.interrupt", "`interrupt` in the flavour trio", "it in threading only; async code is cancelled instead")
def _interrupt_in_an_async_flavour() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def interrupt(self) -> None: ...
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.receive", "a generator, with `yield` in it", "a `receive` without `yield`")
def _generator() -> object:
    @anyhow(flavour=threading)
    class Bad:
        def receive(self, message: int) -> Iterator[int]:
            yield message

    return Bad


@refused("Bad.run", "a generator, with `yield` in it", "a `run` without `yield`")
def _async_generator() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def run(self) -> Any:
            yield 1

    return Bad


@refused("Bad.receive", "a staticmethod", "a method: `def receive(self, ...)`")
def _static_receive() -> object:
    @anyhow(flavour=trio)
    class Bad:
        @staticmethod
        def receive(message: int) -> None: ...

    return Bad


@refused("Bad.run", "a classmethod", "a method: `def run(self, ...)`")
def _class_run() -> object:
    @anyhow(flavour=trio)
    class Bad:
        @classmethod
        async def run(cls) -> None: ...

    return Bad


@refused("Bad.receive", "3", "a method: `def receive(self, ...)`")
def _no_method() -> object:
    @anyhow(flavour=trio)
    class Bad:
        receive = 3

    return Bad


@refused("Bad.receive", "a plain wrapper around an `async def`", "a wrapper that is an `async def` itself")
def _plain_wrapper() -> object:
    def traced(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @anyhow(flavour=trio)
    class Bad:
        @traced
        async def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.receive(message)", "no annotation", "the type of the messages, as in `message: Sample | Mean`")
def _message_without_annotation() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def receive(self, message) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    return Bad


@refused("Bad.run(inbox)", "no annotation", "Inbox[M] in the flavour trio, where M is the type of the messages")
def _inbox_without_annotation() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def run(self, inbox) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    return Bad


@refused("Bad.run(inbox)", "the annotation `SyncInbox[int]`", "Inbox[M] in the flavour asyncio")
def _sync_inbox_in_an_async_flavour() -> object:
    @anyhow(flavour=asyncio)
    class Bad:
        async def run(self, inbox: SyncInbox[int]) -> None: ...

    return Bad


@refused("Bad.run(inbox)", "the annotation `Inbox[int]`", "SyncInbox[M] in the flavour threading")
def _async_inbox_in_a_thread() -> object:
    @anyhow(flavour=threading)
    class Bad:
        def run(self, inbox: Inbox[int]) -> None: ...

    return Bad


@refused("Bad.run(inbox)", "the annotation `int`", "Inbox[M] in the flavour trio")
def _inbox_that_is_none() -> object:
    @anyhow(flavour=trio)
    class Bad:
        async def run(self, inbox: int) -> None: ...

    return Bad


@refused("Bad.receive(message)", "the annotation `3`: 3 is not a type", "classes, unions, generics, Never and Any")
def _message_type_that_is_none() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def receive(self, message: 3) -> None: ...  # type: ignore[valid-type]  # pyright: ignore[reportGeneralTypeIssues]

    return Bad


@refused("Bad.receive(message)", "the annotation `(1, 2)`: 1 is not a type", "classes, unions, generics, Never and Any")
def _accepts_what_is_no_type() -> object:
    @anyhow(flavour=trio, accepts=(1, 2))
    class Bad:
        def receive(self, message: Any) -> None: ...

    return Bad


@refused("Bad: @actor(accepts=...)", "<class 'int'> for `run(self)`, which takes no messages", "no accepts")
def _service_that_accepts() -> object:
    @anyhow(flavour=trio, accepts=int)
    class Bad:
        async def run(self) -> None: ...

    return Bad


@refused("Bad.__init__", "a constructor by hand", "`__attrs_post_init__` or `on_start` for more")
def _constructor_by_hand() -> object:
    @anyhow(flavour=trio)
    class Bad:
        def __init__(self) -> None: ...
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad._port", "an underscore in the name of a constructor argument", "the name 'port', or attrs.field(")
def _underscore_argument() -> object:
    @anyhow(flavour=trio)
    class Bad:
        _port: int

        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.port", "a decorator @port.validator", "attrs.field(validator=...) with a function defined before 'port'")
def _decorated_validator() -> object:
    @anyhow(flavour=trio)
    class Bad:
        port: Any = attrs.field(validator=attrs.validators.instance_of(int))

        @port.validator  # type: ignore[untyped-decorator]
        def positive(self, attribute: object, value: int) -> None: ...

        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad.port", "a decorator @port.default", "attrs.field(default=attrs.Factory(function, takes_self=True))")
def _decorated_default() -> object:
    @anyhow(flavour=trio)
    class Bad:
        port: Any = attrs.field()

        @port.default  # type: ignore[untyped-decorator]
        def free(self) -> int:
            return 80

        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad", "fields that attrs refuses (No mandatory attributes allowed after", "the fields of an attrs class")
def _field_order() -> object:
    @anyhow(flavour=trio)
    class Bad:
        host: str = "localhost"
        port: int

        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad", "an attrs class", "a plain class: @actor makes it an attrs class by itself")
def _attrs_class() -> object:
    @anyhow(flavour=trio)
    @attrs.define
    class Bad:
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad", "a second @actor", "a plain class")
def _decorated_twice() -> object:
    @anyhow(flavour=trio)
    @anyhow(flavour=trio)
    class Bad:
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad", "a message class", "a plain class")
def _struct() -> object:
    @anyhow(flavour=trio)
    class Bad(msgspec.Struct):
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad: @actor(flavour=...)", "'gevent'", "the module trio, asyncio or threading, or its name as a string")
def _unknown_flavour() -> object:
    @anyhow(flavour="gevent")
    class Bad:
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad: @actor(flavour=...)", "<module 'attrs'", "the module trio, asyncio or threading, or")
def _other_module() -> object:
    @anyhow(flavour=attrs)
    class Bad:
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad: @actor(restarts=...)", "3", "the options name, restart, shutdown, start_timeout,")
def _unknown_option() -> object:
    @anyhow(flavour=trio, restarts=3)
    class Bad:
        def receive(self, message: int) -> None: ...

    return Bad


@refused("Bad: @actor(restart=...)", "'always'", "'permanent' | 'transient' | 'temporary'")
def _wrong_option() -> object:
    @anyhow(flavour=trio, restart="always")
    class Bad:
        def receive(self, message: int) -> None: ...

    return Bad


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_class_is_refused_with_the_place_the_finding_and_what_is_allowed(name: str) -> None:
    define, place, found, allowed = BAD[name]
    with pytest.raises(DefinitionError) as caught:
        define()
    error = caught.value
    assert error.where == f"{HERE}.{define.__name__}.<locals>.{place}"
    assert error.found.startswith(found)
    assert allowed in error.allowed
    assert str(error) == f"{error.where}: found {error.found}, allowed: {error.allowed}"
    assert isinstance(error, TypeError)


def test_only_a_class_can_be_decorated() -> None:
    with pytest.raises(DefinitionError, match=r"^@actor: found 3, allowed: a class$"):
        anyhow(flavour=trio)(3)


# -- definition_of -----------------------------------------------------------------------------------------------------
def test_an_undecorated_subclass_is_no_actor_class() -> None:
    class Sub(Averages): ...

    with pytest.raises(DefinitionError) as caught:
        definition_of(Sub)
    assert caught.value.found == f"an undecorated subclass of the actor class {HERE}.Averages"
    assert caught.value.allowed == "one with its own @actor(flavour=trio, ...)"


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (int, "int: found a class without @actor, allowed: a class decorated with @actor(flavour=...)"),
        (list[int], "list: found a class without @actor, allowed: a class decorated with @actor(flavour=...)"),
        (3, "an actor: found 3, allowed: a class decorated with @actor"),
    ],
)
def test_what_is_no_actor_class_has_no_definition(thing: object, told: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        definition_of(thing)
    assert str(caught.value) == told


def test_an_actor_itself_is_no_actor_class() -> None:
    with pytest.raises(DefinitionError, match="Averages"):
        definition_of(Averages("K"))


# -- arguments ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("K",), {}),
        ((), {"unit": "K"}),
        (("K", {}), {}),
        (("K",), {"sums": {}}),
        ((), {"sums": {}, "unit": "K"}),
    ],
)
def test_arguments_that_fit_are_taken_again_and_again(args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    for _ in range(2):
        definition_of(Averages).check_arguments(args, kwargs)


CONSTRUCTOR = "Averages(unit: 'str', sums: 'dict[str, float]' = "


@pytest.mark.parametrize(
    ("args", "kwargs", "given"),
    [
        ((), {}, "(): missing a required argument: 'unit'"),
        (("K", {}, 3), {}, "(..., ..., ...): too many positional arguments"),
        (("K",), {"size": 3}, "(..., size=...): got an unexpected keyword argument 'size'"),
        (("K",), {"unit": "K"}, "(..., unit=...): multiple values for argument 'unit'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_each_time(
    args: tuple[object, ...], kwargs: dict[str, object], given: str
) -> None:
    for _ in range(2):
        with pytest.raises(SpecError) as caught:
            definition_of(Averages).check_arguments(args, kwargs)
        assert str(caught.value).startswith(f"child({HERE}.Averages): arguments: given {given}, allowed: {CONSTRUCTOR}")


def test_an_option_among_the_arguments_is_told_where_it_belongs() -> None:
    with pytest.raises(SpecError, match=r"got an unexpected keyword argument 'name'.*; name in \.options\(\.\.\.\)$"):
        definition_of(Averages).check_arguments(("K",), {"name": "averages"})
